//! The answering process: `driftlock answer-execs`, started by the agent with the channel as its standard input.
//!
//! One loop: it winds up its watchdog, waits for questions and requests, answers, and tells what it did. Nothing in it waits
//! for the agent, for a container, or for what a container can hold up; if it hangs all the same, the watchdog kills
//! it, and the kernel lets go on whoever waits for an answer. Failure: [`AnswerError`] at the start, which is told to the
//! agent, too; afterwards an error of the group ends the process.

use std::collections::{HashMap, HashSet, VecDeque};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::Path;
use std::time::Duration;

use agent_common::container::Container;
use agent_common::domain::{Domain, Section};
use agent_common::file::Layer;
use agent_common::instance::QUOTA_DRIFT_PER_SECOND;
use agent_common::rule::{Action, BehaviourKey, Verdict, is_enforced};
use agent_common::task::TaskState;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::process::{Signal, set_parent_process_death_signal, setpriority_process};

use super::arguments::ArgumentReader;
use super::caller::{self, Member, Place};
use super::channel::{Channel, Received, Sent};
use super::file::{Identified, Layers, Opened};
use super::group::{Group, Notice, Subject};
use super::hold::Holds;
use super::policy::{KernelMaps, MapsError};
use super::protocol::{Counts, HoldCounts, Request, State, Told, Watch};
use super::record::{self, Answered, Part};
use crate::alert::time::since_boot;
use crate::kernel::watchdog::Watchdog;

/// What the watchdog allows for one turn of the loop. Whoever waits for an answer that does not come goes on after that.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long one turn waits when there is nothing to do, and how often it is told how many questions there were: a word for each would
/// wake the agent as often as programs are started.
const TURN: Duration = Duration::from_millis(250);
/// The same while a runtime's start is held.
const TURN_HOLDING: Duration = Duration::from_millis(2);
/// Better than what containers run at: an answer is waited for.
const NICENESS: i32 = -10;
/// Messages that wait for room in the channel. At the bound a record is counted as lost.
const WAITING_MAX: usize = 64;

