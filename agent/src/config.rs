//! The agent's configuration: the file, its defaults, and what results from both.
//!
//! Input: YAML, every field optional, and what flags and environment say ([`crate::cli::resolve`] brings them together).
//! Output: [`Config`]. Failure: [`ConfigError`] with the file, and the line, column and field where the text is wrong;
//! an unknown field is an error. A file that was named and is not there is an error, the default file may be absent.

pub mod canary;
pub mod change;
pub mod control;
pub mod learned;
pub mod metrics;
pub mod policies;
pub mod profiles;
pub mod sinks;

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Deserializer};

use self::canary::CanarySection;
use self::control::ControlSection;
use self::learned::LearnedSection;
use self::metrics::MetricsSection;
use self::policies::{Policies, PoliciesSection};
use self::profiles::{ProfilesSection, Trust, TrustError};
use self::sinks::{SinkConfig, SpoolConfig, SpoolSection};
use crate::alert::fold::FoldLimits;
use crate::profile::completeness::Targets;

/// Where the configuration is looked for if nobody says otherwise.
pub const CONFIG_FILE: &str = "/etc/driftlock/config.yaml";
/// The control socket if nobody says otherwise.
pub const SOCKET: &str = "/run/driftlock/control.sock";
/// The state directory if nobody says otherwise.
pub const STATE_DIR: &str = "/var/lib/driftlock";
/// Where maps and links are pinned if nobody says otherwise.
pub const BPFFS: &str = "/sys/fs/bpf/driftlock";
/// Longest configuration file in bytes; a longer one is refused.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The file's content. What is absent has its default.
#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConfigFile {
    /// The node's name in alerts.
    pub node: Option<String>,
    /// Directory of the profile store.
    pub state_dir: Option<PathBuf>,
    /// The control socket.
    pub socket: Option<PathBuf>,
    /// Directory in a BPF file system in which maps and links are pinned.
    pub bpffs: Option<PathBuf>,
    /// The agent's own log.
    pub log: LogSection,
    /// From which level on the kernel programs log.
    pub kernel_log_level: Option<Level>,
    /// The container runtimes.
    pub runtimes: RuntimesSection,
    /// From which hierarchy cgroup ids are taken.
    pub cgroup_hierarchy: Option<CgroupHierarchy>,
    /// What is done where no profile can say.
    pub policies: PoliciesSection,
    /// Whose profiles are trusted.
    pub profiles: ProfilesSection,
    /// From when on a profile is called complete.
    pub learned: LearnedSection,
    /// Who may ask the agent.
    pub control: ControlSection,
    /// Where alerts go; standard output if absent.
    #[serde(deserialize_with = "sinks::sinks")]
    pub sinks: Option<Vec<SinkConfig>>,
    /// How many alerts may wait for that.
    pub spool: SpoolSection,
    /// Where Prometheus and probes find the agent.
    pub metrics: MetricsSection,
    /// How often the agent tries whether it catches what drifts.
    pub canary: CanarySection,
    /// Bounds.
    pub limits: LimitsSection,
    /// The agent gives up what it does not need once it has started; yes if absent.
    pub confine: Option<bool>,
}

/// `log:`
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogSection {
    /// From which level on.
    pub level: Option<Level>,
    /// How.
    pub format: Option<LogFormat>,
}

/// `runtimes:`
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RuntimesSection {
    /// Look for runtimes among the processes and in the default directories, beside what is named here.
    pub find: Option<bool>,
    /// Docker.
    pub docker: DockerSection,
    /// containerd.
    pub containerd: ContainerdSection,
    /// Podman and CRI-O.
    pub podman: PodmanSection,
}

/// `runtimes.docker:`
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DockerSection {
    /// Data directories.
    pub data_roots: Vec<PathBuf>,
}

/// `runtimes.containerd:`
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ContainerdSection {
    /// State directories; the socket is `containerd.sock` in them.
    pub states: Vec<PathBuf>,
}

