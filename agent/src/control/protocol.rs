//! Requests and responses: one JSON document per line (NDJSON), over a unix stream socket.
//!
//! A client sends [`Hello`] and one [`Request`]; the agent answers with its own [`Hello`] and one [`Response`], and
//! closes. [`Request::Alerts`] is answered with a response and then a line per alert. Where a line is no valid
//! document, or the peer may not ask, the answer is [`Response::Err`] in the place of what was due.
//! Failure: a line longer than its bound is refused before it is parsed; fields and variants that are not known are
//! errors, so that a newer client is never half understood.

use agent_common::cap::{CapOutcome, UserNamespace};
use agent_common::domain::{Domain, Mode, Section};
use agent_common::file::{FileOperation, Layer};
use agent_common::syscall::SyscallAbi;
use serde::{Deserialize, Serialize};

use crate::behaviour::{Capability, FilePattern};
use crate::text::ByteText;

/// Version of everything in this module and in [`super::view`]. Agent and command line must have the same.
pub const PROTOCOL: u32 = 1;
/// Longest request in bytes that carries a profile document.
pub const IMPORT_LINE_BYTES_MAX: usize = 16 << 20;
/// Longest other line in bytes that the agent reads.
pub const LINE_BYTES_MAX: usize = 64 << 10;
/// Schema of the line that takes the place of alerts that a slow reader missed.
pub const MISSED_SCHEMA: &str = "driftlock.missed/v1";

/// What each side says first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// [`PROTOCOL`].
    pub protocol: u32,
    /// The program's version.
    pub version: String,
}

/// What an operator wants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// How the agent is: [`super::view::StatusView`].
    Status,
    /// Which containers it knows: `Vec<`[`super::view::ContainerView`]`>`.
    Containers,
    /// Which modes hold: [`super::view::ModeView`].
    ModeGet,
    /// Sets a mode: [`super::view::ModeView`].
    ModeSet {
        /// [`Mode::Pending`] is not a mode to set and is refused.
        #[serde(with = "crate::tag")]
        mode: Mode,
        /// For what.
        target: ModeTarget,
        /// One domain only; all of them if absent.
        #[serde(default, with = "crate::tag::option")]
        domain: Option<Domain>,
    },
    /// Which profiles there are: `Vec<`[`super::view::ProfileSummary`]`>`.
    ProfileList,
    /// A profile with all it holds: [`super::view::ProfileView`].
    ProfileShow {
        /// Digest, its beginning, or reference.
        image: String,
        /// The role; needed only where there are several.
        role: Option<String>,
    },
    /// A profile document: [`super::view::DocumentView`].
    ProfileExport {
        /// Digest, its beginning, or reference.
        image: String,
    },
    /// Takes over a profile document: `Vec<`[`super::view::ProfileSummary`]`>`, one for each role.
    ProfileImport {
        /// The YAML text.
        document: String,
        /// Where it came from, for messages: a file's name, or `-`.
        source: String,
        /// The file of its signature.
        #[serde(default)]
        signature: Option<String>,
    },
    /// Says that what a profile permits was reviewed: [`super::view::ProfileView`].
    ProfileApprove {
        /// Digest, its beginning, or reference.
        image: String,
        /// The role; needed only where there are several.
        role: Option<String>,
    },
    /// Takes one behaviour into the rules: [`super::view::AcceptView`].
    ProfileAccept {
        /// Digest, its beginning, or reference.
        image: String,
        /// The role; all roles of the image if absent.
        role: Option<String>,
        /// The behaviour.
        accept: Accept,
    },
    /// What this node can do: [`super::view::DoctorView`].
    Doctor,
    /// The alerts, as lines after an empty answer. Served without the engine.
    Alerts {
        /// Goes on with those to come.
        follow: bool,
        /// How many of the latest to begin with; all that are kept if absent.
        last: Option<usize>,
    },
}

/// What a mode is set for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "for", content = "name", rename_all = "snake_case", deny_unknown_fields)]
pub enum ModeTarget {
    /// Everything that has no mode of its own.
    Default,
    /// An image: digest, its beginning, or reference.
    Image(String),
    /// A container: id, its beginning, or name.
    Container(String),
}

/// A behaviour that an operator accepts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case", deny_unknown_fields)]
pub enum Accept {
    /// A program of the image, for the container's own processes ([`Section::Main`]) or for what enters from outside
    /// ([`Section::ExecIn`]).
    Exec {
        /// For whom.
        #[serde(with = "crate::tag")]
        section: Section,
        /// [`Layer::Image`], or [`Layer::Unknown`] where the root filesystem has no layers.
        #[serde(with = "crate::tag")]
        layer: Layer,
        /// The path inside the image.
        path: ByteText,
        /// For a multi-call binary, the one applet that is meant.
        applet: Option<ByteText>,
    },
    /// A use of files, by their layer, path and operation.
    File {
        /// For whom.
        #[serde(with = "crate::tag")]
        section: Section,
        /// Where the file is.
        #[serde(with = "crate::tag")]
        layer: Layer,
        /// Which files: one path, as its layer defines it, or a rule for several.
        files: FilePattern,
        /// What is done with them.
        #[serde(with = "crate::tag")]
        operation: FileOperation,
    },
    /// A use of a capability.
    Cap {
        /// For whom.
        #[serde(with = "crate::tag")]
        section: Section,
        /// Which one.
        capability: Capability,
        /// How far it reaches.
        #[serde(with = "crate::tag")]
        namespace: UserNamespace,
        /// What the kernel answers.
        #[serde(with = "crate::tag")]
        outcome: CapOutcome,
    },
    /// A system call.
    Syscall {
        /// For whom.
        #[serde(with = "crate::tag")]
        section: Section,
        /// The interface by which it is made.
        #[serde(with = "crate::tag")]
        abi: SyscallAbi,
        /// The number in that interface's table.
        number: u16,
    },
    /// All that processes from outside were seen to do and that waits for an operator's word.
    Proposed {
        /// In this domain only.
        #[serde(default, with = "crate::tag::option")]
        domain: Option<Domain>,
    },
    /// A file that did not come with the image, by its layer, path and content; for every section.
    Drift {
        /// Where it comes from: [`Layer::Upper`] or [`Layer::Volume`], no other can be accepted.
        #[serde(with = "crate::tag")]
        layer: Layer,
        /// Its path, as its layer defines it.
        path: ByteText,
        /// The content's SHA-256 in hexadecimal; if absent, the content that was seen last in an alert about it.
        sha256: Option<String>,
        /// Why, in the operator's words.
        note: Option<String>,
    },
}

