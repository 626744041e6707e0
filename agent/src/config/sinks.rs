//! The sections `sinks:` and `spool:` of the configuration: where alerts go, in which format, and how many may wait.
//!
//! Input: YAML. Output: [`SinkConfig`]s and a [`SpoolConfig`]. Failure: a sink of no kind or of several, two of the same name and a value
//! outside of its bounds are errors with their place.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Deserializer};

use super::Number;
use crate::alert::format::AlertFormat;
use crate::alert::severity::Severity;

/// Most sinks; more are refused.
pub const SINKS_MAX: usize = 16;
/// Longest name of a sink in bytes.
const NAME_BYTES_MAX: usize = 64;
/// Megabytes of alerts that may wait if nobody says otherwise: some 200,000 alerts.
const SPOOL_MB: u32 = 256;

/// One entry of `sinks:`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "SinkFields")]
pub struct SinkConfig {
    /// By which it is told apart, and found again after a restart. The kind if the file names none.
    pub name: String,
    /// In whose words it is told.
    pub format: AlertFormat,
    /// What is less grave is not sent to it.
    pub min_severity: Severity,
    /// Where to.
    pub target: Target,
}

/// Where a sink sends alerts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Standard output.
    Stdout,
    /// A file that is rotated.
    File(FileTarget),
    /// A Unix stream socket.
    Unix(UnixTarget),
    /// RFC 5424 over TCP or TLS.
    Syslog(SyslogTarget),
    /// HTTP(S) POST.
    Webhook(WebhookTarget),
    /// NATS `JetStream`.
    Nats(NatsTarget),
}

/// `file:`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileTarget {
    /// Which file; absolute. Its directory must exist.
    pub path: PathBuf,
    /// From how many megabytes on a new file is begun.
    #[serde(default)]
    pub max_mb: Option<Number<1, 65_536>>,
    /// How many files before it are kept, as `PATH.1` (the latest) and so on.
    #[serde(default)]
    pub keep: Option<Number<0, 1_000>>,
}

/// `unix:`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnixTarget {
    /// The socket; absolute.
    pub path: PathBuf,
}

/// `syslog:`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SyslogTarget {
    /// `HOST:PORT`.
    pub address: String,
    /// How the connection is protected; not at all if absent.
    #[serde(default)]
    pub tls: Option<TlsSection>,
    /// The facility's number (RFC 5424, table 1); 13, log audit, if absent.
    #[serde(default)]
    pub facility: Option<Number<0, 23>>,
}

/// `webhook:`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebhookTarget {
    /// `https://...` or `http://...`.
    pub url: String,
    /// Files of certificates and keys.
    #[serde(default)]
    pub tls: Option<TlsSection>,
    /// Further headers.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Further headers whose values are the content of files, as of tokens.
    #[serde(default)]
    pub header_files: BTreeMap<String, PathBuf>,
    /// Most alerts in one request, as lines; one if absent, which is what Falcosidekick takes.
    #[serde(default)]
    pub batch: Option<Number<1, 1_000>>,
    /// How long an answer may take, in seconds.
    #[serde(default)]
    pub timeout_s: Option<Number<1, 300>>,
}

/// `nats:`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NatsTarget {
    /// `nats://...` or `tls://...`; several servers of one cluster with commas between.
    pub url: String,
    /// The subject; a stream must hold it.
    pub subject: String,
    /// Makes or completes the stream of this name, with the subject in it; if absent, somebody else has made it.
    #[serde(default)]
    pub stream: Option<String>,
    /// File of the password for the name in the address, or of a token if the address has no name; read when a connection is made. A
    /// password in the address counts before it.
    #[serde(default)]
    pub password_file: Option<PathBuf>,
    /// File of credentials as `nsc` writes it.
    #[serde(default)]
    pub credentials: Option<PathBuf>,
    /// Files of certificates and keys.
    #[serde(default)]
    pub tls: Option<TlsSection>,
}

/// `tls:`
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsSection {
    /// PEM file of the authorities that may vouch for the receiver; the system's (`/etc/ssl/certs/ca-certificates.crt`) if absent.
    pub ca: Option<PathBuf>,
    /// PEM file of the agent's own certificate, for mutual TLS.
    pub cert: Option<PathBuf>,
    /// PEM file of its key.
    pub key: Option<PathBuf>,
    /// The name that the receiver's certificate must have; the host's if absent.
    pub server_name: Option<String>,
}

/// An entry as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SinkFields {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    format: AlertFormat,
    #[serde(default)]
    min_severity: Option<Severity>,
    #[serde(default)]
    stdout: Option<StdoutFields>,
    #[serde(default)]
    file: Option<FileTarget>,
    #[serde(default)]
    unix: Option<UnixTarget>,
    #[serde(default)]
    syslog: Option<SyslogTarget>,
    #[serde(default)]
    webhook: Option<WebhookTarget>,
    #[serde(default)]
    nats: Option<NatsTarget>,
}

/// `stdout: {}`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StdoutFields {}

/// `spool:`
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SpoolSection {
    /// Most megabytes of alerts that wait for a sink.
    pub max_mb: Option<Number<1, 65_536>>,
    /// What is given up when there are more.
    pub at_limit: AtLimit,
}

/// What is given up when too many alerts wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AtLimit {
    /// Those that have waited longest.
    #[default]
    DropOldest,
    /// Those that come.
    DropNewest,
}

