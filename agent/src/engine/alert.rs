//! From deviations to alerts: filled in, folded, and held while a kill is to be confirmed or a content to be read.

use std::time::Duration;

use agent_common::container::NESTED_CGROUPS_MAX;
use agent_common::domain::{Domain, Mode};
use agent_common::file::Layer;
use agent_common::instance::Instance;
use agent_common::rule::{Action, BehaviourKey};
use agent_common::task::TaskState;

use super::Engine;
use super::container::{Told, Tracked};
use crate::alert::fold::FoldKey;
use crate::alert::kind::AlertKind;
use crate::alert::model::{
    Alert, AlertAction, AlertAncestor, AlertBehaviour, AlertCap, AlertCgroupLimit, AlertContainer, AlertExec,
    AlertFile, AlertFileUse, AlertId, AlertImage, AlertLeftCgroup, AlertLibrary, AlertLost, AlertNote,
    AlertProcess, AlertProfile, AlertSyscall, SCHEMA, device_text,
};
use crate::alert::severity::{Circumstances, rate};
use crate::alert::time::Time;
use crate::behaviour::Behaviour;
use crate::compare::{self, Deviation, DeviationKind};
use crate::container::membership::nested_in;
use crate::container::process;
use crate::control::view::ModeSource;
use crate::event::{ExecPart, FilePart, LeaveEvent, Origin, ProcessEvent, UseEvent, Used};

impl Engine {
    /// Reports a deviation. `in_hand`: its repeats are counted in the kernel from now on.
    pub(super) fn report(&mut self, event: &UseEvent, deviation: &Deviation, in_hand: bool) {
        if in_hand {
            self.take_in_hand(event, deviation);
        }
        self.tell(event, deviation, self.seen_key(event, deviation));
    }

    /// Reports what would have been learned, had the profile room: all of it is one alert with its repeats, because whoever has filled
    /// a profile has much more of the kind.
    pub(super) fn report_full(&mut self, event: &UseEvent, deviation: &Deviation) {
        self.take_in_hand(event, deviation);
        let all = BehaviourKey {
            hash: 0,
            ..event.key()
        };
        self.tell(event, deviation, all);
    }

    /// Tells of a deviation, or counts it as a repeat of the alert under this key.
    fn tell(&mut self, event: &UseEvent, deviation: &Deviation, behaviour_key: BehaviourKey) {
        let kind = kind(event, deviation);
        let mut alert = self.alert(kind, event.origin, &event.process, behaviour(event));
        alert.process.exe = event.exe().map(|exe| exe.text.clone());
        if let Used::Exec(exec) = &event.used {
            alert.process.cwd = Some(exec.cwd.text.clone());
        }
        alert.mode = self.mode_told(event);
        alert.process.args.clone_from(&event.args);
        alert.process.args_truncated = event.args_truncated;
        alert.action = match (event.action, event.action_error) {
            (Action::Killed, _) => AlertAction::KILL_SENT,
            (Action::Denied, _) => AlertAction::DENIED,
            (Action::None, Some(error)) => {
                AlertAction::failed(std::io::Error::from_raw_os_error(error).to_string())
            }
            (Action::None, None) => AlertAction::NONE,
        };
        if let (Some(profile), Some((_, generation))) = (&mut alert.profile, event.profile) {
            profile.generation = generation;
        }
        let key = FoldKey {
            behaviour: behaviour_key,
            kind,
            action: event.action,
        };
        self.check_content_then_offer(event, deviation, key, alert);
    }

    /// The mode that is told: the one in the hook. Where drift alone is refused until what changed is approved, the hook knows no more
    /// than that, and what holds is told.
    fn mode_told(&self, event: &UseEvent) -> Mode {
        let tracked = self.containers.get(&event.origin.container);
        let waits = tracked.filter(|tracked| {
            event.mode == Mode::Pending && tracked.modes[event.domain() as usize].1 == ModeSource::Changed
        });
        waits.map_or(event.mode, |tracked| tracked.mode(event.domain()))
    }