/// `runtimes.podman:`
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PodmanSection {
    /// Storages (`podman info`: `graphRoot`).
    pub storages: Vec<PathBuf>,
}

/// `limits:`
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsSection {
    /// How long repeats of an alert are counted before they are summed up, in seconds.
    pub fold_window_s: Option<Number<1, 3600>>,
    /// Most alerts whose repeats are counted at once.
    pub folds: Option<Number<16, 1_000_000>>,
    /// How long an alert waits for the confirmation of its kill, in milliseconds.
    pub confirm_wait_ms: Option<Number<0, 60_000>>,
    /// Most clients of the control socket at once.
    pub clients: Option<Number<1, 1024>>,
    /// How many of the latest alerts are kept for `driftlock alerts`.
    pub alerts_kept: Option<Number<0, 100_000>>,
}

/// A whole number from `MIN` to `MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Number<const MIN: u32, const MAX: u32>(u32);

/// How much is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Nothing.
    Off,
    /// What failed.
    Error,
    /// What may be wrong.
    Warn,
    /// What happens to the agent.
    Info,
    /// What happens to containers.
    Debug,
    /// Every record.
    Trace,
}

/// How it is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object per line.
    Json,
}

/// From which hierarchy cgroup ids are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CgroupHierarchy {
    /// Version 2 where containers are placed in it, else the version 1 hierarchy in which they are.
    Auto,
    /// Version 2.
    V2,
    /// Version 1.
    V1,
}

/// What holds: flags over environment over file over defaults.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The file that was read; `None` if there is none.
    pub file: Option<PathBuf>,
    /// The node's name in alerts.
    pub node: String,
    /// Directory of the profile store.
    pub state_dir: PathBuf,
    /// The control socket.
    pub socket: PathBuf,
    /// Directory in a BPF file system in which maps and links are pinned.
    pub bpffs: PathBuf,
    /// From which level on the agent logs.
    pub log_level: Level,
    /// How it logs.
    pub log_format: LogFormat,
    /// From which level on the kernel programs log.
    pub kernel_log_level: Level,
    /// Everything that is pinned goes when the agent is told to end.
    pub teardown_on_exit: bool,
    /// Where containers are looked for.
    pub runtimes: RuntimesChoice,
    /// From which hierarchy cgroup ids are taken.
    pub cgroup_hierarchy: CgroupHierarchy,
    /// What is done where no profile can say.
    pub policies: Policies,
    /// Whose profiles are trusted.
    pub trust: Trust,
    /// What a profile must have been learned from to be called complete.
    pub learned: Targets,
    /// Who may ask the agent.
    pub control: ControlSection,
    /// Where alerts go.
    pub sinks: Vec<SinkConfig>,
    /// How many alerts may wait for that.
    pub spool: SpoolConfig,
    /// Where Prometheus and probes find the agent.
    pub metrics: MetricsSection,
    /// How often the agent tries whether it catches what drifts ([`crate::canary`]); `None`: it does not.
    pub canary: Option<Duration>,
    /// Bounds.
    pub limits: Limits,
    /// The agent gives up what it does not need once it has started ([`crate::confine`]).
    pub confine: bool,
}

/// Where containers are looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuntimesChoice {
    /// Also where runtimes are found to run, and in the default directories.
    pub find: bool,
    /// Docker's data directories.
    pub docker_data_roots: Vec<PathBuf>,
    /// containerd's state directories.
    pub containerd_states: Vec<PathBuf>,
    /// Podman's and CRI-O's storages.
    pub podman_storages: Vec<PathBuf>,
}

/// Bounds. What happens at each is said where it is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Of folding and of the wait for confirmations.
    pub fold: FoldLimits,
    /// Most clients of the control socket at once.
    pub clients: usize,
    /// How many of the latest alerts are kept.
    pub alerts_kept: usize,
}

