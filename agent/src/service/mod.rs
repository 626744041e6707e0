//! The agent as a service of the node: what it tells its manager, and what the manager tells it.
//!
//! [`manager`] tells systemd how the agent is (`sd_notify`), [`reload`] reads the configuration again. Failure: without a manager nothing is
//! told; a manager that does not listen is logged.

pub mod manager;
pub mod reload;
