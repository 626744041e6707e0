//! Which mode, profile and policy hold for a container, and putting them in force in the kernel.
//!
//! Each container's entry is replaced in one update. Failure: the container keeps what it had, which is logged.

use std::collections::BTreeMap;

use agent_common::container::{
    CONTAINER_EXEC_INTO_DENY, CONTAINER_SCRIPTS_JUDGED, CONTAINER_UNPROFILED_DENY_DRIFT,
    CONTAINER_WIDE_RULES, Container,
};
use agent_common::domain::{DOMAIN_SLOTS, Domain, Mode};

use super::Engine;
use super::container::{Resolution, Tracked};
use crate::control::view::{ModeSource, Tier, TierView};
use crate::metrics::fact::{KernelFailed, KernelOperation, StoreFailed, StoreOperation};
use crate::profile::mode::{self, ExecInto};
use crate::profile::model::Profile;
use crate::text::ByteText;

impl Engine {
    /// The policy bits of a container that is not known yet.
    pub(super) fn pending_flags(&self) -> u32 {
        if self.config.policies.denies_unprofiled_drift() {
            CONTAINER_UNPROFILED_DENY_DRIFT
        } else {
            0
        }
    }

    /// Whether the attached programs see a script's own file.
    pub(super) fn sees_scripts(&self) -> bool {
        let can = |tier: &TierView| tier.domain == Domain::Exec && tier.can == Tier::Deny;
        self.tiers().iter().any(can)
    }

    /// Puts mode, profile and policy of a known container in force, in one update.
    pub(super) fn apply_policy(&mut self, cgroup: u64) {
        let flags = self.pending_flags() | self.config.policies.kill_flags();
        let denies_drift = self.config.policies.denies_unprofiled_drift();
        let known = self.containers.get(&cgroup).and_then(Tracked::known);
        let Some(profile) = known.map(|known| known.profile) else {
            return;
        };
        let may_enforce = self.may_enforce(profile);
        let Some(tracked) = self.containers.get_mut(&cgroup) else {
            return;
        };
        let Some(known) = tracked.known() else { return };
        let is_provisional = matches!(tracked.resolution, Resolution::Provisional(..));
        let policies = self.store.policies();
        let id = known.info.id.as_str();
        let digest = Some(&known.key.digest);
        let pod = known.info.pod.as_ref();
        let is_protected = self.own_cgroup == Some(cgroup)
            || pod
                .is_some_and(|pod| is_protected(&self.config.policies.protected_namespaces, &pod.namespace));
        let wanted = |domain| {
            let node = self.store.mode_for(id, &known.key, &known.references, domain);
            let annotations = pod.map_or(&NO_ANNOTATIONS, |pod| &pod.annotations);
            let outcome = self
                .config
                .policies
                .pod_annotations
                .apply(annotations, domain, node);
            (outcome, mode_source(node.1))
        };
        let mode_of = |domain| match wanted(domain) {
            (outcome, source) if outcome.mode == Mode::Off => (Mode::Off, source),
            (outcome, _) if outcome.mode == Mode::Enforce && is_protected => {
                (Mode::Monitor, ModeSource::Protected)
            }
            // What holds before an image is known goes on where it stays unknown, unless somebody spoke of this container.
            (_, ModeSource::Default) if is_provisional && denies_drift && !is_protected => {
                (Mode::Pending, ModeSource::Default)
            }
            (outcome, _) if outcome.is_asked => (outcome.mode, ModeSource::Annotation),
            (outcome, source) => (outcome.mode, source),
        };
        let not_followed = Domain::ALL.iter().find_map(|domain| wanted(*domain).0.problem);
        if let Some(problem) = not_followed.as_ref().filter(|_| tracked.not_followed.is_none()) {
            tracing::warn!(container = %known.info.id.short(), problem, "a pod's annotation is not followed");
        }
        let exec_into = policies
            .exec_into_for(id, digest, &known.references)
            .unwrap_or(self.config.policies.exec_into);
        let Some(profile) = self.store.profile_by_id(known.profile) else {
            return;
        };
        // An operator who speaks of this very image or container knows of the change.
        let is_successor =
            |source| profile.learns_changes() && !matches!(source, ModeSource::Container | ModeSource::Image);
        let generation = match self.publisher.ensure(&mut self.maps, profile) {
            Ok(generation) => generation,
            Err(error) => {
                // The container keeps what it had: pending, or the policy before.
                self.metrics
                    .tell(&KernelFailed::new(KernelOperation::Publish, &error).about(&known.key));
                return;
            }
        };
        let mut modes = [(Mode::Pending, ModeSource::Default); DOMAIN_SLOTS];
        for &domain in Domain::ALL {
            modes[domain as usize] = match mode_of(domain) {
                // The operator's word may be older than the domain, or than the profile's knowledge of it.
                (Mode::Enforce, _) if is_learned(domain) && !profile.tells_of(domain) => {
                    (Mode::Monitor, ModeSource::Unlearned)
                }
                (Mode::Enforce, _) if !may_enforce[domain as usize] => (Mode::Monitor, ModeSource::Unsigned),
                // What changed would be refused before it can be learned.
                (Mode::Enforce, source) if is_successor(source) => (Mode::Monitor, ModeSource::Changed),
                mode => mode,
            };
        }
        let learns_changes = modes.map(|(_, source)| is_successor(source));
        if let Some(awaited) = &tracked.awaited {
            let before = self.store.mode_of_image(&awaited.before, Domain::Exec);
            let source = match before {
                Some(Mode::Enforce) => ModeSource::Changed,
                _ => ModeSource::Inherited,
            };
            modes = modes.map(|(mode, own)| match mode {
                Mode::Off => (mode, own),
                _ => (Mode::Pending, source),
            });
        }
        let (in_kernel, drift) = in_kernel(modes);
        let flags = flags | drift | flags_of(profile, exec_into);
        let entry = Container {
            cgroup,
            container: cgroup,
            slot: tracked.slot,
            profile: known.profile,
            generation,
            flags,
            modes: in_kernel,
        };
        let wanted = Wanted {
            modes,
            learns_changes,
            not_followed,
        };
        self.put_in_force(&entry, wanted);
    }

