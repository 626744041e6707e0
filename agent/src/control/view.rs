//! The typed answers: what the engine fills, the command line shows as tables, and `--json` prints.
//!
//! Input: the engine's state, converted by the engine. Output: JSON with these fields in this order. Failure: none.
//! Texts that a container or an image chose are [`ByteText`]; paths and names of this host are plain text.

mod canary;
mod profile;

use agent_common::domain::{Domain, Mode};
use agent_common::instance::Counters;
use serde::{Deserialize, Serialize};

use crate::image::ImageDigest;
use crate::sink::SinkView;
use crate::spool::SpoolView;
use crate::text::ByteText;

pub use canary::{CanaryTryView, CanaryView};
pub use profile::{
    AcceptView, BehaviourState, BehaviourView, DocumentView, DomainProfileView, FollowsView, LearningView,
    ProfileSummary, ProfileView, RuleProposalView, RuleSupportView, SignatureView,
};

/// Most profiles of which `driftlock status` says how far they are; `profile list` has them all.
pub const LEARNING_MAX: usize = 64;

/// `driftlock status`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StatusView {
    /// The agent's version.
    pub version: String,
    /// Version of the ABI between agent and kernel programs.
    pub abi: u32,
    /// The node's name.
    pub node: String,
    /// The agent's process id.
    pub pid: u32,
    /// How long it runs, in seconds.
    pub uptime_s: u64,
    /// The mode for exec of what has none of its own.
    #[serde(with = "crate::tag")]
    pub default_mode: Mode,
    /// The mode of what has none of its own, per domain.
    #[serde(default)]
    pub default_modes: Vec<DomainModeView>,
    /// How many containers are in which mode.
    #[serde(default)]
    pub modes: ModeCounts,
    /// The policies that hold.
    pub policies: PoliciesView,
    /// What the kernel can do, per domain.
    pub tiers: Vec<TierView>,
    /// Where cgroup ids come from.
    pub cgroups: CgroupsView,
    /// The kernel programs.
    pub hooks: Vec<HookView>,
    /// What became of the records, of all containers and domains together.
    pub counters: CountersView,
    /// What became of the records of each domain, of all containers together.
    #[serde(default)]
    pub domain_counters: Vec<DomainCountersView>,
    /// How many profiles the store holds.
    pub profiles: u64,
    /// The profiles that containers are learning now, by image and role; at most [`LEARNING_MAX`].
    #[serde(default)]
    pub learning: Vec<LearningView>,
    /// How many more of them there are.
    #[serde(default)]
    pub learning_left_out: u64,
    /// How many containers are known.
    pub containers: u64,
    /// The store's file.
    pub store: String,
    /// Bytes of records that the agent before this one had read and not told of, and that were overwritten before this one started: what they
    /// told is lost.
    #[serde(default)]
    pub overwritten_bytes: u64,
    /// How the spool is doing.
    #[serde(default)]
    pub spool: SpoolView,
    /// How the sinks are doing.
    #[serde(default)]
    pub sinks: Vec<SinkView>,
    /// The alerts whose repeats are being counted.
    #[serde(default)]
    pub folding: FoldingView,
    /// How many alerts went out since the agent started.
    pub alerts: u64,
    /// How many clients follow the alerts.
    pub readers: u64,
    /// What the agent has given up.
    #[serde(default)]
    pub confinement: ConfinementView,
    /// Whether the agent catches what it tries itself.
    #[serde(default)]
    pub canary: CanaryView,
}

/// What the agent has given up, as the kernel tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfinementView {
    /// It can gain no privileges, and not make every system call.
    pub confined: bool,
    /// The capabilities that it has, without `CAP_`.
    pub capabilities: Vec<String>,
    /// It and what it executes gets no further privileges.
    pub no_new_privileges: bool,
    /// Its system calls are filtered.
    pub filtered: bool,
    /// All of that in one line.
    pub text: String,
}