/// The configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {}: {source}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is longer than it may be.
    #[error("the configuration {} is longer than {FILE_BYTES_MAX} bytes", file.display())]
    TooLong {
        /// The file.
        file: PathBuf,
    },
    /// A key that profiles are to be signed with.
    #[error("{}: {source}", file.display())]
    Trust {
        /// The file.
        file: PathBuf,
        /// Which one, and why not.
        source: TrustError,
    },
    /// The text is wrong.
    #[error("{}:{line}:{column}: in `{field}`: {message}", file.display())]
    Parse {
        /// The file.
        file: PathBuf,
        /// Line, from 1; 0 where none is known.
        line: u64,
        /// Column, from 1; 0 where none is known.
        column: u64,
        /// The line that is wrong, which names the field.
        field: String,
        /// What is wrong.
        message: String,
    },
}

// === impl ConfigFile ===

impl ConfigFile {
    /// Reads `file`. If it is absent and `required` is false, the defaults hold and `Ok(None)` says so.
    ///
    /// # Errors
    /// If it cannot be read, or its text is wrong.
    pub fn read(file: &Path, required: bool) -> Result<Option<Self>, ConfigError> {
        let failed = |source| ConfigError::Read {
            file: file.to_owned(),
            source,
        };
        let opened = match std::fs::File::open(file) {
            Err(error) if !required && error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(failed)?,
        };
        let mut text = String::new();
        opened
            .take(FILE_BYTES_MAX + 1)
            .read_to_string(&mut text)
            .map_err(failed)?;
        if text.len() as u64 > FILE_BYTES_MAX {
            return Err(ConfigError::TooLong {
                file: file.to_owned(),
            });
        }
        Self::parse(&text, file).map(Some)
    }

    /// Reads `text`; `file` is for messages.
    ///
    /// # Errors
    /// [`ConfigError::Parse`].
    pub fn parse(text: &str, file: &Path) -> Result<Self, ConfigError> {
        // A file of comments alone is a null document, which stands for all defaults.
        serde_saphyr::from_str::<Option<Self>>(text)
            .map(Option::unwrap_or_default)
            .map_err(|error| parse_error(&error, text, file))
    }
}

/// The reader's error with the line that it is about, which names the field.
fn parse_error(error: &serde_saphyr::Error, text: &str, file: &Path) -> ConfigError {
    let (line, column) = error
        .location()
        .map_or((0, 0), |location| (location.line(), location.column()));
    let message = error.without_snippet().to_string();
    let place = format!(" at line {line}, column {column}");
    let field = usize::try_from(line)
        .ok()
        .and_then(|line| text.lines().nth(line.checked_sub(1)?))
        .map(|line| line.trim().chars().take(100).collect::<String>())
        .unwrap_or_default();
    ConfigError::Parse {
        file: file.to_owned(),
        line,
        column,
        field: crate::text::escape(field.as_bytes()),
        message: message.strip_suffix(&place).unwrap_or(&message).to_owned(),
    }
}

// === impl LimitsSection ===

impl LimitsSection {
    /// The bounds, with the defaults of what is absent.
    #[must_use]
    pub fn resolve(&self) -> Limits {
        let default = FoldLimits::default();
        Limits {
            fold: FoldLimits {
                window: self
                    .fold_window_s
                    .map_or(default.window, |number| Duration::from_secs(number.0.into())),
                folds: self.folds.map_or(default.folds, |number| number.0 as usize),
                confirm_wait: self.confirm_wait_ms.map_or(default.confirm_wait, |number| {
                    Duration::from_millis(number.0.into())
                }),
            },
            clients: self.clients.map_or(64, |number| number.0 as usize),
            alerts_kept: self.alerts_kept.map_or(1000, |number| number.0 as usize),
        }
    }
}

// === impl Number ===