/// The answering process cannot work.
#[derive(Debug, thiserror::Error)]
pub enum AnswerError {
    /// It was not started by an agent.
    #[error("`answer-execs` is started by the agent, with a socket as standard input: {0}")]
    Channel(#[source] std::io::Error),
    /// Without it nothing would end a process that hangs.
    #[error("cannot set up what ends this process if it hangs: {0}")]
    Watchdog(#[source] std::io::Error),
    /// There is no second thread.
    #[error("cannot start the thread that reads arguments: {0}")]
    Thread(#[source] std::io::Error),
    /// The pinned maps.
    #[error("{0}: {source}", source = std::error::Error::source(.0).map_or_else(String::new, ToString::to_string))]
    Maps(#[from] MapsError),
    /// The kernel does not ask.
    #[error("the kernel does not ask before executions (fanotify): {0}")]
    Group(#[source] nix::errno::Errno),
    /// Waiting failed.
    #[error("cannot wait for questions: {0}")]
    Wait(#[source] rustix::io::Errno),
}

/// Runs until the agent ends or tells to. `maps`: the directory in which the kernel's maps are pinned.
pub fn run(maps: &Path) -> Result<(), AnswerError> {
    let stdin = std::io::stdin();
    let channel = Channel::inherited(stdin.as_fd()).map_err(AnswerError::Channel)?;
    let answerer = Answerer::start(maps).inspect_err(|error| {
        let reason = error.to_string();
        if let Ok(message) = Told::State(State::Failed { reason }).encode() {
            channel.send(&message);
        }
    })?;
    answerer.work(&channel)
}

struct Answerer {
    watchdog: Watchdog,
    group: Group,
    maps: KernelMaps,
    arguments: ArgumentReader,
    watched: HashMap<u64, Watched>,
    /// The same containers, as far as whose process it is needs them.
    places: HashMap<u64, Place>,
    /// The runtimes' starts, if they are to be held.
    holds: Option<Holds>,
    /// What was last told of them.
    told_holds: HoldCounts,
    outbox: Outbox,
}

/// A container that is answered for.
struct Watched {
    layers: Layers,
    device: u32,
    counts: Counts,
    /// The second that `used` counts for, and the records made in it.
    second: u64,
    used: u64,
}

/// What is to be told.
#[derive(Default)]
struct Outbox {
    waiting: VecDeque<Vec<u8>>,
    /// Containers whose counts have changed.
    counted: HashSet<u64>,
    /// Containers that were only asked about since the counts of such were told.
    asked: HashSet<u64>,
    /// When that was, by the time since the boot.
    asked_told: Duration,
}

impl Answerer {
    fn start(maps: &Path) -> Result<Self, AnswerError> {
        // The end of the channel says the same, later. Only a kernel without this call refuses it.
        let _ = set_parent_process_death_signal(Some(Signal::KILL));
        let watchdog = Watchdog::new().map_err(AnswerError::Watchdog)?;
        let maps = KernelMaps::open(maps)?;
        let arguments = ArgumentReader::start().map_err(AnswerError::Thread)?;
        let group = Group::new().map_err(AnswerError::Group)?;
        // Without CAP_SYS_NICE it is as fast as others.
        let _ = setpriority_process(None, NICENESS);
        watchdog.wind_up(PATIENCE).map_err(AnswerError::Watchdog)?;
        Ok(Self {
            watchdog,
            group,
            maps,
            arguments,
            watched: HashMap::new(),
            places: HashMap::new(),
            holds: None,
            told_holds: HoldCounts::default(),
            outbox: Outbox::default(),
        })
    }

    fn work(mut self, channel: &Channel) -> Result<(), AnswerError> {
        self.tell(State::Ready);
        loop {
            self.watchdog.wind_up(PATIENCE).map_err(AnswerError::Watchdog)?;
            for notice in self.group.notices().map_err(AnswerError::Group)? {
                self.take(notice)?;
            }
            loop {
                match channel.receive() {
                    Received::Message(message) => self.obey(&message),
                    Received::Nothing => break,
                    Received::Ended => return Ok(()),
                }
            }
            self.hold()?;
            let is_full = self.send(channel) == Sent::Full;
            let mut wanted = PollFlags::IN;
            if is_full && !self.outbox.waiting.is_empty() {
                wanted |= PollFlags::OUT;
            }
            let mut waits = [
                PollFd::new(&self.group, PollFlags::IN),
                PollFd::new(channel, wanted),
            ];
            let is_holding = self.holds.as_ref().is_some_and(Holds::is_holding);
            let turn = if is_holding { TURN_HOLDING } else { TURN };
            let turn = Timespec {
                tv_sec: 0,
                tv_nsec: turn.subsec_nanos().into(),
            };
            match poll(&mut waits, Some(&turn)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(AnswerError::Wait(error)),
            }
        }
    }

    fn obey(&mut self, message: &[u8]) {
        match Request::decode(message) {
            Ok(Request::Watch(watch)) => {
                let container = watch.container;
                match self.watch(&watch) {
                    Ok(()) => self.tell(State::Watching { container }),
                    Err(error) => self.tell(State::NotWatching {
                        container,
                        reason: error.to_string(),
                    }),
                }
            }
            Ok(Request::Hold(policy)) => self.holds = Some(Holds::new(policy, &self.maps)),
            Ok(Request::Forget { container }) => {
                self.watched.remove(&container);
                self.places.remove(&container);
                self.outbox.counted.remove(&container);
                self.outbox.asked.remove(&container);
            }
            Err(error) => self.tell(State::NotWatching {
                container: 0,
                reason: error.to_string(),
            }),
        }
    }

    /// Has the kernel ask about a container's root filesystem. Its directory is open only for that: what is held open
    /// cannot be unmounted.
    fn watch(&mut self, watch: &Watch) -> std::io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::openat(CWD, format!("/proc/{}/root/", watch.pid), flags, Mode::empty())?;
        if Opened::new(root.as_fd())?.device() != watch.device {
            return Err(std::io::Error::other(format!(
                "process {} has another root filesystem",
                watch.pid
            )));
        }
        self.group.ask_about(root.as_fd())?;
        let container = watch.container;
        self.watched.insert(
            container,
            Watched {
                layers: Layers::of(watch),
                device: watch.device,
                counts: Counts::default(),
                second: 0,
                used: 0,
            },
        );
        self.places.insert(
            container,
            Place {
                hierarchy: watch.hierarchy,
                cgroup: watch.cgroup.as_bytes().to_vec(),
                device: watch.device,
            },
        );
        Ok(())
    }

    /// Lets starts go on that need wait no longer.
    fn hold(&mut self) -> Result<(), AnswerError> {
        let Some(holds) = &mut self.holds else {
            return Ok(());
        };
        holds.look_for_programs(&self.group);
        holds
            .release(&self.maps, &self.group)
            .map_err(AnswerError::Group)?;
        // Counts of later turns hold these too.
        if holds.counts != self.told_holds && self.outbox.waiting.len() < WAITING_MAX {
            self.told_holds = holds.counts.clone();
            self.tell(State::Holds(self.told_holds.clone()));
        }
        Ok(())
    }

    /// Answers one question, or keeps it until it can be.
    fn take(&mut self, notice: Notice) -> Result<(), AnswerError> {
        let Some(file) = notice.file() else { return Ok(()) };
        match notice.subject() {
            Subject::Execution => {}
            Subject::Written => {
                self.group.distrust(file);
                return Ok(());
            }
            Subject::Other => return Ok(()),
        }
        if let Some(holds) = &mut self.holds
            && holds.is_program(file)
            && caller::member(notice.thread(), &self.maps, &self.places).is_none()
        {
            return holds
                .take(notice, &self.maps, &self.group)
                .map_err(AnswerError::Group);
        }
        let report = self.judge(file, notice.thread());
        let allow = report
            .as_ref()
            .is_none_or(|report| report.action != Action::Denied);
        self.group.answer(&notice, allow).map_err(AnswerError::Group)?;
        // Many questions may have waited: each answer is progress.
        self.watchdog.wind_up(PATIENCE).map_err(AnswerError::Watchdog)?;
        if let Some(report) = report {
            self.count(report.container, |counts| counts.denied += u64::from(!allow));
            if let Some(message) = report.message {
                self.report(report.container, &message);
            }
        }
        Ok(())
    }

    /// What is to be said of an execution; `None` if it may go on and nobody need know.
    fn judge(&mut self, file: BorrowedFd<'_>, thread: u32) -> Option<Report> {
        // A process that is in no container goes on, whatever it executes: never the host.
        let member = caller::member(thread, &self.maps, &self.places)?;
        let watched = self.watched.get(&member.container)?;
        let opened = Opened::new(file).ok()?;
        let is_binary = opened.is_binary();
        let found = self.identify(watched, &opened, &member, thread);
        if let Some(watched) = self.watched.get_mut(&member.container) {
            watched.counts.asked += 1;
            self.outbox.asked.insert(member.container);
        }
        if found.layer == Layer::Image {
            // Only binaries: what a binary becomes by a mapping that was not closed yet the kernel program sees afterwards.
            if is_binary {
                self.group.trust(file);
            }
            return None;
        }
        if found.is_certain
            && let Some(hash) = record::path_hash(self.maps.hash_key, &found.path)
            && self.maps.is_verified(member.container, &found.identity, hash)
        {
            return None;
        }
        let container = self.maps.container(member.container)?;
        let section = match member.state {
            TaskState::ExecIn => Section::ExecIn,
            _ => Section::Main,
        };
        let mode = container.mode(Domain::Exec) as u8;
        let denied = is_enforced(container.flags, mode, Verdict::Drift as u8, section as u8);
        if !denied {
            // The kernel program reports binaries, after their execution.
            let key = BehaviourKey {
                container: member.container,
                hash: record::behaviour_hash(self.maps.hash_key, &found),
                domain: Domain::Exec as u8,
                layer: found.layer as u8,
                section: section as u8,
                operation: 0,
                reserved: [0; 4],
            };
            if is_binary || self.maps.is_seen(&key) {
                return None;
            }
        }
        let action = if denied { Action::Denied } else { Action::None };
        let message = if self.is_within_quota(member.container) {
            let drift = Drift {
                opened: &opened,
                is_binary,
                file: &found,
                member: &member,
                thread,
                container: &container,
                section,
                action,
            };
            Some(self.describe(&drift))
        } else {
            self.count(member.container, |counts| counts.over_quota += 1);
            None
        };
        Some(Report {
            container: member.container,
            action,
            message,
        })
    }

    fn identify(&self, watched: &Watched, opened: &Opened<'_>, member: &Member, thread: u32) -> Identified {
        let belongs_to_other = opened.device() != watched.device
            && self
                .watched
                .iter()
                .any(|(container, other)| *container != member.container && other.device == opened.device());
        if belongs_to_other {
            return Identified {
                layer: Layer::Foreign,
                path: opened.path(),
                identity: opened.identity(opened.device()),
                is_certain: false,
            };
        }
        watched.layers.identify(opened, thread)
    }

    fn describe(&mut self, drift: &Drift<'_>) -> Told {
        let arguments = self.arguments.of(drift.thread);
        let names_another = arguments.as_ref().is_some_and(|found| {
            record::last_component(&found.filename) != record::last_component(&drift.file.path)
        });
        let part = match drift.is_binary {
            false => Part::Script,
            true if names_another && drift.opened.may_be_loader() => Part::Loader,
            true => Part::Program,
        };
        let time_ns = u64::try_from(since_boot().as_nanos()).unwrap_or(u64::MAX);
        let answered = Answered {
            container: drift.container,
            section: drift.section,
            process: caller::describe(drift.thread, drift.member, &self.maps),
            working_directory: &caller::working_directory(drift.thread),
            file: drift.file,
            part,
            arguments: arguments.as_ref(),
            action: drift.action,
            time_ns,
        };
        Told::of_record(&record::make(&answered, self.maps.hash_key))
    }

    /// Whether one more record of this container may be made in this second.
    fn is_within_quota(&mut self, container: u64) -> bool {
        let Some(watched) = self.watched.get_mut(&container) else {
            return false;
        };
        let second = since_boot().as_secs();
        if watched.second != second {
            (watched.second, watched.used) = (second, 0);
        }
        watched.used += 1;
        watched.used <= QUOTA_DRIFT_PER_SECOND
    }

    fn count(&mut self, container: u64, add: impl FnOnce(&mut Counts)) {
        if let Some(watched) = self.watched.get_mut(&container) {
            add(&mut watched.counts);
            self.outbox.counted.insert(container);
        }
    }

    /// Keeps a record until there is room in the channel.
    fn report(&mut self, container: u64, record: &Told) {
        match record.encode() {
            Ok(message) if self.outbox.waiting.len() < WAITING_MAX => {
                self.outbox.waiting.push_back(message);
                self.count(container, |counts| counts.reported += 1);
            }
            _ => self.count(container, |counts| counts.lost += 1),
        }
    }

    /// Keeps a state until there is room in the channel. There are no more of them than the agent asks for.
    fn tell(&mut self, state: State) {
        if let Ok(message) = Told::State(state).encode() {
            self.outbox.waiting.push_back(message);
        }
    }

    /// Sends what waits, then the counts that have changed.
    fn send(&mut self, channel: &Channel) -> Sent {
        while let Some(message) = self.outbox.waiting.front() {
            match channel.send(message) {
                Sent::Done => self.outbox.waiting.pop_front(),
                other => return other,
            };
        }
        let now = since_boot();
        if now.saturating_sub(self.outbox.asked_told) >= TURN {
            self.outbox.asked_told = now;
            let Outbox { asked, counted, .. } = &mut self.outbox;
            counted.extend(asked.drain());
        }
        let counted: Vec<u64> = self.outbox.counted.iter().copied().collect();
        for container in counted {
            if let Some(watched) = self.watched.get(&container) {
                let counts = watched.counts;
                let Ok(message) = Told::State(State::Counts { container, counts }).encode() else {
                    continue;
                };
                match channel.send(&message) {
                    Sent::Done => {}
                    other => return other,
                }
            }
            self.outbox.counted.remove(&container);
        }
        Sent::Done
    }
}

/// An execution of what drifted.
struct Drift<'a> {
    opened: &'a Opened<'a>,
    is_binary: bool,
    file: &'a Identified,
    member: &'a Member,
    thread: u32,
    container: &'a Container,
    section: Section,
    action: Action,
}

/// What is said of an execution.
struct Report {
    container: u64,
    action: Action,
    /// The record; `None` if its container's quota is used up.
    message: Option<Told>,
}