    /// Replaces a container's entry, and takes note of what holds.
    fn put_in_force(&mut self, entry: &Container, wanted: Wanted) {
        let Some(tracked) = self.containers.get_mut(&entry.cgroup) else {
            return;
        };
        let set = self.maps.set_container(entry);
        let is_new = |&domain: &Domain| tracked.mode(domain) != wanted.modes[domain as usize].0;
        let has_changed = set.is_ok() && Domain::ALL.iter().any(is_new);
        if set.is_ok() {
            tracked.modes = wanted.modes;
            if tracked.awaited.is_none() {
                tracked.keep_learned_starts();
            }
            tracked.learns_changes = wanted.learns_changes;
            tracked.not_followed = wanted.not_followed;
        }
        Self::log_map_failure(set);
        // After the policy: what the hook found in order by the one before is looked at again.
        self.look_at_calls_again(|tracked| tracked.cgroup == entry.cgroup);
        self.count_instance(entry.cgroup);
        if has_changed {
            // What was in hand in one mode may be news in another.
            let cleared = self.maps.clear_seen_of(entry.cgroup).map(drop);
            Self::log_map_failure(cleared);
        }
    }

    /// Attaches what sees a domain that is to be looked at.
    ///
    /// Files and capabilities are seen as long as any setting asks for them, so that nothing of a container's start is missed. System
    /// calls only while there is a container that asks for them or is not known yet: that costs each process of the node.
    pub(super) fn observe_what_is_wanted(&mut self) {
        for domain in Domain::CAN_BE_OFF {
            if self.is_wanted(domain) && !self.is_refused_by_lsm(domain) && !self.kernel.observes(domain) {
                if let Err(error) = self.kernel.observe(domain) {
                    self.metrics
                        .tell(&KernelFailed::new(KernelOperation::Observe, &error).about(&domain));
                }
                if domain == Domain::Syscall {
                    self.look_at_calls_again(|_| true);
                }
            }
        }
    }