/// The alerts whose repeats are being counted, and what was cut short at a bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoldingView {
    /// Alerts whose repeats are being counted now.
    pub open: u64,
    /// Those that were summed up before their window ended, because there were too many.
    pub closed_early: u64,
    /// Kills that were taken as not confirmed before their time.
    pub kills_not_awaited: u64,
    /// Confirmations of kills that were forgotten before their alert came.
    pub confirmations_forgotten: u64,
}

/// How many containers there are of each mode: that for exec, or a stricter one in another domain that is watched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModeCounts {
    /// New behaviour is learned.
    pub learn: u64,
    /// Deviations are reported.
    pub monitor: u64,
    /// Deviations are prevented.
    pub enforce: u64,
    /// It is not known yet what they are.
    pub pending: u64,
    /// It could not be found out what they are.
    pub unresolved: u64,
    /// Their processes are none of this kernel's: nothing of them is seen.
    #[serde(default)]
    pub not_observable: u64,
    /// Of those that have a mode, the ones whose image is not known: their profiles are provisional.
    #[serde(default)]
    pub provisional: u64,
}

/// The policies of the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoliciesView {
    /// `alert` or `deny`.
    pub exec_into: String,
    /// `alert-drift` or `deny-drift`.
    pub unprofiled: String,
    /// The domains other than exec in which enforce mode kills where it cannot refuse.
    #[serde(default)]
    pub kill: Vec<String>,
    /// Nothing is enforced but what one of these keys has signed.
    #[serde(default)]
    pub enforce_only_signed: bool,
    /// The ids of the keys that profiles are trusted with.
    #[serde(default)]
    pub trusted_keys: Vec<String>,
}

/// What the kernel can do in a domain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TierView {
    /// The domain.
    #[serde(with = "crate::tag")]
    pub domain: Domain,
    /// The most that can be done.
    pub can: Tier,
    /// Why, and why not more.
    pub reason: String,
}

/// The most that can be done about a deviation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    /// Nothing: it is not seen.
    None,
    /// It is reported.
    Observe,
    /// The process is killed.
    Kill,
    /// The operation is refused.
    Deny,
}

/// Where cgroup ids come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CgroupsView {
    /// `v2`, `v1` or `hybrid`.
    pub layout: String,
    /// The hierarchy that ids are taken from, by its mount point.
    pub hierarchy: String,
    /// Why that one.
    pub reason: String,
}

/// A kernel program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookView {
    /// The program's name.
    pub name: String,
    /// What it is attached to.
    pub target: String,
    /// Whether it is.
    pub attached: bool,
    /// Whether it stays attached when the agent ends.
    #[serde(default)]
    pub pinned: bool,
    /// Why not, or what it lacks.
    pub detail: Option<String>,
}

/// What became of records, and of the processes that were acted on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CountersView {
    /// Records that a hook had to send: `submitted + lost_ring + lost_quota`.
    pub generated: u64,
    /// Records that reached the ring buffer.
    pub submitted: u64,
    /// Records lost because the ring buffer had no room.
    pub lost_ring: u64,
    /// Records not sent because the container's quota was used up.
    pub lost_quota: u64,
    /// Records that made no sense to the agent; of no container's own.
    pub undecodable: u64,
    /// Records of what the programs of an agent before this one told, too, while it took over; of no container's own.
    #[serde(default)]
    pub duplicate: u64,
    /// Records whose container was never found.
    pub unattributed: u64,
    /// Records that wait for their container now.
    pub waiting: u64,
    /// Processes that a kill was sent to.
    pub kills: u64,
    /// Of those, the ones seen to have died by it.
    pub kills_confirmed: u64,
    /// Kills that the kernel refused to send.
    pub kills_failed: u64,
    /// Operations that the kernel refused.
    #[serde(default)]
    pub denied: u64,
    /// Executions that could not be looked at before they happened, and were judged after.
    #[serde(default)]
    pub unchecked: u64,
    /// Tasks whose state could not be kept.
    pub untracked_tasks: u64,
}

