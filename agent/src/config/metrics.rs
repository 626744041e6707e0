//! `metrics:` of the configuration: where Prometheus and probes find the agent.
//!
//! Input: the section. Output: the address. Failure: the reader's, with line and field ([`super::ConfigError`]).

use std::net::SocketAddr;

use serde::Deserialize;

/// `metrics:`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MetricsSection {
    /// Address and port of `/metrics`, `/healthz` and `/readyz`; absent: there are none of them. Whoever reaches the address may read them.
    pub listen: Option<SocketAddr>,
}