    /// Takes away what sees a domain that nobody asks for any more.
    pub(super) fn stop_observing_what_is_not_wanted(&mut self) {
        for domain in Domain::CAN_BE_OFF {
            if self.kernel.observes(domain) && !self.is_wanted(domain) {
                self.kernel.stop_observing(domain);
            }
        }
    }

    /// Lets the hook look at each system call of some containers once more: at the end of a window, when it begins, and when policies
    /// change.
    pub(super) fn look_at_calls_again(&mut self, of: impl Fn(&Tracked) -> bool) {
        if !self.kernel.observes(Domain::Syscall) {
            return;
        }
        let chosen = |tracked: &&Tracked| tracked.known().is_some() && of(tracked);
        for tracked in self.containers.values().filter(chosen) {
            Self::log_map_failure(self.maps.look_at_calls(tracked.slot));
        }
    }

    fn is_wanted(&self, domain: Domain) -> bool {
        let policies = self.store.policies();
        let asks = |tracked: &Tracked| match tracked.known() {
            Some(_) => tracked.mode(domain) != Mode::Off,
            None => !tracked.is_removed() && matches!(tracked.resolution, Resolution::Pending(_)),
        };
        policies.wants(domain) && (domain != Domain::Syscall || self.containers.values().any(asks))
    }

    /// Whether an LSM hook decides about a domain, so that nothing else need see it.
    fn is_refused_by_lsm(&self, domain: Domain) -> bool {
        domain == Domain::File && self.kernel.has_lsm()
    }

    /// A profile holds rules for more than one path: hooks are to look for them, in the containers where they did not.
    pub(super) fn look_for_patterns(&mut self, profile: u32) {
        let its: Vec<u64> = self
            .containers
            .values()
            .filter(|tracked| tracked.known().is_some_and(|known| known.profile == profile))
            .map(|tracked| tracked.cgroup)
            .collect();
        for cgroup in its {
            let is_told = self
                .maps
                .container(cgroup)
                .is_ok_and(|entry| entry.is_some_and(|entry| entry.flags & CONTAINER_WIDE_RULES != 0));
            if !is_told {
                self.apply_policy(cgroup);
            }
        }
    }

    /// Puts the policy of all containers in force that are known.
    pub(super) fn apply_policies(&mut self) {
        let known: Vec<u64> = self
            .containers
            .values()
            .filter(|tracked| tracked.known().is_some())
            .map(|tracked| tracked.cgroup)
            .collect();
        for cgroup in known {
            self.apply_policy(cgroup);
        }
    }

    /// Publishes a profile anew and flips its containers.
    pub(super) fn republish(&mut self, profile: u32) {
        self.signed.remove(&profile);
        let Some(profile_now) = self.store.profile_by_id(profile) else {
            return;
        };
        if self.publisher.state(profile).is_none() {
            return;
        }
        let replaced = self.publisher.replace(&mut self.maps, profile_now).map(drop);
        Self::log_map_failure(replaced);
        let its: Vec<u64> = self
            .containers
            .values()
            .filter(|tracked| tracked.known().is_some_and(|known| known.profile == profile))
            .map(|tracked| tracked.cgroup)
            .collect();
        for cgroup in its {
            self.apply_policy(cgroup);
            // What the profile no longer holds is to be told, whether or not it was before.
            let cleared = self.maps.clear_seen_of(cgroup).map(drop);
            Self::log_map_failure(cleared);
            self.publish_known_contents(cgroup);
            if let Some(tracked) = self.containers.get_mut(&cgroup) {
                tracked.next_verification = Some((Self::now(), 0));
            }
        }
        self.publisher.retire(Self::now());
    }