/// What became of the records of one domain: `generated` is `submitted + lost_ring + lost_quota`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DomainCountersView {
    /// The domain.
    #[serde(with = "crate::tag")]
    pub domain: Domain,
    /// Records that a hook had to send.
    pub generated: u64,
    /// Records that reached the ring buffer.
    pub submitted: u64,
    /// Records lost because the ring buffer had no room.
    pub lost_ring: u64,
    /// Records not sent because the container's quota was used up.
    pub lost_quota: u64,
    /// Processes that a kill was sent to.
    pub kills: u64,
    /// Operations that were refused.
    pub denied: u64,
}

impl DomainCountersView {
    /// Those of `domain`.
    #[must_use]
    pub const fn new(domain: Domain, counters: &CountersView) -> Self {
        Self {
            domain,
            generated: counters.generated,
            submitted: counters.submitted,
            lost_ring: counters.lost_ring,
            lost_quota: counters.lost_quota,
            kills: counters.kills,
            denied: counters.denied,
        }
    }
}

impl CountersView {
    /// Adds other counters.
    pub fn add_view(&mut self, other: &Self) {
        self.generated += other.generated;
        self.submitted += other.submitted;
        self.lost_ring += other.lost_ring;
        self.lost_quota += other.lost_quota;
        self.undecodable += other.undecodable;
        self.duplicate += other.duplicate;
        self.unattributed += other.unattributed;
        self.waiting += other.waiting;
        self.kills += other.kills;
        self.kills_confirmed += other.kills_confirmed;
        self.kills_failed += other.kills_failed;
        self.denied += other.denied;
        self.unchecked += other.unchecked;
        self.untracked_tasks += other.untracked_tasks;
    }

    /// Adds what the kernel programs counted in one domain.
    pub fn add(&mut self, counters: &Counters) {
        self.generated += counters.generated;
        self.submitted += counters.submitted;
        self.lost_ring += counters.lost_ring;
        self.lost_quota += counters.lost_quota;
        self.kills += counters.killed;
        self.kills_confirmed += counters.kill_confirmed;
        self.kills_failed += counters.kill_failed;
        self.denied += counters.denied;
        self.unchecked += counters.unchecked;
        self.untracked_tasks += counters.untracked_tasks;
    }
}

impl ModeCounts {
    /// Counts containers; `tiers` says which domains are watched on this node.
    #[must_use]
    pub fn of<'a>(containers: impl IntoIterator<Item = &'a ContainerView>, tiers: &[TierView]) -> Self {
        let is_watched = |domain| {
            let mut known = tiers.iter().filter(|tier| tier.domain == domain);
            known.any(|tier| tier.can > Tier::None)
        };
        let mut counts = Self::default();
        for container in containers {
            let modes = container.modes.iter();
            let strictest = modes
                .filter(|mode| is_watched(mode.domain))
                .map(|mode| mode.mode)
                .max_by_key(|mode| mode.strictness());
            counts.provisional += u64::from(container.state == ContainerState::Provisional);
            *match (container.state, strictest) {
                (ContainerState::NotObservable, _) => &mut counts.not_observable,
                (ContainerState::Unresolved, _) => &mut counts.unresolved,
                (ContainerState::Pending, _) | (_, None | Some(Mode::Pending | Mode::Off)) => {
                    &mut counts.pending
                }
                (_, Some(Mode::Learn)) => &mut counts.learn,
                (_, Some(Mode::Monitor)) => &mut counts.monitor,
                (_, Some(Mode::Enforce)) => &mut counts.enforce,
            } += 1;
        }
        counts
    }
}

