//! What is answered before an execution ([`crate::answer`]): for which containers, and what comes of it.
//!
//! Only where the kernel's programs kill and do not refuse (the lite tier), and where the maps are pinned, by which the
//! answering process finds them. A container is handed to it once its root filesystem and layers are known; one whose layers
//! cannot be found is tried again, ever less often, and `doctor` names it. Until then, and without it, drift is killed.

use std::collections::HashMap;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::Duration;

use agent_common::domain::Domain;

use super::Engine;
use super::container::Tracked;
use super::learn::Learning;
use crate::answer::{Answering, Counts, Health, Hold, HoldCounts, State, Told, Watch};
use crate::config::policies::{HoldThen, Unprofiled};
use crate::container::layout::CgroupLayout;
use crate::control::view::{Check, CheckResult, CountersView, HookView};
use crate::decode::decode;
use crate::kernel::support;
use crate::kernel::tier::Exec;
use crate::text::ByteText;

/// How soon a container is tried again, at first.
const RETRY: Duration = Duration::from_millis(50);
/// How soon at most.
const RETRY_MAX: Duration = Duration::from_secs(10);
/// For tests of what happens without answers, and for measuring what they cost.
const NO_ANSWERS: &str = "DRIFTLOCK_TEST_NO_ANSWERS";

/// Containers that could not be handed over.
#[derive(Default)]
pub(super) struct Attempts(HashMap<u64, Attempt>);

struct Attempt {
    next: Duration,
    pause: Duration,
    problem: String,
}

impl Attempts {
    /// Every container was handed over.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Engine {
    /// Whether a process answers before executions, once it is started.
    #[must_use]
    pub fn will_answer(&self) -> bool {
        (self.is_answer_of_use() || self.hold().is_some()) && self.kernel.pins().is_some()
    }

    fn is_answer_of_use(&self) -> bool {
        self.kernel
            .proved()
            .outcome
            .is_some_and(|outcome| outcome.exec != Exec::Denied)
            && std::env::var_os(NO_ANSWERS).is_none_or(|value| value != "1")
    }

    /// Starts the answering process if it is of use here. To be called once the programs are attached.
    pub fn start_answering(&mut self) {
        let hold = self.hold();
        let is_of_use = self.is_answer_of_use();
        if !is_of_use && hold.is_none() {
            return;
        }
        self.answers_executions = is_of_use;
        let Some(pins) = self.kernel.pins() else {
            let reason = "nothing is pinned, so it would not find the maps".to_owned();
            self.answering = Answering::off(Some(reason), hold);
            return;
        };
        let (answering, heard) = Answering::start(pins.directory(), hold);
        self.answering = answering;
        self.heard = Some(heard);
    }

    /// How runtimes' starts are to be held, if they are.
    fn hold(&self) -> Option<Hold> {
        (self.config.policies.unprofiled == Unprofiled::Hold).then(|| Hold {
            at_most_ms: u64::try_from(self.config.policies.hold.at_most.as_millis()).unwrap_or(u64::MAX),
            refuse: self.config.policies.hold.then == HoldThen::Refuse,
            programs: self.config.policies.hold.programs.clone(),
        })
    }

    /// Takes what the answering process tells.
    pub(super) fn hear(&mut self, told: Told) {
        match told {
            Told::State(state) => {
                if let State::NotWatching { container, reason } = &state {
                    self.attempts.later(*container, Self::now(), reason.clone());
                }
                self.answering.note(state);
            }
            Told::Record(bytes) => match decode(&bytes) {
                Ok(event) => {
                    let mut learning = Learning::default();
                    self.handle(event, &mut learning);
                    self.learn(learning);
                }
                Err(error) => {
                    self.counters.undecodable += 1;
                    tracing::error!(%error, "a record of the answering process is not as agreed");
                }
            },
        }
    }