    /// Reports that a container's process left its cgroup.
    pub(super) fn report_leave(&mut self, event: &LeaveEvent) {
        let behaviour = AlertBehaviour::LeftCgroup(AlertLeftCgroup {
            destination: event.destination,
            destination_name: event.destination_name.clone(),
        });
        let kind = AlertKind::ExecLeftCgroup;
        let mut alert = self.alert(kind, event.origin, &event.process, behaviour);
        alert.mode = self
            .containers
            .get(&event.origin.container)
            .map_or(Mode::Pending, |tracked| tracked.mode(Domain::Exec));
        let key = FoldKey {
            behaviour: BehaviourKey {
                container: event.origin.container,
                hash: event.destination,
                domain: Domain::Exec as u8,
                ..BehaviourKey::default()
            },
            kind,
            action: Action::None,
        };
        self.offer(key, alert, None);
    }

    /// Reports the containers that have made more cgroups than are entered as their own, each once.
    pub(super) fn report_cgroup_limits(&mut self) {
        let at_limit: Vec<u64> = self
            .containers
            .values()
            .filter(|tracked| !tracked.is_removed() && !tracked.is_at_cgroup_limit)
            .filter(|tracked| {
                self.maps
                    .instance(tracked.slot)
                    .is_ok_and(|instance| instance.cgroups_left_out > 0)
            })
            .map(|tracked| tracked.cgroup)
            .collect();
        for container in at_limit {
            let Some(tracked) = self.containers.get_mut(&container) else {
                continue;
            };
            tracked.is_at_cgroup_limit = true;
            let (mode, slot) = (tracked.mode(Domain::Exec), tracked.slot);
            let tracked = &self.containers[&container];
            let oldest = super::container::processes(&self.layout.layout, tracked)
                .into_iter()
                .min();
            let process = first_process(oldest.unwrap_or(0));
            let origin = Origin {
                time_ns: u64::try_from(Self::now().as_nanos()).unwrap_or(u64::MAX),
                container,
                slot,
                load: 0,
            };
            let behaviour = AlertBehaviour::CgroupLimit(AlertCgroupLimit {
                entered_cgroups: NESTED_CGROUPS_MAX,
            });
            let kind = AlertKind::ExecCgroupLimit;
            let mut alert = self.alert(kind, origin, &process, behaviour);
            alert.mode = mode;
            let key = FoldKey {
                behaviour: BehaviourKey {
                    container,
                    domain: Domain::Exec as u8,
                    ..BehaviourKey::default()
                },
                kind,
                action: Action::None,
            };
            self.offer(key, alert, None);
        }
    }

    /// The key under which the kernel counts the repeats of a behaviour.
    pub(super) fn seen_key(&self, event: &UseEvent, deviation: &Deviation) -> BehaviourKey {
        let key = event.key();
        match &deviation.learnable {
            // The kernel need not have looked at the applet yet, as it will for the repeats. Drift it hashes with its inode.
            Some(Behaviour::Exec(exec)) => BehaviourKey {
                hash: exec.hash(self.kernel.hash_key),
                ..key
            },
            _ => key,
        }
    }

    /// Folds an alert. `process`: the one that was killed.
    pub(super) fn offer(&mut self, key: FoldKey, alert: Alert, process: Option<&ProcessEvent>) {
        let now = Self::now();
        // What is due ends once. If it only were looked at here, a storm would look at all of it for each alert.
        self.end_folds(now);
        self.collect_repeats(now);
        let process = process.map(|process| (process.pid, process.started_ns));
        let ready = self.fold.offer(key, alert, process, now);
        self.ready.extend(ready);
    }

    /// Ends the folds that are due. The behaviour's next occurrence is then told again.
    pub(super) fn end_folds(&mut self, now: Duration) {
        self.collect_repeats(now);
        let ready = self.fold.due(now);
        self.ready.extend(ready);
    }

