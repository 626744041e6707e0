//! The typed answers about profiles.
//!
//! Input, output and failure are those of the other answers ([`super`]).

use agent_common::domain::{Domain, Mode, Section};
use serde::{Deserialize, Serialize};

use crate::alert::time::Time;
use crate::behaviour::BehaviourParts;
use crate::image::ImageDigest;
use crate::profile::completeness::Completeness;
use crate::text::ByteText;

/// One of `driftlock profile list`: a role of an image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProfileSummary {
    /// The image's config digest.
    pub digest: ImageDigest,
    /// References under which it was seen.
    pub references: Vec<ByteText>,
    /// The role.
    pub role: ByteText,
    /// Generation of the rules.
    pub generation: u32,
    /// It belongs to one container of which no image is known; `digest` is no image's.
    #[serde(default)]
    pub provisional: bool,
    /// What it permits was reviewed by an operator, and nothing was learned since.
    pub approved: bool,
    /// It tells of scripts; otherwise they are judged by their layer alone.
    #[serde(default)]
    pub scripts: bool,
    /// The image's mode for exec, if it has one of its own.
    #[serde(with = "crate::tag::option")]
    pub mode: Option<Mode>,
    /// Behaviours in the rules.
    pub rules: u64,
    /// Behaviours that wait for an operator's word.
    pub proposals: u64,
    /// Container instances that it was learned from.
    pub instances: u64,
    /// Observation windows of domain exec that count.
    pub windows: u64,
    /// Observation windows of domain exec that lost records and do not count.
    pub windows_lost: u64,
    /// Estimated share of future behaviour in domain exec that is in the profile, 0 to 1; null while there is too little to
    /// tell.
    pub coverage: Option<f64>,
    /// The same for each domain that is learned.
    #[serde(default)]
    pub domains: Vec<DomainProfileView>,
    /// Who signed the document that it was imported from.
    #[serde(default)]
    pub signature: Option<SignatureView>,
    /// The image before, if it is known.
    #[serde(default)]
    pub follows: Option<FollowsView>,
    /// When it last changed.
    pub changed: Option<Time>,
}

/// A signature, and what it still holds for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignatureView {
    /// Id of the key.
    pub key: String,
    /// It was made with a key that this node trusts.
    pub trusted: bool,
    /// Why not.
    pub problem: Option<String>,
    /// The comment that is signed with it; of one that is not trusted, whatever somebody wrote.
    pub comment: ByteText,
    /// The domains in which the profile permits what was not signed, or not all of it.
    pub changed: Vec<String>,
}

/// What a profile has from that of the image before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FollowsView {
    /// Digest of the image before.
    pub digest: ImageDigest,
    /// Behaviours in the rules that came from there.
    pub inherited: u64,
    /// What changed since is learned, whatever the mode, until the profile is approved.
    pub learns_changes: bool,
}

/// What a profile holds of one domain, and what it was learned from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DomainProfileView {
    /// The domain.
    #[serde(with = "crate::tag")]
    pub domain: Domain,
    /// Behaviours in the rules.
    pub rules: u64,
    /// Behaviours that wait for an operator's word.
    pub proposals: u64,
    /// Container instances that were observed.
    pub instances: u64,
    /// Observation windows that count.
    pub windows: u64,
    /// Observation windows that lost records and do not count.
    pub windows_lost: u64,
    /// Estimated share of future behaviour that is in the profile, 0 to 1; null while there is too little to tell.
    pub coverage: Option<f64>,
    /// Whether it may be called learned, by which conditions, and what further observation is expected to bring.
    #[serde(flatten)]
    pub completeness: Completeness,
}

/// What a profile that is in use was learned from: one of `driftlock status`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LearningView {
    /// The image's config digest.
    pub digest: ImageDigest,
    /// A reference of the image.
    pub reference: Option<ByteText>,
    /// The role.
    pub role: ByteText,
    /// Containers that have this profile now.
    pub containers: u64,
    /// Each domain in which at least one of them learns.
    pub domains: Vec<DomainProfileView>,
}

/// `driftlock profile show`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProfileView {
    /// What the list shows.
    pub summary: ProfileSummary,
    /// What it holds, in the document's order.
    pub behaviours: Vec<BehaviourView>,
    /// Rules for several paths that its evidence speaks for: none of them until it is accepted.
    #[serde(default)]
    pub rule_proposals: Vec<RuleProposalView>,
}

/// A rule for several paths that is proposed in place of exact ones.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RuleProposalView {
    /// The rule.
    #[serde(flatten)]
    pub parts: BehaviourParts,
    /// Different paths that it would stand for.
    pub paths: u64,
    /// Observation windows in which one of them came up for the first time.
    pub windows: u64,
    /// Estimated share, 0 to 1, of its future sightings for which exact rules would do.
    pub covered: f64,
    /// What else it would permit, in lines for a reviewer.
    pub allows: Vec<String>,
}

/// A behaviour of a profile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BehaviourView {
    /// For whom; null for accepted drift, which counts for all.
    #[serde(with = "crate::tag::option")]
    pub section: Option<Section>,
    /// What it consists of.
    #[serde(flatten)]
    pub parts: BehaviourParts,
    /// The contents that are accepted, SHA-256 in hexadecimal; empty where the content does not matter.
    pub sha256: Vec<String>,
    /// How it came in.
    pub state: BehaviourState,
    /// In how many observation windows it was seen.
    pub windows: u64,
    /// What the operator said when accepting it.
    pub note: Option<String>,
    /// Of a rule for several paths, what supports it.
    #[serde(default)]
    pub support: Option<RuleSupportView>,
}

/// What supports a rule for several paths: what was seen that it holds for. What it permits beyond that was never seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleSupportView {
    /// Different paths.
    pub paths: u64,
    /// Observation windows in which they were seen, added up.
    pub windows: u64,
}

/// How a behaviour came into a profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BehaviourState {
    /// Seen while learning; part of the rules.
    Learned,
    /// Taken over from the profile of the image before; part of the rules.
    Inherited,
    /// Accepted or approved by an operator; part of the rules.
    Accepted,
    /// Seen, and no part of the rules until an operator says so.
    Proposed,
}

/// `driftlock profile export`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DocumentView {
    /// The image's config digest.
    pub digest: ImageDigest,
    /// The YAML text, canonical.
    pub document: String,
}

/// `driftlock profile accept`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcceptView {
    /// The image's config digest.
    pub digest: ImageDigest,
    /// The roles that hold it now.
    pub roles: Vec<ByteText>,
    /// What was accepted; none if there was nothing to accept.
    pub behaviours: Vec<BehaviourView>,
    /// It was in the rules already.
    pub already: bool,
}