impl<const MIN: u32, const MAX: u32> Number<MIN, MAX> {
    /// The number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl<'de, const MIN: u32, const MAX: u32> Deserialize<'de> for Number<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.parse() {
            Ok(number) if (MIN..=MAX).contains(&number) => Ok(Self(number)),
            _ => Err(serde::de::Error::custom(format_args!(
                "`{text}` is no whole number from {MIN} to {MAX}"
            ))),
        }
    }
}

// === impl Level ===

impl Level {
    /// The word in configuration and filters.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::policies::{KillDomain, Unprofiled};
    use super::*;
    use crate::profile::mode::ExecInto;

    fn parse(text: &str) -> Result<ConfigFile, String> {
        ConfigFile::parse(text, Path::new("config.yaml")).map_err(|error| error.to_string())
    }

    #[test]
    fn nothing_said_is_all_defaults() {
        for text in ["", "\n", "# nothing\n", "{}", "---\n"] {
            assert_eq!(parse(text), Ok(ConfigFile::default()), "{text:?}");
        }
        let limits = LimitsSection::default().resolve();
        assert_eq!(limits.fold.window, Duration::from_mins(1));
        assert_eq!(limits.clients, 64);
    }

    #[test]
    fn everything_said_is_taken() {
        let file = parse(
            "node: worker-1\n\
             state_dir: /srv/driftlock\n\
             socket: /srv/control.sock\n\
             bpffs: /sys/fs/bpf/other\n\
             log: { level: debug, format: json }\n\
             kernel_log_level: off\n\
             runtimes:\n  find: false\n  docker: { data_roots: [/srv/docker] }\n  containerd: { states: [/srv/containerd] }\n\
             cgroup_hierarchy: v1\n\
             policies:\n  exec_into: deny\n  unprofiled: deny-drift\n  kill: [cap, file]\n\
             profiles:\n  trusted_keys: [/etc/driftlock/ops.pub]\n  enforce_only_signed: true\n\
             learned: { coverage: 0.95, instances: 2, windows: 30, starts: 2, ends: 0, lost_windows: 4 }\n\
             control:\n  readers: [1001, ops]\n  changers: ['gid:7']\n  from_containers: read\n\
             metrics: { listen: '[::1]:9464' }\n\
             canary: { interval_s: 5 }\nconfine: false\nlimits:\n  fold_window_s: 5\n  folds: 100\n  confirm_wait_ms: 0\n  clients: 3\n  alerts_kept: 0\n",
        )
        .expect("a good file");
        assert_eq!(file.node.as_deref(), Some("worker-1"));
        assert_eq!(file.kernel_log_level, Some(Level::Off));
        assert_eq!(file.log.format, Some(LogFormat::Json));
        assert_eq!(file.runtimes.find, Some(false));
        assert_eq!(file.runtimes.docker.data_roots, [PathBuf::from("/srv/docker")]);
        assert_eq!(
            file.runtimes.containerd.states,
            [PathBuf::from("/srv/containerd")]
        );
        assert_eq!(file.cgroup_hierarchy, Some(CgroupHierarchy::V1));
        assert_eq!(file.policies.exec_into, Some(ExecInto::Deny));
        assert_eq!(file.policies.unprofiled, Some(Unprofiled::DenyDrift));
        assert_eq!(file.policies.kill, [KillDomain::Cap, KillDomain::File]);
        assert_eq!(file.profiles.trusted_keys, ["/etc/driftlock/ops.pub"]);
        assert!(file.profiles.enforce_only_signed);
        assert_eq!((file.control.readers.len(), file.control.changers.len()), (2, 1));
        assert_eq!(file.control.from_containers, control::FromContainers::Read);
        let listen = "[::1]:9464".parse().expect("an address");
        assert_eq!(file.metrics.listen, Some(listen));
        let targets = Targets {
            coverage: 0.95,
            instances: 2,
            windows: 30,
            starts: 2,
            ends: 0,
            lost_windows: 4,
        };
        assert_eq!(file.learned.resolve(), targets);
        assert_eq!(LearnedSection::default().resolve(), Targets::default());
        assert_eq!(file.canary.resolve(), Some(Duration::from_secs(5)));
        assert_eq!(file.confine, Some(false));
        let limits = file.limits.resolve();
        assert_eq!(limits.fold.confirm_wait, Duration::ZERO);
        assert_eq!(
            (limits.fold.folds, limits.clients, limits.alerts_kept),
            (100, 3, 0)
        );
    }

