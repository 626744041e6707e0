//! Modes and policies: what an operator said about an image, a container, or everything.
//!
//! Purpose: keep what was said and answer what holds for one container and domain. Input: an operator's settings,
//! with their scope. Output: a mode and where it comes from. Failure: none; without any setting the mode is `learn`, and `off`
//! for system calls.

use std::collections::BTreeMap;

use agent_common::domain::{Domain, Mode};
use serde::{Deserialize, Serialize};

use crate::image::ImageDigest;
use crate::profile::model::{TextError, check_text};
use crate::profile::reference::same_image;

/// What a setting is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Every container about which nothing closer was said.
    Default,
    /// Containers whose image has this reference. For references whose image this node has not seen yet; once it is
    /// known, the engine says [`Scope::Image`].
    Reference(String),
    /// Containers of this image.
    Image(ImageDigest),
    /// One container, by its full id.
    Container(String),
}

/// Where a mode comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ModeSource {
    /// It was set for the container.
    Container,
    /// It was set for the image, by digest.
    Image,
    /// It was set for a reference of the image.
    Reference,
    /// It was set for an image before, whose profile this one's succeeds.
    Inherited,
    /// It was set as the default, or nothing was set at all.
    Default,
}

/// What happens to a process that enters a running container from outside and does what no one accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExecInto {
    /// It is reported.
    #[default]
    Alert,
    /// It is reported and denied or killed, in enforce mode.
    Deny,
}

/// Every setting, as it is in the store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicyTable {
    pub(super) modes: BTreeMap<(Scope, Option<Domain>), Mode>,
    pub(super) exec_into: BTreeMap<Scope, ExecInto>,
}

/// Most settings of one kind. At the bound a new one is refused; settings of containers that are gone are removed
/// by the engine.
pub const SETTINGS_MAX: usize = 16_384;

impl PolicyTable {
    /// The mode that holds in `domain` for a container, and why. `digest` and `references` are empty while its
    /// image is not known.
    ///
    /// The container's own setting goes before that of its image, by digest, then by reference, then the default. At
    /// each of these the setting for the domain goes before the general one. Of several references the strictest wins.
    ///
    /// System calls are looked at only where a setting names their domain: that costs every process of the node.
    #[must_use]
    pub fn mode_for(
        &self,
        container_id: &str,
        digest: Option<&ImageDigest>,
        references: &[String],
        domain: Domain,
    ) -> (Mode, ModeSource) {
        let of = |scope: Scope| self.mode_of(scope, domain);
        of(Scope::Container(container_id.to_owned()))
            .map(|mode| (mode, ModeSource::Container))
            .or_else(|| Some((of(Scope::Image(digest?.clone()))?, ModeSource::Image)))
            .or_else(|| {
                Some((
                    self.mode_of_references(references, domain)?,
                    ModeSource::Reference,
                ))
            })
            .or_else(|| Some((of(Scope::Default)?, ModeSource::Default)))
            .unwrap_or((unsaid(domain), ModeSource::Default))
    }

    /// Whether any setting, or the lack of one, has `domain` looked at.
    #[must_use]
    pub fn wants(&self, domain: Domain) -> bool {
        let is_about = |of: &Option<Domain>| match of {
            Some(of) => *of == domain,
            None => domain != Domain::Syscall,
        };
        let mut settings = self.modes.iter();
        self.mode_for("", None, &[], domain).0 != Mode::Off
            || settings.any(|((_, of), mode)| is_about(of) && *mode != Mode::Off)
    }

    /// The policy for a container if one was set; the precedence is that of [`PolicyTable::mode_for`].
    #[must_use]
    pub fn exec_into_for(
        &self,
        container_id: &str,
        digest: Option<&ImageDigest>,
        references: &[String],
    ) -> Option<ExecInto> {
        let of = |scope: &Scope| self.exec_into.get(scope).copied();
        of(&Scope::Container(container_id.to_owned()))
            .or_else(|| of(&Scope::Image(digest?.clone())))
            .or_else(|| {
                let settings = self.exec_into.iter();
                let matching = settings.filter(|(scope, _)| scope.is_one_of(references));
                matching.map(|(_, policy)| *policy).max()
            })
            .or_else(|| of(&Scope::Default))
    }

    /// Every mode that was set, in a fixed order: scope, domain (`None`: all domains), mode.
    pub fn modes(&self) -> impl Iterator<Item = (&Scope, Option<Domain>, Mode)> {
        self.modes
            .iter()
            .map(|((scope, domain), mode)| (scope, *domain, *mode))
    }

    /// Every policy for processes from outside that was set.
    pub fn exec_into(&self) -> impl Iterator<Item = (&Scope, ExecInto)> {
        self.exec_into.iter().map(|(scope, policy)| (scope, *policy))
    }

    fn mode_of(&self, scope: Scope, domain: Domain) -> Option<Mode> {
        let mut key = (scope, Some(domain));
        if let Some(mode) = self.modes.get(&key) {
            return Some(*mode);
        }
        if domain == Domain::Syscall {
            return None;
        }
        key.1 = None;
        self.modes.get(&key).copied()
    }

    fn mode_of_references(&self, references: &[String], domain: Domain) -> Option<Mode> {
        let strictest = |wanted: Option<Domain>| {
            let settings = self.modes.iter();
            settings
                .filter(|((scope, domain), _)| *domain == wanted && scope.is_one_of(references))
                .map(|(_, mode)| *mode)
                .max_by_key(|mode| mode.strictness())
        };
        match domain {
            Domain::Syscall => strictest(Some(domain)),
            _ => strictest(Some(domain)).or_else(|| strictest(None)),
        }
    }
}

/// The mode in a domain of which nobody said anything.
const fn unsaid(domain: Domain) -> Mode {
    match domain {
        Domain::Syscall => Mode::Off,
        _ => Mode::Learn,
    }
}

impl Scope {
    /// Whether it can be kept and shown.
    pub(super) fn check(&self) -> Result<(), TextError> {
        match self {
            Self::Default | Self::Image(_) => Ok(()),
            Self::Reference(reference) => check_text("reference", reference),
            Self::Container(id) => check_text("container id", id),
        }
    }

    fn is_one_of(&self, references: &[String]) -> bool {
        match self {
            Self::Reference(wanted) => references.iter().any(|reference| same_image(wanted, reference)),
            _ => false,
        }
    }
}

impl std::fmt::Display for Scope {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Default => formatter.write_str("default"),
            Self::Reference(reference) => write!(formatter, "image {}", reference.escape_debug()),
            Self::Image(digest) => write!(formatter, "image {digest}"),
            Self::Container(id) => write!(formatter, "container {}", id.escape_debug()),
        }
    }
}

impl ExecInto {
    /// The word for it in configuration, command line and output.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Alert => "alert",
            Self::Deny => "deny",
        }
    }
}