/// How many alerts may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpoolConfig {
    /// Most bytes.
    pub max_bytes: u64,
    /// What is given up at that bound.
    pub at_limit: AtLimit,
}

impl SpoolSection {
    /// What holds, with the defaults of what is absent.
    #[must_use]
    pub fn resolve(&self) -> SpoolConfig {
        SpoolConfig {
            max_bytes: self
                .max_mb
                .map_or(u64::from(SPOOL_MB), |number| number.get().into())
                << 20,
            at_limit: self.at_limit,
        }
    }
}

impl AtLimit {
    /// The word in configuration and views.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DropOldest => "drop-oldest",
            Self::DropNewest => "drop-newest",
        }
    }
}

impl SinkConfig {
    /// What alerts went to before anything was configured: standard output.
    #[must_use]
    pub fn stdout() -> Self {
        Self {
            name: "stdout".to_owned(),
            format: AlertFormat::Driftlock,
            min_severity: Severity::Info,
            target: Target::Stdout,
        }
    }
}

impl Target {
    /// The word in configuration and views.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::File(_) => "file",
            Self::Unix(_) => "unix",
            Self::Syslog(_) => "syslog",
            Self::Webhook(_) => "webhook",
            Self::Nats(_) => "nats",
        }
    }
}

impl TryFrom<SinkFields> for SinkConfig {
    type Error = String;

    fn try_from(fields: SinkFields) -> Result<Self, String> {
        let targets = [
            fields.stdout.map(|StdoutFields {}| Target::Stdout),
            fields.file.map(Target::File),
            fields.unix.map(Target::Unix),
            fields.syslog.map(Target::Syslog),
            fields.webhook.map(Target::Webhook),
            fields.nats.map(Target::Nats),
        ];
        let mut targets = targets.into_iter().flatten();
        let (Some(target), None) = (targets.next(), targets.next()) else {
            return Err(
                "a sink has exactly one of `stdout`, `file`, `unix`, `syslog`, `webhook` and `nats`"
                    .to_owned(),
            );
        };
        let name = fields.name.unwrap_or_else(|| target.kind().to_owned());
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(is_name) {
            return Err(format!(
                "a sink's name is of at most {NAME_BYTES_MAX} letters, digits, `.`, `_` and `-`, not `{}`",
                crate::text::escape(name.as_bytes())
            ));
        }
        Ok(Self {
            name,
            format: fields.format,
            min_severity: fields.min_severity.unwrap_or(Severity::Info),
            target,
        })
    }
}

/// The list `sinks:`.
///
/// # Errors
/// There are too many, or two have the same name.
pub fn sinks<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<SinkConfig>>, D::Error> {
    let sinks = Vec::<SinkConfig>::deserialize(deserializer)?;
    if sinks.len() > SINKS_MAX {
        return Err(serde::de::Error::custom(format_args!(
            "more than {SINKS_MAX} sinks"
        )));
    }
    for (position, sink) in sinks.iter().enumerate() {
        if sinks[..position].iter().any(|before| before.name == sink.name) {
            return Err(serde::de::Error::custom(format_args!(
                "two sinks are called `{}`: give each a `name`",
                sink.name
            )));
        }
    }
    Ok(Some(sinks))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::ConfigFile;

    fn parse(text: &str) -> Result<ConfigFile, String> {
        ConfigFile::parse(text, Path::new("config.yaml")).map_err(|error| error.to_string())
    }

    #[test]
    fn each_kind_is_read() {
        let file = parse(
            "sinks:\n\
             - stdout: {}\n\
             - { name: local, file: { path: /var/log/alerts.ndjson, max_mb: 10, keep: 3 }, min_severity: high }\n\
             - unix: { path: /run/soc.sock }\n\
             - syslog: { address: 'logs:6514', tls: { ca: /etc/ca.pem }, facility: 10 }\n\
             - { format: falco, webhook: { url: 'https://sidekick:2801/', headers: { x-node: a } } }\n\
             - { format: ocsf, nats: { url: 'nats://bus:4222', subject: driftlock.alerts } }\n\
             spool: { max_mb: 16, at_limit: drop-newest }\n",
        )
        .expect("a good file");
        let sinks = file.sinks.expect("they are named");
        let kinds: Vec<_> = sinks.iter().map(|sink| sink.target.kind()).collect();
        assert_eq!(kinds, ["stdout", "file", "unix", "syslog", "webhook", "nats"]);
        assert_eq!(sinks[1].name, "local");
        assert_eq!(sinks[1].min_severity, Severity::High);
        assert_eq!(sinks[4].format, AlertFormat::Falco);
        let spool = file.spool.resolve();
        assert_eq!((spool.max_bytes, spool.at_limit), (16 << 20, AtLimit::DropNewest));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, said) in [
            ("sinks: [{}]", "exactly one of"),
            ("sinks: [{ stdout: {}, unix: { path: /a } }]", "exactly one of"),
            (
                "sinks:\n- stdout: {}\n- stdout: {}\n",
                "two sinks are called `stdout`",
            ),
            ("sinks: [{ name: 'a b', stdout: {} }]", "a sink's name"),
            ("sinks: [{ stdout: { colour: 1 } }]", "colour"),
            ("sinks: [{ file: { path: /a, keep: -1 } }]", "no whole number"),
            ("sinks: [{ format: xml, stdout: {} }]", "xml"),
            ("spool: { at_limit: forget }", "forget"),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.contains(said), "{text}: {error}");
        }
    }
}