    /// A profile is gone from the store: containers of its role begin a new one, and its rules go.
    pub(super) fn unpublish(&mut self, profile: u32) {
        let scripts = self.sees_scripts();
        for tracked in self.containers.values_mut() {
            let (Resolution::Known(known) | Resolution::Provisional(known, _)) = &mut tracked.resolution
            else {
                continue;
            };
            if known.profile != profile {
                continue;
            }
            match self.store.ensure(&known.key, scripts) {
                Ok(number) => {
                    known.profile = number;
                    tracked.is_counted = [false; DOMAIN_SLOTS];
                    tracked.watch.miss_starts();
                }
                Err(error) => {
                    self.metrics
                        .tell(&StoreFailed::new(StoreOperation::NewProfile, &error).about(&known.key));
                }
            }
        }
        self.signed.remove(&profile);
        self.apply_policies();
        self.publisher.forget(profile);
        self.publisher.retire(Self::now());
    }
}

/// What is to hold for a container, beside what its entry in the kernel says.
struct Wanted {
    modes: [(Mode, ModeSource); DOMAIN_SLOTS],
    learns_changes: [bool; DOMAIN_SLOTS],
    not_followed: Option<String>,
}

/// The modes as the hooks have them, and what follows for drift. Drift is not what changed with the image: where enforcement waits
/// for an approval, it is refused as it was.
fn in_kernel(modes: [(Mode, ModeSource); DOMAIN_SLOTS]) -> ([u8; DOMAIN_SLOTS], u32) {
    let mut raw = modes.map(|(mode, _)| mode as u8);
    let mut flags = 0;
    for domain in [Domain::Exec, Domain::Library] {
        if modes[domain as usize].1 == ModeSource::Changed {
            raw[domain as usize] = Mode::Pending as u8;
            flags = CONTAINER_UNPROFILED_DENY_DRIFT;
        }
    }
    (raw, flags)
}

/// What a container in no pod is annotated with.
static NO_ANNOTATIONS: BTreeMap<ByteText, ByteText> = BTreeMap::new();

/// The `CONTAINER_*` bits that follow from a profile, and from what is done about what enters from outside.
fn flags_of(profile: &Profile, exec_into: ExecInto) -> u32 {
    [
        (profile.scripts, CONTAINER_SCRIPTS_JUDGED),
        (profile.has_patterns(), CONTAINER_WIDE_RULES),
        (exec_into == ExecInto::Deny, CONTAINER_EXEC_INTO_DENY),
    ]
    .iter()
    .filter(|(holds, _)| *holds)
    .fold(0, |flags, (_, flag)| flags | flag)
}

/// Whether nothing is enforced in a namespace of Kubernetes.
fn is_protected(protected: &[String], namespace: &ByteText) -> bool {
    protected
        .iter()
        .any(|protected| protected.as_bytes() == namespace.as_bytes())
}

/// Whether what a container does in `domain` is learned, apart from its programs, of which every profile tells.
fn is_learned(domain: Domain) -> bool {
    matches!(domain, Domain::File | Domain::Cap | Domain::Syscall)
}

fn mode_source(source: mode::ModeSource) -> ModeSource {
    match source {
        mode::ModeSource::Container => ModeSource::Container,
        mode::ModeSource::Image => ModeSource::Image,
        mode::ModeSource::Reference => ModeSource::Reference,
        mode::ModeSource::Inherited => ModeSource::Inherited,
        mode::ModeSource::Default => ModeSource::Default,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drift_is_refused_while_enforcement_waits_for_an_approval() {
        let mut modes = [(Mode::Monitor, ModeSource::Reference); DOMAIN_SLOTS];
        let monitor = Mode::Monitor as u8;
        assert_eq!(in_kernel(modes), ([monitor; DOMAIN_SLOTS], 0));
        modes = [(Mode::Monitor, ModeSource::Changed); DOMAIN_SLOTS];
        let (raw, flags) = in_kernel(modes);
        assert_eq!(flags, CONTAINER_UNPROFILED_DENY_DRIFT);
        for &domain in Domain::ALL {
            let is_about_drift = matches!(domain, Domain::Exec | Domain::Library);
            let expected = if is_about_drift {
                Mode::Pending
            } else {
                Mode::Monitor
            };
            assert_eq!(raw[domain as usize], expected as u8, "{domain}");
        }
    }
}
