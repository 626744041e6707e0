//! From deviations to alerts: filled in, folded, and held while a kill is to be confirmed or a content to be read.

use std::time::Duration;

use agent_common::domain::{Domain, Mode};
use agent_common::file::Layer;
use agent_common::rule::{Action, BehaviourKey};

use super::Engine;
use super::container::Tracked;
use crate::alert::fold::FoldKey;
use crate::alert::kind::AlertKind;
use crate::alert::model::{
    Alert, AlertAction, AlertAncestor, AlertBehaviour, AlertContainer, AlertExec, AlertId, AlertImage,
    AlertLeftCgroup, AlertLost, AlertNote, AlertProcess, AlertProfile, SCHEMA, device_text,
};
use crate::alert::severity::{Circumstances, rate};
use crate::alert::time::Time;
use crate::compare::exec::{Deviation, DeviationKind};
use crate::event::{ExecEvent, LeaveEvent, Origin, ProcessEvent, WalkedPath};

impl Engine {
    /// Reports a deviation in domain exec. `in_hand`: its repeats are counted in the kernel from now on.
    pub(super) fn report_exec(&mut self, event: &ExecEvent, deviation: &Deviation, in_hand: bool) {
        if in_hand {
            self.take_in_hand(event, deviation);
        }
        let kind = match deviation.kind {
            DeviationKind::Drift => AlertKind::ExecDrift,
            DeviationKind::Unknown => AlertKind::ExecUnknown,
            DeviationKind::Entered => AlertKind::ExecInto,
        };
        let behaviour = AlertBehaviour::Exec(AlertExec {
            layer: event.layer,
            path: event.path.text.clone(),
            path_too_long: event.path.too_long,
            applet: deviation.behaviour.applet.clone(),
            filename: event.filename.clone(),
            interpreter: event.interpreter.clone(),
            script: event.interpreter.is_some(),
            device: device_text(event.file.device),
            inode: event.file.inode,
            sha256: None,
            note: event.verified_as_image.then_some(AlertNote::MetadataOnly),
        });
        let exe = Some(&event.path);
        let mut alert = self.alert(
            kind,
            event.origin,
            &event.process,
            exe,
            Some(&event.cwd),
            behaviour,
        );
        alert.mode = event.mode;
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
            behaviour: self.seen_key(event, deviation),
            kind,
            action: event.action,
        };
        self.check_content_then_offer(event, deviation, key, alert);
    }

    /// Reports that a container's process left its cgroup.
    pub(super) fn report_leave(&mut self, event: &LeaveEvent) {
        let behaviour = AlertBehaviour::LeftCgroup(AlertLeftCgroup {
            destination: event.destination,
            destination_name: event.destination_name.clone(),
        });
        let kind = AlertKind::ExecLeftCgroup;
        let mut alert = self.alert(kind, event.origin, &event.process, None, None, behaviour);
        alert.mode = self
            .containers
            .get(&event.origin.container)
            .map_or(Mode::Pending, |tracked| tracked.mode);
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

    /// The key under which the kernel counts the repeats of a behaviour.
    pub(super) fn seen_key(&self, event: &ExecEvent, deviation: &Deviation) -> BehaviourKey {
        let mut key = deviation
            .behaviour
            .key(self.kernel.hash_key, event.origin.container, event.section);
        // The kernel hashes drift with its inode, and knows its own layer, not the one it is judged as.
        key.layer = event.layer as u8;
        if deviation.kind == DeviationKind::Drift || !deviation.is_learnable {
            key.hash = event.behaviour_hash;
        }
        key
    }

    /// Folds an alert. `process`: the one that was killed.
    pub(super) fn offer(&mut self, key: FoldKey, alert: Alert, process: Option<&ProcessEvent>) {
        let now = Self::now();
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
        exe: Option<&WalkedPath>,
        cwd: Option<&WalkedPath>,
        behaviour: AlertBehaviour,
    ) -> Alert {
        let layer = match &behaviour {
            AlertBehaviour::Exec(exec) => exec.layer,
            AlertBehaviour::LeftCgroup(_) => Layer::Unknown,
        };
        let rating = rate(Circumstances {
            kind,
            layer,
            state: process.state,
            metadata_only: false,
        });
        let time = self.clock.date(origin.time_ns);
        let lost = self.lost_since_last_alert(origin, time);
        let tracked = self.containers.get(&origin.container);
        Alert {
            schema: SCHEMA.into(),
            id: AlertId::new(),
            time,
            node: self.config.node.clone(),
            domain: Domain::Exec,
            kind,
            severity: rating.severity,
            mode: Mode::Pending,
            action: AlertAction::NONE,
            container: tracked.map(container).unwrap_or_default(),
            process: AlertProcess {
                pid: process.pid,
                pid_in_container: process.pid_in_container,
                state: process.state,
                uid: process.uid,
                gid: process.gid,
                started: self.clock.date(process.started_ns),
                comm: process.comm.clone(),
                exe: exe.map(|path| path.text.clone()),
                args: Vec::new(),
                args_truncated: false,
                cwd: cwd.map(|path| path.text.clone()),
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
                role: known.key.role.as_text().clone(),
                generation: self
                    .publisher
                    .state(known.profile)
                    .map_or(0, |(generation, _)| generation),
                coverage: self
                    .store
                    .profile(&known.key)
                    .and_then(crate::profile::model::Profile::coverage),
            }),
            count: 1,
            first_seen: time,
            last_seen: time,
            repeats_of: None,
            lost,
            attack: rating.attack.into_iter().map(Into::into).collect(),
        }
    }

    /// The blind window since the container's last alert, if it lost records.
    fn lost_since_last_alert(&mut self, origin: Origin, time: Time) -> Option<AlertLost> {
        let tracked = self.containers.get_mut(&origin.container)?;
        let lost = self.maps.instance(tracked.slot).ok()?.counters[Domain::Exec as usize].lost();
        let records = lost.saturating_sub(std::mem::replace(&mut tracked.lost_before_alert, lost));
        let from = tracked.last_alert.replace(time).unwrap_or(time);
        (records > 0).then_some(AlertLost {
            from,
            to: time,
            records,
        })
    }
}

fn container(tracked: &Tracked) -> AlertContainer {
    let id = tracked
        .id
        .as_ref()
        .map_or_else(|| tracked.name.clone(), |id| id.as_str().into());
    let Some(known) = tracked.known() else {
        return AlertContainer {
            id,
            ..AlertContainer::default()
        };
    };
    let info = &known.info;
    AlertContainer {
        id,
        name: Some(info.name.clone()),
        runtime: Some(info.runtime.as_str().to_owned()),
        image: Some(AlertImage {
            reference: info.image.reference.clone(),
            config_digest: info.image.digest.clone(),
            manifests: info.image.manifests.clone(),
        }),
        labels: info.labels.clone(),
        pod: None,
        namespace: None,
    }
}