    /// Hands containers over whose root filesystem is known by now, and forgets those that are gone.
    pub(super) fn hand_over(&mut self, now: Duration) {
        if !self.answering.is_on() {
            return;
        }
        self.answering.pass_on();
        if !self.answers_executions {
            return;
        }
        self.answering
            .retain(|container| self.containers.contains_key(&container));
        self.attempts
            .0
            .retain(|container, _| self.containers.contains_key(container));
        let due: Vec<u64> = self
            .containers
            .values()
            .filter(|tracked| !tracked.is_removed() && !self.answering.knows(tracked.cgroup))
            .map(|tracked| tracked.cgroup)
            .filter(|container| self.attempts.is_due(*container, now))
            .collect();
        for container in due {
            match self.describe_for_answers(container) {
                Ok(Some(watch)) => {
                    self.attempts.0.remove(&container);
                    self.answering.watch(watch);
                }
                // It has not executed anything of its own yet.
                Ok(None) => {}
                Err(problem) => self.attempts.later(container, now, problem.to_owned()),
            }
        }
    }

    /// What the answering process needs to know of a container; nothing while that has not begun.
    fn describe_for_answers(&mut self, container: u64) -> Result<Option<Watch>, &'static str> {
        let Some(tracked) = self.containers.get_mut(&container) else {
            return Ok(None);
        };
        if tracked.known().is_none() {
            return Ok(None);
        }
        let instance = self
            .maps
            .instance(tracked.slot)
            .map_err(|_| "its entry cannot be read")?;
        if instance.first_exec == 0 {
            return Ok(None);
        }
        let cgroup = tracked.path.clone().ok_or("its cgroup is not known")?;
        let in_its_namespace = |pid: &u32| {
            crate::container::root::mount_namespace(*pid)
                .is_ok_and(|namespace| namespace == instance.mount_namespace)
        };
        let pids = super::container::processes(&self.layout.layout, tracked);
        let pid = pids
            .iter()
            .copied()
            .find(in_its_namespace)
            .ok_or("no process of it shows its root filesystem")?;
        let overlay = super::content::overlay(tracked, &[pid], instance.mount_namespace)
            .ok_or("its layers are not known")?;
        let text = |path: &Path| ByteText::from(path.as_os_str().as_bytes());
        Ok(Some(Watch {
            container,
            pid,
            device: instance.root_device,
            hierarchy: match &self.layout.layout {
                CgroupLayout::V2 { .. } => 0,
                CgroupLayout::V1 { hierarchy_id, .. } => *hierarchy_id,
            },
            cgroup: cgroup.into(),
            upper: text(&overlay.upper),
            lowers: overlay
                .lowers
                .iter()
                .map(|lower| text(&lower.directory))
                .collect(),
        }))
    }

    /// How the holding of runtimes' starts is, among the hooks.
    pub(super) fn holding_hook(&self) -> Option<HookView> {
        let counts = self.answering.holds()?;
        let health = self.answering.health()?;
        let target = if counts.programs.is_empty() {
            "fanotify on runtimes' programs: none was found".to_owned()
        } else {
            format!("fanotify on {}", programs(&counts))
        };
        Some(HookView {
            name: "hold-starts".to_owned(),
            target,
            attached: health.is_answering && !counts.programs.is_empty(),
            pinned: false,
            detail: Some(held(&counts)),
        })
    }

    /// How the answering process is, among the hooks.
    pub(super) fn answering_hook(&self) -> Option<HookView> {
        let health = self.answering.health().filter(|_| self.answers_executions)?;
        let mut detail = format!(
            "{} containers, {} executions asked about, {} refused",
            health.containers, health.counts.asked, health.counts.denied
        );
        if health.ended > 0 {
            detail.extend(["; started again ", &health.ended.to_string(), " times"]);
        }
        if let Some(reason) = &health.reason {
            let when = if health.is_answering {
                "the last time"
            } else {
                "not now"
            };
            detail.extend(["; ", when, ": ", reason]);
        }
        Some(HookView {
            name: "answer-execs".to_owned(),
            target: "fanotify on containers' root filesystems".to_owned(),
            attached: health.is_answering,
            pinned: false,
            detail: Some(detail),
        })
    }

    /// The same for `doctor`, and the containers that are not answered for.
    pub(super) fn answering_checks(&self) -> Vec<Check> {
        let Some(health) = self.answering.health() else {
            return Vec::new();
        };
        let mut checks: Vec<Check> = self
            .answering
            .holds()
            .map(|counts| hold_check(&counts, &health))
            .into_iter()
            .collect();
        if !self.answers_executions {
            return checks;
        }
        checks.push(support::answers_check(
            health.is_answering,
            health.ended,
            health.reason.as_deref(),
        ));
        for tracked in self.containers.values().filter(|tracked| !tracked.is_removed()) {
            if let Some(problem) = self.not_answered_for(tracked) {
                let id = tracked.id.as_ref().map_or("", |id| id.short());
                let reason = format!("drift is killed, not refused, and scripts are not seen: {problem}");
                checks.push(support::container_check(id, reason));
            }
        }
        checks
    }

    fn not_answered_for(&self, tracked: &Tracked) -> Option<String> {
        match self.attempts.0.get(&tracked.cgroup) {
            Some(attempt) => Some(attempt.problem.clone()),
            None => self.answering.problem(tracked.cgroup).map(str::to_owned),
        }
    }

    /// Adds what the answering process counted.
    pub(super) fn add_answers(&self, container: u64, view: &mut CountersView) {
        add(view, self.answering.counts(container));
    }

    /// Adds what the answering process counted of containers that are gone.
    pub(super) fn add_past_answers(&self, view: &mut CountersView) {
        add(view, self.answering.past_counts());
    }

    /// Records of the answering process that were lost.
    pub(super) fn lost_answers(&self, container: u64, domain: Domain) -> u64 {
        match domain {
            Domain::Exec => self.answering.counts(container).all_lost(),
            _ => 0,
        }
    }
}

