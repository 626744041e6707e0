//! `policies:` of the configuration: what is done where no profile can say.
//!
//! Input: the section. Output: [`Policies`]. Failure: the reader's, with line and field ([`super::ConfigError`]).

use std::path::PathBuf;
use std::time::Duration;

use agent_common::container::{CONTAINER_KILL_CAP, CONTAINER_KILL_FILE};
use agent_common::domain::Mode;
use serde::{Deserialize, Deserializer};

use super::Number;
use crate::profile::annotation;
use crate::profile::mode::ExecInto;

/// Namespaces in which nothing is enforced if nobody says otherwise: those of Kubernetes itself.
pub const PROTECTED_NAMESPACES: &[&str] = &["kube-system", "kube-public", "kube-node-lease"];

/// `policies:`
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PoliciesSection {
    /// What enters from outside and was not accepted, in enforce mode.
    pub exec_into: Option<ExecInto>,
    /// What drifts while the container's image is not known yet.
    pub unprofiled: Option<Unprofiled>,
    /// The domains in which enforce mode kills where it cannot refuse.
    pub kill: Vec<KillDomain>,
    /// How starts are held, if `unprofiled` is `hold`.
    pub hold: HoldSection,
    /// Which modes pods may ask for by annotations.
    pub pod_annotations: PodAnnotationsSection,
    /// Whether the profile of a new image begins with what did not change since the image before; yes if absent.
    pub inherit: Option<bool>,
    /// Namespaces of Kubernetes in which nothing is enforced; those of Kubernetes itself if absent.
    pub protected_namespaces: Option<Vec<String>>,
}

/// `policies: pod_annotations:`
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PodAnnotationsSection {
    /// How weak a mode may take the default's place; if absent, the default may not be weakened.
    #[serde(deserialize_with = "settable_mode")]
    pub weakest: Option<Mode>,
    /// The strictest mode that may be asked for.
    #[serde(deserialize_with = "settable_mode")]
    pub strictest: Option<Mode>,
}

/// `policies: hold:`
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HoldSection {
    /// For how long at most, in milliseconds.
    pub at_most_ms: Option<Number<10, 60_000>>,
    /// What happens then.
    pub then: Option<HoldThen>,
    /// The runtimes' programs by their paths on the host; looked for if empty.
    pub programs: Vec<PathBuf>,
}

/// What happens to drift in a container whose image is not known yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unprofiled {
    /// It is reported.
    AlertDrift,
    /// It is denied or killed, and reported.
    DenyDrift,
    /// There is none: the runtime's start waits until the image is known.
    Hold,
}

/// A domain in which a process is killed only if an operator says so: it has done by then what it is killed for, and the use
/// of a file or a capability says less than the program that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KillDomain {
    /// Uses of files.
    File,
    /// Uses of capabilities.
    Cap,
}

/// How starts are held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// For how long at most.
    pub at_most: Duration,
    /// What happens then.
    pub then: HoldThen,
    /// The runtimes' programs; looked for if empty.
    pub programs: Vec<PathBuf>,
}

/// What happens to a start that was held for as long as it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HoldThen {
    /// It goes on, and what drifts is reported.
    AlertDrift,
    /// It goes on, and what drifts is denied or killed.
    DenyDrift,
    /// It is refused: the runtime says that it may not execute its own program.
    Refuse,
}

/// What holds where no profile can say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policies {
    /// What enters from outside.
    pub exec_into: ExecInto,
    /// What drifts before the image is known.
    pub unprofiled: Unprofiled,
    /// The domains in which enforce mode kills where it cannot refuse; in others it then only reports.
    pub kill: Vec<KillDomain>,
    /// How starts are held, if so.
    pub hold: Hold,
    /// Which modes pods may ask for by annotations.
    pub pod_annotations: annotation::Limits,
    /// Whether the profile of a new image begins with what did not change since the image before.
    pub inherit: bool,
    /// Namespaces of Kubernetes in which nothing is enforced.
    pub protected_namespaces: Vec<String>,
}

// === impl Policies ===

impl Policies {
    /// Whether drift is denied or killed in a container whose image is not known yet.
    #[must_use]
    pub const fn denies_unprofiled_drift(&self) -> bool {
        match self.unprofiled {
            Unprofiled::AlertDrift => false,
            Unprofiled::DenyDrift => true,
            Unprofiled::Hold => !matches!(self.hold.then, HoldThen::AlertDrift),
        }
    }

    /// The bits of a container's entry that follow from `kill`.
    #[must_use]
    pub fn kill_flags(&self) -> u32 {
        self.kill.iter().fold(0, |flags, domain| {
            flags
                | match domain {
                    KillDomain::File => CONTAINER_KILL_FILE,
                    KillDomain::Cap => CONTAINER_KILL_CAP,
                }
        })
    }
}

// === impl PoliciesSection ===

impl PoliciesSection {
    /// What holds, with the defaults of what is absent.
    #[must_use]
    pub fn resolve(self) -> Policies {
        let protected = || PROTECTED_NAMESPACES.iter().map(ToString::to_string).collect();
        Policies {
            exec_into: self.exec_into.unwrap_or(ExecInto::Alert),
            unprofiled: self.unprofiled.unwrap_or(Unprofiled::AlertDrift),
            kill: self.kill,
            hold: self.hold.resolve(),
            pod_annotations: self.pod_annotations.resolve(),
            inherit: self.inherit.unwrap_or(true),
            protected_namespaces: self.protected_namespaces.unwrap_or_else(protected),
        }
    }
}

// === impl KillDomain ===

impl KillDomain {
    /// The word in configuration and views.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Cap => "cap",
        }
    }
}

// === impl Unprofiled ===

impl Unprofiled {
    /// The word in configuration and views.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AlertDrift => "alert-drift",
            Self::DenyDrift => "deny-drift",
            Self::Hold => "hold",
        }
    }
}

// === impl PodAnnotationsSection ===

impl PodAnnotationsSection {
    /// What pods may ask for, with the defaults of what is absent.
    #[must_use]
    pub fn resolve(&self) -> annotation::Limits {
        let default = annotation::Limits::default();
        annotation::Limits {
            weakest: self.weakest.or(default.weakest),
            strictest: self.strictest.unwrap_or(default.strictest),
        }
    }
}

/// A mode that can be set.
fn settable_mode<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Mode>, D::Error> {
    let word = String::deserialize(deserializer)?;
    annotation::settable(word.as_bytes())
        .map(Some)
        .ok_or_else(|| serde::de::Error::unknown_variant(&word, &["learn", "monitor", "enforce"]))
}

// === impl HoldSection ===

impl HoldSection {
    /// How starts are held, with the defaults of what is absent.
    #[must_use]
    pub fn resolve(self) -> Hold {
        let at_most_ms = self.at_most_ms.map_or(5_000, |number| number.0);
        Hold {
            at_most: Duration::from_millis(at_most_ms.into()),
            then: self.then.unwrap_or(HoldThen::AlertDrift),
            programs: self.programs,
        }
    }
}