/// What the agent answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Response {
    /// It was done; the value is the view that the request names.
    Ok(serde_json::Value),
    /// It was not done.
    Err(Refusal),
}

/// Why a request was not fulfilled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// For the exit code, and for programs.
    pub kind: RefusalKind,
    /// For people.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// The kinds of refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalKind {
    /// There is no such image, container, profile or behaviour.
    NotFound,
    /// The name fits several.
    Ambiguous,
    /// The request makes no sense.
    Invalid,
    /// The caller may not ask that, or it may not be done at all.
    NotPermitted,
    /// It was tried and failed.
    Failed,
}

impl Hello {
    /// This program's.
    #[must_use]
    pub fn own() -> Self {
        Self {
            protocol: PROTOCOL,
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

impl Request {
    /// Reads a request from its line. A field that is not known is an error in every request.
    ///
    /// # Errors
    /// It is no request.
    pub fn parse(line: &[u8]) -> serde_json::Result<Self> {
        /// A request without fields, of which serde alone takes any.
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Bare {
            #[serde(rename = "request")]
            _name: serde::de::IgnoredAny,
        }
        let request = serde_json::from_slice(line)?;
        if matches!(
            request,
            Self::Status | Self::Containers | Self::ModeGet | Self::ProfileList | Self::Doctor
        ) {
            let _: Bare = serde_json::from_slice(line)?;
        }
        Ok(request)
    }
}

impl Response {
    /// A view as an answer.
    pub fn ok(view: &impl Serialize) -> Self {
        match serde_json::to_value(view) {
            Ok(value) => Self::Ok(value),
            Err(error) => Self::Err(Refusal::failed(format!(
                "the answer cannot be written as JSON: {error}"
            ))),
        }
    }
}

impl From<Refusal> for Response {
    fn from(refusal: Refusal) -> Self {
        Self::Err(refusal)
    }
}

impl Refusal {
    /// A refusal of this kind, without a hint.
    pub fn new(kind: RefusalKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            hint: None,
        }
    }

    /// [`RefusalKind::NotFound`].
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(RefusalKind::NotFound, message)
    }

    /// [`RefusalKind::Ambiguous`].
    pub fn ambiguous(message: impl Into<String>) -> Self {
        Self::new(RefusalKind::Ambiguous, message)
    }

    /// [`RefusalKind::Invalid`].
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(RefusalKind::Invalid, message)
    }

    /// [`RefusalKind::NotPermitted`].
    pub fn not_permitted(message: impl Into<String>) -> Self {
        Self::new(RefusalKind::NotPermitted, message)
    }

    /// [`RefusalKind::Failed`].
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(RefusalKind::Failed, message)
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_back(request: &Request) -> String {
        let line = serde_json::to_string(request).expect("json");
        assert_eq!(
            &serde_json::from_str::<Request>(&line).expect("read back"),
            request
        );
        line
    }

    #[test]
    fn requests_are_what_they_were() {
        let accept = Request::ProfileAccept {
            image: "demo:1".to_owned(),
            role: None,
            accept: Accept::Drift {
                layer: Layer::Volume,
                path: "/sbin/docker-init\n".into(),
                sha256: None,
                note: None,
            },
        };
        let set = Request::ModeSet {
            mode: Mode::Enforce,
            target: ModeTarget::Image("demo:1".to_owned()),
            domain: Some(Domain::Exec),
        };
        let lines = [
            read_back(&Request::Status),
            read_back(&set),
            read_back(&accept),
            read_back(&Request::Alerts {
                follow: true,
                last: Some(3),
            }),
        ];
        insta::assert_snapshot!(lines.join("\n"));
    }

    #[test]
    fn what_is_not_known_is_refused() {
        for line in [
            r#"{"request":"reboot"}"#,
            r#"{"request":"profile_show","image":"a","role":null,"force":true}"#,
            r#"{"request":"mode_set","mode":"strict","target":{"for":"default"}}"#,
            r#"{"request":"mode_set","mode":"learn","target":{"for":"image"}}"#,
            r#"{"request":"status","force":true}"#,
            r#"{"request":"doctor","request":"doctor"}"#,
            "[]",
        ] {
            assert!(Request::parse(line.as_bytes()).is_err(), "{line}");
        }
        let status = Request::parse(br#" {"request":"status"} "#).expect("known");
        assert_eq!(status, Request::Status);
    }
}
