//! A behaviour as its parts, for views and differences: the same fields for every domain.

use agent_common::cap::{CapOutcome, UserNamespace};
use agent_common::domain::Domain;
use agent_common::file::{FileOperation, Layer};
use agent_common::syscall::{SyscallAbi, SyscallPhase};
use serde::{Deserialize, Serialize};

use super::{Behaviour, Capability, FilePattern};
use crate::profile::pattern::PathPattern;
use crate::text::ByteText;

/// What a behaviour consists of; a part that its domain does not have is null.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BehaviourParts {
    /// The domain.
    #[serde(with = "crate::tag")]
    pub domain: Domain,
    /// Where the file comes from; null for a capability.
    #[serde(default, with = "crate::tag::option")]
    pub layer: Option<Layer>,
    /// The file's path; null for a capability, and for a rule that holds for more than one path.
    #[serde(default)]
    pub path: Option<ByteText>,
    /// The rule, where it holds for more than one path.
    #[serde(default)]
    pub pattern: Option<PathPattern>,
    /// For a multi-call binary, the applet.
    #[serde(default)]
    pub applet: Option<ByteText>,
    /// What is done with the file, in domain file.
    #[serde(default, with = "crate::tag::option")]
    pub operation: Option<FileOperation>,
    /// The capability.
    #[serde(default)]
    pub capability: Option<Capability>,
    /// The user namespace that the capability is for.
    #[serde(default, with = "crate::tag::option")]
    pub namespace: Option<UserNamespace>,
    /// What the kernel answers.
    #[serde(default, with = "crate::tag::option")]
    pub outcome: Option<CapOutcome>,
    /// The system call's name.
    #[serde(default)]
    pub syscall: Option<String>,
    /// The interface by which it is made.
    #[serde(default, with = "crate::tag::option")]
    pub abi: Option<SyscallAbi>,
    /// Who makes it.
    #[serde(default, with = "crate::tag::option")]
    pub phase: Option<SyscallPhase>,
}

impl BehaviourParts {
    /// Nothing but the domain.
    #[must_use]
    pub const fn of(domain: Domain) -> Self {
        Self {
            domain,
            layer: None,
            path: None,
            pattern: None,
            applet: None,
            operation: None,
            capability: None,
            namespace: None,
            outcome: None,
            syscall: None,
            abi: None,
            phase: None,
        }
    }

    /// A program that is permitted by its content.
    #[must_use]
    pub fn of_program(layer: Layer, path: ByteText) -> Self {
        Self {
            layer: Some(layer),
            path: Some(path),
            ..Self::of(Domain::Exec)
        }
    }

    /// What it is about, for a column of a table: a path, a rule for several, a capability, or a system call.
    #[must_use]
    pub fn subject(&self) -> String {
        let path = self.path.as_ref().map(ToString::to_string);
        let pattern = self.pattern.as_ref().map(ToString::to_string);
        let capability = self.capability.map(|capability| capability.to_string());
        path.or(pattern)
            .or(capability)
            .or_else(|| self.syscall.clone())
            .unwrap_or_default()
    }

    /// What is done with it, for a column of a table; `None` for the running of a program that has no applets.
    #[must_use]
    pub fn manner(&self) -> Option<String> {
        let applet = self.applet.as_ref().map(ToString::to_string);
        let operation = self.operation.map(|operation| operation.as_str().to_owned());
        let outcome = self.outcome.map(|outcome| match self.namespace {
            Some(UserNamespace::Other) => format!("{outcome}, own namespace"),
            _ => outcome.as_str().to_owned(),
        });
        let call = self.abi.map(|abi| match self.phase {
            Some(SyscallPhase::Runtime) => format!("{abi}, by the runtime"),
            _ => abi.as_str().to_owned(),
        });
        applet.or(operation).or(outcome).or(call)
    }
}

impl From<&Behaviour> for BehaviourParts {
    fn from(behaviour: &Behaviour) -> Self {
        let none = Self::of(behaviour.domain());
        match behaviour {
            Behaviour::Exec(exec) => Self {
                layer: Some(exec.layer),
                path: Some(exec.path.clone()),
                applet: exec.applet.clone(),
                ..none
            },
            Behaviour::File(file) => Self {
                layer: Some(file.layer),
                operation: Some(file.operation),
                ..match &file.pattern {
                    FilePattern::Exact(path) => Self {
                        path: Some(path.clone()),
                        ..none
                    },
                    FilePattern::Pattern(pattern) => Self {
                        pattern: Some(pattern.clone()),
                        ..none
                    },
                }
            },
            Behaviour::Cap(cap) => Self {
                capability: Some(cap.capability),
                namespace: Some(cap.namespace),
                outcome: Some(cap.outcome),
                ..none
            },
            Behaviour::Syscall(call) => Self {
                syscall: Some(call.name().into_owned()),
                abi: Some(call.abi),
                phase: Some(call.phase),
                ..none
            },
        }
    }
}