    /// Adds what the kernel counted to the folds that end now. What happens between the reading of a count and the
    /// removal of its entry is not counted: some nanoseconds once in each window.
    fn collect_repeats(&mut self, now: Duration) {
        for key in self.fold.ending(now) {
            match self.maps.seen(&key.behaviour) {
                Ok(Some(repeats)) => {
                    let _ = self.maps.forget_seen(&key.behaviour);
                    self.fold.add_repeats(&key, repeats, Time::now());
                }
                Ok(None) => {}
                Err(error) => {
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        "repeats were not counted"
                    );
                }
            }
        }
    }

    fn alert(
        &mut self,
        kind: AlertKind,
        origin: Origin,
        process: &ProcessEvent,
        behaviour: AlertBehaviour,
    ) -> Alert {
        let rating = rate(Circumstances {
            kind,
            layer: behaviour.file().map_or(Layer::Unknown, |file| file.layer),
            subject: behaviour.subject(),
            state: process.state,
            metadata_only: false,
        });
        let time = self.clock.date(origin.time_ns);
        let instance = self.containers.get(&origin.container);
        let instance = instance.and_then(|tracked| self.maps.instance(tracked.slot).ok());
        let lost =
            instance.and_then(|instance| self.lost_since_last_alert(&instance, origin, kind.domain(), time));
        let coverage = self.coverage(origin.container, kind.domain());
        let tracked = self.containers.get(&origin.container);
        Alert {
            schema: SCHEMA.into(),
            id: self.alert_id(kind, origin, process),
            time,
            node: self.config.node.clone(),
            domain: kind.domain(),
            kind,
            severity: rating.severity,
            mode: Mode::Pending,
            action: AlertAction::NONE,
            container: tracked
                .map(|tracked| AlertContainer {
                    nested: instance.and_then(|instance| self.nested_in(&instance, tracked, process)),
                    ..container(tracked)
                })
                .unwrap_or_default(),
            process: AlertProcess {
                pid: process.pid,
                pid_in_container: process.pid_in_container,
                state: process.state,
                uid: process.uid,
                gid: process.gid,
                started: self.clock.date(process.started_ns),
                comm: process.comm.clone(),
                exe: None,
                args: Vec::new(),
                args_truncated: false,
                cwd: None,
                ancestors: process
                    .ancestors
                    .iter()
                    .map(|(pid, comm)| AlertAncestor {
                        pid: *pid,
                        comm: comm.clone(),
                    })
                    .collect(),
                ancestors_truncated: process.ancestors_truncated,
            },
            behaviour,
            profile: tracked.and_then(Tracked::known).map(|known| AlertProfile {
                digest: known.key.digest.clone(),
                provisional: self.store.provisional_of(&known.key.digest).is_some(),
                role: known.key.role.as_text().clone(),
                generation: self
                    .publisher
                    .state(known.profile)
                    .map_or(0, |(generation, _)| generation),
                coverage,
            }),
            count: 1,
            first_seen: time,
            last_seen: time,
            repeats_of: None,
            lost,
            attack: rating.attack.into_iter().map(Into::into).collect(),
            records: self.unsettled.current(),
        }
    }

    /// The id of an alert: of a record's, the same if the record is read again because this agent ended too early.
    fn alert_id(&self, kind: AlertKind, origin: Origin, process: &ProcessEvent) -> AlertId {
        if !self.unsettled.current().is_some() {
            return AlertId::new();
        }
        let parts = [
            self.config.node.as_bytes(),
            &origin.container.to_ne_bytes(),
            &process.pid.to_ne_bytes(),
            &process.started_ns.to_ne_bytes(),
            kind.as_str().as_bytes(),
        ];
        AlertId::of_record(self.checkpoint.id_epoch_ms, origin.time_ns, &parts)
    }

    /// The container inside a container that a process is in, by its cgroup or, once it is gone, by its parents'.
    fn nested_in(&self, instance: &Instance, tracked: &Tracked, process: &ProcessEvent) -> Option<String> {
        // Where there is none, `/proc` need not be asked for each alert.
        if instance.nested_cgroups == 0 && instance.cgroups_left_out == 0 {
            return None;
        }
        let own = tracked.path.as_deref()?;
        let parents = process.ancestors.iter().map(|(pid, _)| *pid);
        let path = std::iter::once(process.pid)
            .chain(parents)
            .find_map(|pid| self.layout.layout.cgroup_of(pid).ok().flatten())?;
        nested_in(own, &path).map(|id| id.to_string())
    }

    /// The blind window since the container's last alert of a domain, if records of it were lost.
    fn lost_since_last_alert(
        &mut self,
        instance: &Instance,
        origin: Origin,
        domain: Domain,
        time: Time,
    ) -> Option<AlertLost> {
        let lost = instance.counters[domain as usize].lost() + self.lost_answers(origin.container, domain);
        let tracked = self.containers.get_mut(&origin.container)?;
        let now = Told { at: Some(time), lost };
        let before = std::mem::replace(&mut tracked.told[domain as usize], now);
        let records = lost.saturating_sub(before.lost);
        (records > 0).then_some(AlertLost {
            from: before.at.unwrap_or(time),
            to: time,
            records,
        })
    }
}

