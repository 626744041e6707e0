//! Exports: what a profile permits, in the words of what enforces without Driftlock.
//!
//! Purpose: a system call filter for container runtimes, the security settings of a container in Kubernetes, a profile for `AppArmor`, a policy
//! for `SELinux`. Input: the profile of one role of an image ([`Source`]). Output: [`Export`]: a text, and what of the profile that text
//! cannot express. Pure, and the same profile gives the same bytes. Failure: [`ExportError`], where the text would forbid
//! everything because the profile tells nothing.
//!
//! What is permitted is what the container's own processes did, what an operator accepted of processes from outside, and what
//! was accepted as drift: these formats have one set of rules for all processes of a container. A domain that was never learned is not restricted,
//! as far as a format can say that.

mod apparmor;
mod comment;
mod seccomp;
mod security_context;
mod selinux;

use std::collections::BTreeSet;

use agent_common::cap::{CapOutcome, UserNamespace};
use agent_common::domain::Domain;
use sha2::{Digest as _, Sha256};

use crate::behaviour::{Behaviour, Capability};
use crate::image::ImageDigest;
use crate::profile::document::RoleProfile;
use crate::profile::model::{ImageRecord, Role};

/// Most entries of one kind that a note lists; of further ones it says how many there are.
const LISTED_MAX: usize = 16;
/// Most characters of a role's path in a name: names of files end at 255.
const NAME_CHARACTERS_MAX: usize = 100;

/// What a profile is exported as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A system call filter for container runtimes (JSON of the OCI runtime specification).
    Seccomp,
    /// The `securityContext` of a container, for Kubernetes (YAML).
    SecurityContext,
    /// A profile for `AppArmor`.
    AppArmor,
    /// A policy for `SELinux` (CIL), as `udica` writes them.
    SeLinux,
}

/// What is exported.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// Digest of the image's config.
    pub digest: &'a ImageDigest,
    /// What is known of the image.
    pub image: &'a ImageRecord,
    /// The role.
    pub role: &'a Role,
    /// Its profile.
    pub profile: &'a RoleProfile,
}

/// An exported profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Export {
    /// The text.
    pub text: String,
    /// What of the profile the text cannot express, and what it does instead. A text with comments holds them too.
    pub notes: Vec<String>,
}

/// Why a profile cannot be exported.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExportError {
    /// It tells nothing of the one domain that the format is about.
    #[error("role {role} was never learned in domain {}: its export would forbid everything", domain.as_str())]
    Unlearned {
        /// The role.
        role: Role,
        /// The domain.
        domain: Domain,
    },
}

/// Exports a profile.
///
/// # Errors
/// [`ExportError`].
pub fn export(source: &Source<'_>, format: Format) -> Result<Export, ExportError> {
    match format {
        Format::Seccomp => seccomp::export(source),
        Format::SecurityContext => Ok(security_context::export(source)),
        Format::AppArmor => Ok(apparmor::export(source)),
        Format::SeLinux => Ok(selinux::export(source)),
    }
}

impl Format {
    /// All formats.
    pub const ALL: [Self; 4] = [
        Self::Seccomp,
        Self::SecurityContext,
        Self::AppArmor,
        Self::SeLinux,
    ];

    /// Its name on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Seccomp => "seccomp",
            Self::SecurityContext => "security-context",
            Self::AppArmor => "apparmor",
            Self::SeLinux => "selinux",
        }
    }

    /// Whether its text can hold notes.
    #[must_use]
    pub const fn has_comments(self) -> bool {
        !matches!(self, Self::Seccomp)
    }
}

impl Source<'_> {
    /// A name for what is exported, and no other role's: letters, digits and `-`, as in `driftlock-0123456789ab-usr-sbin-nginx`.
    #[must_use]
    pub fn name(&self) -> String {
        let role = self.role.as_text().as_bytes();
        let is_plain = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let readable: String = role
            .strip_prefix(b"/")
            .unwrap_or(role)
            .iter()
            .take(NAME_CHARACTERS_MAX)
            .map(|byte| if is_plain(byte) { char::from(*byte) } else { '-' })
            .collect();
        let name = format!("driftlock-{}-{readable}", self.digest.short());
        // Where slashes alone became a dash, the role can be told from its name.
        let is_told = role.len() <= NAME_CHARACTERS_MAX
            && role.starts_with(b"/")
            && role.iter().all(|byte| is_plain(byte) || *byte == b'/');
        if is_told {
            return name;
        }
        let hash = Sha256::digest(role);
        format!(
            "{name}-{:02x}{:02x}{:02x}{:02x}",
            hash[0], hash[1], hash[2], hash[3]
        )
    }

    /// Everything that is permitted, in the documents' order; what both sections hold is there once.
    fn permitted(&self) -> BTreeSet<&Behaviour> {
        let accepted = self.profile.exec_in.iter().filter(|(_, entry)| entry.accepted);
        let accepted = accepted.map(|(behaviour, _)| behaviour);
        self.profile.main.keys().chain(accepted).collect()
    }

    /// Whether the profile tells of `domain`, as [`crate::profile::Profile::tells_of`] says.
    fn tells_of(&self, domain: Domain) -> bool {
        self.profile.counts.of(domain).instances > 0
            || self
                .profile
                .main
                .keys()
                .any(|behaviour| behaviour.domain() == domain)
    }

    /// The capabilities that may be used in user namespaces of this kind.
    fn capabilities(&self, namespace: UserNamespace) -> BTreeSet<Capability> {
        let used = |behaviour: &Behaviour| match behaviour {
            Behaviour::Cap(cap) if cap.outcome == CapOutcome::Granted && cap.namespace == namespace => {
                Some(cap.capability)
            }
            _ => None,
        };
        self.permitted().into_iter().filter_map(used).collect()
    }

    /// What every text begins with: what it is of, and by what.
    fn heading(&self, format: Format) -> Vec<String> {
        let mut lines = vec![
            format!(
                "Made by driftlock {} (profile export --format {}).",
                env!("CARGO_PKG_VERSION"),
                format.as_str()
            ),
            format!("Image: {}", self.digest),
        ];
        let references = self.image.references.iter();
        lines.extend(references.map(|reference| format!("Reference: {reference}")));
        lines.push(format!("Role: {}", self.role));
        lines
    }

    /// What is to be said of every export of this profile.
    fn common_notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if !self.profile.approved {
            notes.push(
                "What the profile permits was not approved: review it first (driftlock profile approve)."
                    .to_owned(),
            );
        }
        notes
    }
}

/// Some of `entries` as a list, and how many there are besides.
fn listed<T: std::fmt::Display>(entries: &[T]) -> String {
    let shown: Vec<String> = entries.iter().take(LISTED_MAX).map(ToString::to_string).collect();
    let more = entries.len().saturating_sub(LISTED_MAX);
    match more {
        0 => shown.join(", "),
        _ => format!("{}, and {more} more", shown.join(", ")),
    }
}

#[cfg(test)]
mod tests;