/// One of `driftlock containers`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ContainerView {
    /// The runtime's id; of an unresolved container, its cgroup's name.
    pub id: ByteText,
    /// Its name.
    pub name: Option<ByteText>,
    /// `docker`, ...
    pub runtime: Option<String>,
    /// Its Kubernetes pod.
    #[serde(default)]
    pub pod: Option<ByteText>,
    /// The pod's namespace.
    #[serde(default)]
    pub namespace: Option<ByteText>,
    /// How many containers it runs itself (Docker or Kubernetes in a container); they belong to it.
    #[serde(default)]
    pub nested: u64,
    /// The image's reference.
    pub image: Option<ByteText>,
    /// The image's config digest.
    pub digest: Option<ImageDigest>,
    /// The role of its entrypoint.
    pub role: Option<ByteText>,
    /// Whether it is known what it is.
    pub state: ContainerState,
    /// Why it is not resolved.
    pub state_reason: Option<String>,
    /// The mode per domain.
    pub modes: Vec<DomainModeView>,
    /// What can be done to it, per domain; less than the node's where something stands against it.
    pub tiers: Vec<TierView>,
    /// Process id of its first process on the host.
    pub init_pid: Option<u32>,
    /// Cgroup id.
    pub cgroup: u64,
    /// Generation of its rules in the kernel; null if it has no profile.
    pub generation: Option<u32>,
    /// How many rules hold.
    pub rules: u64,
    /// What became of its records.
    pub counters: CountersView,
    /// What became of its records in each domain.
    #[serde(default)]
    pub domain_counters: Vec<DomainCountersView>,
    /// Whether executions of files of its root filesystem are answered before they happen (in the lite tier).
    #[serde(default)]
    pub answered: bool,
    /// Whether drift can be told from the image.
    pub drift_recognisable: bool,
    /// Why not.
    pub drift_reason: Option<String>,
}

/// Whether it is known what a container is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ContainerState {
    /// Image and role are known.
    Resolved,
    /// They are being looked up.
    Pending,
    /// They could not be found.
    Unresolved,
    /// The image could not be found: the container has a provisional profile of its own.
    Provisional,
    /// Its processes are none of this kernel's: nothing of it is seen.
    #[serde(rename = "not observable")]
    NotObservable,
}

/// A mode and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DomainModeView {
    /// The domain.
    #[serde(with = "crate::tag")]
    pub domain: Domain,
    /// The mode.
    #[serde(with = "crate::tag")]
    pub mode: Mode,
    /// Who said so.
    pub source: ModeSource,
}

/// Who set a mode; the later in this list goes before the earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ModeSource {
    /// The default.
    Default,
    /// That of an image before, whose profile this one's succeeds.
    Inherited,
    /// One of the image's references.
    Reference,
    /// The image's, by its digest.
    Image,
    /// The container's.
    Container,
    /// Its pod's annotation.
    Annotation,
    /// Something that nobody may enforce upon.
    Protected,
    /// Nothing was learned in this domain that could be enforced.
    Unlearned,
    /// Only signed profiles are enforced, and this one permits what no trusted key has signed.
    Unsigned,
    /// The image has changed since the one before, and nobody has approved its profile: enforcement waits, but that of drift.
    Changed,
}

/// `driftlock mode get`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModeView {
    /// What holds where nothing else is set, per domain.
    pub default: Vec<DomainModeView>,
    /// What is set for images.
    pub images: Vec<TargetModeView>,
    /// What is set for containers.
    pub containers: Vec<TargetModeView>,
}

/// A mode that is set for one image or container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetModeView {
    /// Digest, reference, or container id.
    pub id: ByteText,
    /// Reference or name, where `id` is none.
    pub name: Option<ByteText>,
    /// The domain; null for all of which nothing else is said.
    #[serde(with = "crate::tag::option")]
    pub domain: Option<Domain>,
    /// The mode.
    #[serde(with = "crate::tag")]
    pub mode: Mode,
}

/// `driftlock doctor`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DoctorView {
    /// Who looked.
    pub checked_by: CheckedBy,
    /// What the kernel can do, per domain.
    pub tiers: Vec<TierView>,
    /// The checks.
    pub checks: Vec<Check>,
}

/// Who did the checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckedBy {
    /// The running agent, from what it uses.
    Agent,
    /// The command itself, because no agent runs.
    Command,
}

/// One check of this node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What was looked at.
    pub name: String,
    /// How it is.
    pub result: CheckResult,
    /// What was found.
    pub detail: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckResult {
    /// As it should be.
    Ok,
    /// The agent runs, with less than it could do.
    Warn,
    /// The agent cannot run.
    Missing,
}

/// `driftlock teardown`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TeardownView {
    /// What was removed, by path.
    pub removed: Vec<String>,
}
