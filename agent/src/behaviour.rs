//! Behaviours: what a container did, in the terms in which a profile holds it and a rule matches it.
//!
//! Input: what was observed, or what a profile says. Output: the keys under which the kernel's maps have it. Failure: none.

mod cap;
mod exec;
mod file;
mod parts;
pub(crate) mod runtime_call;
pub mod syscall;
pub mod syscall_name;

use agent_common::domain::{Domain, Section};
use agent_common::file::Layer;
use agent_common::hash::HashKey;
use agent_common::rule::{BehaviourKey, RuleKey};

pub use cap::{CapBehaviour, Capability, CapabilityError};
pub use exec::{ExecBehaviour, MULTI_CALL_PROGRAMS, is_multi_call};
pub use file::{FileBehaviour, FilePattern};
pub use parts::BehaviourParts;
pub use syscall::SyscallBehaviour;

/// What a container did: one variant for each domain that is learned. Ordered as documents list it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Behaviour {
    /// It executed a program.
    Exec(ExecBehaviour),
    /// It used a file.
    File(FileBehaviour),
    /// It used a capability, or was refused one.
    Cap(CapBehaviour),
    /// It made a system call.
    Syscall(SyscallBehaviour),
}

/// The domains of which behaviour is learned, in the order of [`Behaviour`].
pub const LEARNED_DOMAINS: [Domain; 4] = [Domain::Exec, Domain::File, Domain::Cap, Domain::Syscall];

impl Behaviour {
    /// The domain that it belongs to.
    #[must_use]
    pub const fn domain(&self) -> Domain {
        match self {
            Self::Exec(_) => Domain::Exec,
            Self::File(_) => Domain::File,
            Self::Cap(_) => Domain::Cap,
            Self::Syscall(_) => Domain::Syscall,
        }
    }

    /// The layer of the file that it is about; `None` for a capability or a system call.
    #[must_use]
    pub const fn layer(&self) -> Option<Layer> {
        match self {
            Self::Exec(exec) => Some(exec.layer),
            Self::File(file) => Some(file.layer),
            Self::Cap(_) | Self::Syscall(_) => None,
        }
    }

    /// Whether it is a rule for more than one path.
    #[must_use]
    pub const fn is_pattern(&self) -> bool {
        matches!(
            self,
            Self::File(FileBehaviour {
                pattern: FilePattern::Pattern(_),
                ..
            })
        )
    }

    /// The hash that the kernel computes for it.
    #[must_use]
    pub fn hash(&self, key: HashKey) -> u64 {
        match self {
            Self::Exec(exec) => exec.hash(key),
            Self::File(file) => file.hash(key),
            Self::Cap(cap) => cap.hash(),
            Self::Syscall(call) => call.hash(),
        }
    }

    /// The key under which `SEEN` and `LEARN` hold it for the container with cgroup id `container`.
    #[must_use]
    pub fn key(&self, key: HashKey, container: u64, section: Section) -> BehaviourKey {
        BehaviourKey {
            container,
            hash: self.hash(key),
            domain: self.domain() as u8,
            layer: self.layer_number(),
            section: section as u8,
            operation: self.operation_number(),
            reserved: [0; 4],
        }
    }

    /// The key of its rule in the profile with number `profile`, without generation.
    #[must_use]
    pub fn rule_key(&self, key: HashKey, profile: u32, section: Section) -> RuleKey {
        RuleKey {
            hash: self.hash(key),
            profile,
            generation: 0,
            domain: self.domain() as u8,
            layer: self.layer_number(),
            section: section as u8,
            operation: self.operation_number(),
            reserved: [0; 4],
        }
    }

    fn layer_number(&self) -> u8 {
        self.layer().map_or(0, |layer| layer as u8)
    }

    const fn operation_number(&self) -> u8 {
        match self {
            Self::Exec(_) => 0,
            Self::File(file) => file.operation as u8,
            Self::Cap(cap) => cap.outcome as u8,
            Self::Syscall(call) => call.phase as u8,
        }
    }
}

impl From<ExecBehaviour> for Behaviour {
    fn from(behaviour: ExecBehaviour) -> Self {
        Self::Exec(behaviour)
    }
}

impl From<FileBehaviour> for Behaviour {
    fn from(behaviour: FileBehaviour) -> Self {
        Self::File(behaviour)
    }
}

impl From<CapBehaviour> for Behaviour {
    fn from(behaviour: CapBehaviour) -> Self {
        Self::Cap(behaviour)
    }
}

impl From<SyscallBehaviour> for Behaviour {
    fn from(behaviour: SyscallBehaviour) -> Self {
        Self::Syscall(behaviour)
    }
}

impl std::fmt::Display for Behaviour {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exec(exec) => exec.fmt(formatter),
            Self::File(file) => file.fmt(formatter),
            Self::Cap(cap) => cap.fmt(formatter),
            Self::Syscall(call) => call.fmt(formatter),
        }
    }
}

#[cfg(test)]
mod tests {
    use agent_common::cap::{CapOutcome, UserNamespace};
    use agent_common::file::FileOperation;

    use super::*;

    const KEY: HashKey = HashKey { k0: 1, k1: 2 };

    fn file(layer: Layer, operation: FileOperation) -> Behaviour {
        let pattern = FilePattern::Exact("/etc/passwd".into());
        FileBehaviour {
            layer,
            pattern,
            operation,
        }
        .into()
    }

    #[test]
    fn each_part_of_a_behaviour_is_in_its_keys() {
        let read = file(Layer::Image, FileOperation::Read);
        let key = read.key(KEY, 7, Section::ExecIn);
        let rule = read.rule_key(KEY, 9, Section::ExecIn);
        assert_eq!((key.container, rule.profile, rule.generation), (7, 9, 0));
        for (hash, domain, layer, section, operation) in [
            (key.hash, key.domain, key.layer, key.section, key.operation),
            (rule.hash, rule.domain, rule.layer, rule.section, rule.operation),
        ] {
            assert_eq!(hash, agent_common::hash::path(KEY, b"/etc/passwd", None));
            assert_eq!((domain, layer, section, operation), (2, 1, 1, 1));
        }
        let program = Behaviour::Exec(ExecBehaviour {
            layer: Layer::Image,
            path: "/etc/passwd".into(),
            applet: None,
        });
        let others = [
            file(Layer::Upper, FileOperation::Read),
            file(Layer::Image, FileOperation::Write),
            program,
        ];
        for other in others {
            assert_ne!(other.key(KEY, 7, Section::ExecIn), key, "{other}");
        }
    }

    #[test]
    fn a_capability_has_neither_layer_nor_path() {
        let behaviour = Behaviour::Cap(CapBehaviour {
            capability: Capability::from_raw(13).expect("a capability"),
            namespace: UserNamespace::Other,
            outcome: CapOutcome::Refused,
        });
        let key = behaviour.key(KEY, 7, Section::Main);
        assert_eq!((key.domain, key.layer, key.operation), (3, 0, 2));
        assert_eq!(key.hash, agent_common::cap::hash(13, 1));
        assert_eq!(
            behaviour.to_string(),
            "CAP_NET_RAW refused in a user namespace of its own"
        );
    }
}