    #[test]
    fn errors_say_where_and_what() {
        let errors: Vec<_> = [
            "node: a\nsocet: /run/x\n",
            "log:\n  level: loud\n",
            "policies:\n  exec_into: deny\n  unprofiled: wait\n",
            "policies:\n  kill: [file, exec]\n",
            "policies:\n  unprofiled: hold\n  hold: { at_most_ms: 600000 }\n",
            "policies:\n  pod_annotations:\n    strictest: pending\n",
            "limits:\n  clients: 0\n",
            "learned:\n  instances: 3\n  coverage: 1.01\n",
            "learned:\n  coverage: .nan\n",
            "learned:\n  coverage: 99 %\n",
            "learned:\n  ends: no\n",
            "learned:\n  shutdowns: 1\n",
            "limits:\n  clients: many\n",
            "node: [a]\n",
            "node: a\nnode: b\n",
            "log: {level: debug\n",
            "- a\n",
            "node: a\n---\nnode: b\n",
            "control:\n  readers: [ops, -1]\n",
            "control:\n  writers: [ops]\n",
            "profiles:\n  trusted_keys: ops.pub\n",
            "profiles:\n  enforce_only_signed: maybe\n",
            "control:\n  from_containers: allow\n",
            "metrics:\n  listen: 9464\n",
            "metrics:\n  listen: localhost:9464\n",
            "control:\n  readers: ops\n",
            "limits:\n  clients: 99999999999999999999999999\n",
            "limits:\n  folds: 1e400\n",
            "a: &a [1]\nb: &b [*a, *a]\nc: [*b, *b]\n",
            "? [a]\n: b\n",
            "node: !!binary x\n",
            "node: \"\\x00\u{1b}[31m\"\nlog: 3\n",
        ]
        .into_iter()
        .map(|text| parse(text).expect_err(text))
        .collect();
        insta::assert_snapshot!(errors.join("\n"));
    }

    /// What would take much memory or a deep stack if it were followed.
    #[test]
    fn a_hostile_file_is_refused_at_once() {
        let reference = |level: u32| format!("l{level}: &l{level} [*l{0}, *l{0}, *l{0}, *l{0}]\n", level - 1);
        let references = (1..30).map(reference).collect::<Vec<_>>().concat();
        let long_list = format!("control: {{readers: [{}]}}", "1, ".repeat(100_000));
        for text in [
            format!("l0: &l0 [x, x]\n{references}"),
            format!("docker: {}", "[".repeat(500_000)),
            "{a: ".repeat(200_000),
            "- ".repeat(500_000),
            format!(
                "docker: {{data_roots: {}{}}}",
                "[".repeat(100_000),
                "]".repeat(100_000)
            ),
            long_list,
        ] {
            let begun = std::time::Instant::now();
            let error = parse(&text).expect_err("refused");
            assert!(begun.elapsed() < Duration::from_secs(5), "{}", &text[..40]);
            assert!(error.starts_with("config.yaml:") && error.len() < 1000, "{error}");
        }
    }

    #[test]
    fn only_the_default_file_may_be_absent() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("config.yaml");
        assert_eq!(ConfigFile::read(&file, false).expect("absent"), None);
        assert!(ConfigFile::read(&file, true).is_err());
        std::fs::write(&file, "#".repeat((1 << 20) + 1)).expect("written");
        let error = ConfigFile::read(&file, true).expect_err("too long");
        assert!(matches!(error, ConfigError::TooLong { .. }), "{error}");
    }
}