fn kind(event: &UseEvent, deviation: &Deviation) -> AlertKind {
    match (&event.used, deviation.kind) {
        (Used::Exec(_), DeviationKind::Drift) => AlertKind::ExecDrift,
        (Used::Exec(_), DeviationKind::Unknown) => AlertKind::ExecUnknown,
        (Used::Exec(_), DeviationKind::Entered) => AlertKind::ExecInto,
        (Used::Library(_), _) => AlertKind::LibraryDrift,
        (Used::File(_), DeviationKind::Entered) => AlertKind::FileInto,
        (Used::File(_), _) => AlertKind::FileUnknown,
        (Used::Cap(_), DeviationKind::Entered) => AlertKind::CapInto,
        (Used::Cap(_), _) => AlertKind::CapUnknown,
        (Used::Syscall(_), DeviationKind::Entered) => AlertKind::SyscallInto,
        (Used::Syscall(_), _) => AlertKind::SyscallUnknown,
    }
}

fn behaviour(event: &UseEvent) -> AlertBehaviour {
    match &event.used {
        Used::Exec(exec) => AlertBehaviour::Exec(AlertExec {
            file: AlertFile {
                note: exec.verified_as_image.then_some(AlertNote::MetadataOnly),
                ..file(&exec.file)
            },
            part: exec.part,
            applet: compare::exec::behaviour(exec).applet,
            filename: exec.filename.clone(),
            interpreter: exec.interpreter.clone(),
            script: exec.interpreter.is_some() || exec.part == ExecPart::Script,
        }),
        Used::Library(library) => AlertBehaviour::Library(AlertLibrary {
            file: file(&library.file),
            protected: library.protected,
        }),
        Used::File(used) => AlertBehaviour::File(AlertFileUse {
            file: file(&used.file),
            operation: used.operation,
            open_flags: used.open_flags,
            typed: used.typed.as_ref().map(|typed| typed.name.clone()),
        }),
        Used::Cap(cap) => AlertBehaviour::Cap(AlertCap {
            capability: cap.capability,
            namespace: cap.namespace,
            outcome: cap.outcome,
            namespace_number: cap.namespace_number,
            system_call: cap.system_call,
        }),
        Used::Syscall(call) => AlertBehaviour::Syscall(AlertSyscall {
            name: call.behaviour.name(),
            number: call.behaviour.number,
            abi: call.behaviour.abi,
            phase: call.behaviour.phase,
            raw_number: call.raw_number,
        }),
    }
}

fn file(file: &FilePart) -> AlertFile {
    AlertFile {
        layer: file.layer,
        path: file.path.text.clone(),
        path_too_long: file.path.too_long,
        device: device_text(file.identity.device),
        inode: file.identity.inode,
        sha256: None,
        note: None,
    }
}

fn container(tracked: &Tracked) -> AlertContainer {
    let id = tracked
        .id
        .as_ref()
        .map_or_else(|| tracked.name.clone(), |id| id.as_str().into());
    let Some(info) = tracked.info() else {
        return AlertContainer {
            id,
            ..AlertContainer::default()
        };
    };
    let pod = info.pod.as_ref();
    AlertContainer {
        id,
        name: Some(info.name.clone()),
        runtime: Some(info.runtime.as_str().to_owned()),
        image: Some(AlertImage {
            reference: info.image.reference.clone(),
            config_digest: info.image.proven_digest().cloned(),
            manifests: info.image.manifests.clone(),
        }),
        labels: info.labels.clone(),
        pod: pod.map(|pod| pod.name.clone()),
        namespace: pod.map(|pod| pod.namespace.clone()),
        pod_uid: pod
            .map(|pod| pod.uid.clone())
            .filter(|uid| !uid.as_bytes().is_empty()),
        pod_labels: pod.map(|pod| pod.labels.clone()).unwrap_or_default(),
        nested: None,
    }
}

/// A container's oldest process, as `/proc` has it; what cannot be read is empty.
fn first_process(pid: u32) -> ProcessEvent {
    let stat = process::stat(pid);
    let status = process::status(pid).unwrap_or_default();
    ProcessEvent {
        started_ns: stat.as_ref().map_or(0, process::Stat::started_ns),
        pid,
        pid_in_container: status.in_container,
        parent_pid: stat.as_ref().map_or(0, |stat| stat.parent),
        uid: status.uid,
        gid: status.gid,
        state: TaskState::Unclassified,
        comm: stat.map_or_else(Vec::new, |stat| stat.comm).into(),
        ancestors: Vec::new(),
        ancestors_truncated: false,
    }
}