/// Whether runtimes' starts are held until their containers are known.
fn hold_check(counts: &HoldCounts, health: &Health) -> Check {
    let name = "held starts".to_owned();
    let warn = |detail: String, hint: Option<&str>| Check {
        name: name.clone(),
        result: CheckResult::Warn,
        detail,
        hint: hint.map(str::to_owned),
    };
    if !health.is_answering {
        let reason = health.reason.as_deref().unwrap_or("not yet");
        return warn(format!("starts are not held: {reason}"), None);
    }
    if counts.programs.is_empty() {
        let hint = "name the runtime's program in `policies.hold.programs`";
        return warn(
            "starts are not held: no runtime's program was found".to_owned(),
            Some(hint),
        );
    }
    let detail = format!("{}: {}", programs(counts), held(counts));
    if counts.at_bound > 0 {
        return warn(detail, None);
    }
    Check {
        name,
        result: CheckResult::Ok,
        detail,
        hint: None,
    }
}

fn programs(counts: &HoldCounts) -> String {
    let paths: Vec<String> = counts
        .programs
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    paths.join(", ")
}

fn held(counts: &HoldCounts) -> String {
    format!(
        "{} starts held, for {} ms at most; {} of them for as long as they may",
        counts.held, counts.longest_ms, counts.at_bound
    )
}

fn add(view: &mut CountersView, counts: Counts) {
    view.generated += counts.reported + counts.all_lost();
    view.submitted += counts.reported;
    view.lost_ring += counts.lost;
    view.lost_quota += counts.over_quota;
    view.denied += counts.denied;
}

// === impl Attempts ===

impl Attempts {
    fn is_due(&self, container: u64, now: Duration) -> bool {
        self.0.get(&container).is_none_or(|attempt| attempt.next <= now)
    }

    fn later(&mut self, container: u64, now: Duration, problem: String) {
        let pause = self
            .0
            .get(&container)
            .map_or(RETRY, |attempt| (attempt.pause * 2).min(RETRY_MAX));
        let next = now + pause;
        self.0.insert(container, Attempt { next, pause, problem });
    }
}
