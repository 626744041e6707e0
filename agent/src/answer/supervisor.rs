//! The agent's side: starts the answering process, starts it again when it ends, and carries words to and fro.
//!
//! Input: the containers to answer for. Output: what the process tells, by a channel of [`TOLD`] messages; when that is full
//! the process's own is, and it counts what it cannot send. Failure: a process that ends is started again after a pause
//! that grows up to [`PAUSE_MAX`]; how often it ended, and why last, is in [`Health`]. Until then drift is killed after its
//! execution instead of refused.

use std::collections::HashMap;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::channel::{Channel, Received, Sent};
use super::protocol::{Counts, Hold, HoldCounts, Request, State, Told, Watch};

/// Messages that wait for the engine.
const TOLD: usize = 256;
/// The pause before the process is started again, at first.
const PAUSE: Duration = Duration::from_millis(100);
/// And at most.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// A process that ran for so long has worked: the pause is short again.
const HAS_WORKED: Duration = Duration::from_mins(1);
/// How long a process that was told to end may take.
const END_WITHIN: Duration = Duration::from_secs(1);

/// The agent's hold on the answering process. The process ends when this is dropped.
pub struct Answering {
    shared: Option<Arc<Shared>>,
    /// Why there is none.
    off: Option<String>,
    watches: HashMap<u64, Watched>,
    /// How runtimes' starts are held, if they are.
    hold: Option<Hold>,
    is_hold_sent: bool,
    /// Starts that the present process held, and those before.
    holds: HoldCounts,
    holds_before: HoldCounts,
    /// The process that the watches were sent to.
    sent_to: u64,
    /// Of containers that are gone.
    gone: Counts,
}

/// How the answering process is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// It answers.
    pub is_answering: bool,
    /// Why not, or why it ended last.
    pub reason: Option<String>,
    /// How often it ended without being told to.
    pub ended: u64,
    /// How many containers it answers for.
    pub containers: usize,
    /// What became of the executions of all containers.
    pub counts: Counts,
}

/// A container that is to be answered for.
struct Watched {
    watch: Watch,
    is_sent: bool,
    /// The process answers for it.
    is_on: bool,
    /// Why it does not.
    problem: Option<String>,
    /// Counts of the present process, and of those before.
    now: Counts,
    before: Counts,
}

/// What the thread and the engine share.
struct Shared {
    maps: PathBuf,
    state: Mutex<ProcessState>,
}

#[derive(Default)]
struct ProcessState {
    channel: Option<Arc<Channel>>,
    /// Counts the processes that were started.
    number: u64,
    is_ready: bool,
    ended: u64,
    /// What the present process says against itself.
    failure: Option<String>,
    /// Why the last one ended.
    reason: Option<String>,
    is_over: bool,
}

impl Answering {
    /// Starts the process and what looks after it. `maps`: where the kernel's maps are pinned; `hold`: whether it also holds
    /// runtimes' starts. Returns it and where what the process tells comes from.
    #[must_use]
    pub fn start(maps: &Path, hold: Option<Hold>) -> (Self, mpsc::Receiver<Told>) {
        let (told, heard) = mpsc::channel(TOLD);
        let shared = Arc::new(Shared {
            maps: maps.to_owned(),
            state: Mutex::default(),
        });
        let looks_after = Arc::clone(&shared);
        // One thread for all of the agent's life: the process ends with the thread that started it.
        let thread = std::thread::Builder::new()
            .name("answering".to_owned())
            .spawn(move || looks_after.look_after(&told));
        let mut answering = Self::off(None, hold);
        match thread {
            Ok(_) => answering.shared = Some(shared),
            Err(error) => answering.off = Some(format!("its thread cannot be started: {error}")),
        }
        (answering, heard)
    }

    /// No process, and why, if there should be one; and how starts should be held, if they should.
    #[must_use]
    pub fn off(reason: Option<String>, hold: Option<Hold>) -> Self {
        Self {
            shared: None,
            off: reason,
            watches: HashMap::new(),
            hold,
            is_hold_sent: false,
            holds: HoldCounts::default(),
            holds_before: HoldCounts::default(),
            sent_to: 0,
            gone: Counts::default(),
        }
    }

    /// Whether there is a process, or will be again.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.shared.is_some()
    }

    /// Whether this container is, or will be, answered for.
    #[must_use]
    pub fn knows(&self, container: u64) -> bool {
        self.watches.contains_key(&container)
    }

    /// Has the process answer for a container.
    pub fn watch(&mut self, watch: Watch) {
        let watched = Watched {
            is_sent: false,
            is_on: false,
            problem: None,
            now: Counts::default(),
            before: Counts::default(),
            watch,
        };
        self.watches.insert(watched.watch.container, watched);
        self.pass_on();
    }

    /// Forgets the containers of which `is_there` says no.
    pub fn retain(&mut self, is_there: impl Fn(u64) -> bool) {
        let gone: Vec<u64> = self
            .watches
            .keys()
            .copied()
            .filter(|container| !is_there(*container))
            .collect();
        for container in gone {
            if let Some(watched) = self.watches.remove(&container) {
                self.gone.add(watched.counts());
            }
            // A process that does not hear of it keeps a few bytes.
            if let (Some(channel), Ok(message)) = (self.channel(), Request::Forget { container }.encode()) {
                channel.send(&message);
            }
        }
    }

    /// Sends the process what it does not know yet. To be called from time to time: it may have been started anew, or have
    /// had no room.
    pub fn pass_on(&mut self) {
        let Some(shared) = &self.shared else { return };
        let (channel, number) = {
            let state = shared.state();
            (state.channel.clone(), state.number)
        };
        if number != self.sent_to {
            self.sent_to = number;
            self.is_hold_sent = false;
            let holds = std::mem::take(&mut self.holds);
            self.holds_before.add(&holds);
            for watched in self.watches.values_mut() {
                let now = std::mem::take(&mut watched.now);
                watched.before.add(now);
                (watched.is_sent, watched.is_on) = (false, false);
            }
        }
        let Some(channel) = channel else { return };
        if let Some(hold) = &self.hold
            && !self.is_hold_sent
        {
            match Request::Hold(hold.clone()).encode() {
                Ok(message) if channel.send(&message) == Sent::Done => self.is_hold_sent = true,
                Ok(_) => return,
                // The configuration bounds it: it fits.
                Err(error) => tracing::error!(%error, "starts cannot be held"),
            }
        }
        for watched in self.watches.values_mut().filter(|watched| !watched.is_sent) {
            match Request::Watch(watched.watch.clone()).encode() {
                Ok(message) => match channel.send(&message) {
                    Sent::Done => watched.is_sent = true,
                    Sent::Full | Sent::Ended => return,
                },
                Err(error) => {
                    watched.is_sent = true;
                    watched.problem = Some(error.to_string());
                }
            }
        }
    }

    /// Takes note of what the process tells of itself. A container that it could not answer for is forgotten, so that it can
    /// be tried again with what is known then.
    pub fn note(&mut self, state: State) {
        match state {
            State::Ready | State::Failed { .. } => {}
            State::Watching { container } => {
                if let Some(watched) = self.watches.get_mut(&container) {
                    (watched.is_on, watched.problem) = (true, None);
                }
            }
            State::NotWatching { container, reason } => {
                tracing::debug!(container, reason, "not answered for");
                if let Some(watched) = self.watches.remove(&container) {
                    self.gone.add(watched.counts());
                }
            }
            State::Holds(counts) => {
                if counts.at_bound > self.holds.at_bound {
                    tracing::warn!(
                        starts = counts.at_bound - self.holds.at_bound,
                        "starts of containers were held for as long as they may"
                    );
                }
                self.holds = counts;
            }
            State::Counts { container, counts } => {
                if let Some(watched) = self.watches.get_mut(&container) {
                    watched.now = counts;
                }
            }
        }
    }

    /// What became of a container's executions.
    #[must_use]
    pub fn counts(&self, container: u64) -> Counts {
        self.watches
            .get(&container)
            .map(Watched::counts)
            .unwrap_or_default()
    }

    /// What became of the executions of containers that are gone.
    #[must_use]
    pub fn past_counts(&self) -> Counts {
        self.gone
    }

    /// Whether a container is answered for.
    #[must_use]
    pub fn is_answered(&self, container: u64) -> bool {
        let Some(shared) = &self.shared else {
            return false;
        };
        let is_present = {
            let state = shared.state();
            state.is_ready && state.number == self.sent_to
        };
        let watched = self.watches.get(&container);
        is_present && watched.is_some_and(|watched| watched.is_on)
    }

    /// Why a container is not answered for; `None` if it is.
    #[must_use]
    pub fn problem(&self, container: u64) -> Option<&str> {
        match self.watches.get(&container) {
            Some(watched) if watched.is_on => None,
            Some(watched) => Some(watched.problem.as_deref().unwrap_or("not yet")),
            None => Some("not yet"),
        }
    }

    /// What became of the runtimes' starts; `None` if they are not to be held.
    #[must_use]
    pub fn holds(&self) -> Option<HoldCounts> {
        self.hold.as_ref()?;
        let mut counts = self.holds.clone();
        counts.add(&self.holds_before);
        Some(counts)
    }

    /// How the process is; `None` if there is to be none.
    #[must_use]
    pub fn health(&self) -> Option<Health> {
        let mut counts = self.gone;
        for watched in self.watches.values() {
            counts.add(watched.counts());
        }
        let Some(shared) = &self.shared else {
            return self.off.as_ref().map(|reason| Health {
                reason: Some(reason.clone()),
                ..Health::default()
            });
        };
        let state = shared.state();
        Some(Health {
            is_answering: state.is_ready,
            reason: state.reason.clone(),
            ended: state.ended,
            containers: self.watches.values().filter(|watched| watched.is_on).count(),
            counts,
        })
    }

    fn channel(&self) -> Option<Arc<Channel>> {
        self.shared.as_ref()?.state().channel.clone()
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        let Some(shared) = &self.shared else { return };
        let mut state = shared.state();
        state.is_over = true;
        if let Some(channel) = state.channel.take() {
            channel.end();
        }
    }
}

impl Watched {
    fn counts(&self) -> Counts {
        let mut counts = self.before;
        counts.add(self.now);
        counts
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, ProcessState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs one process after the other.
    fn look_after(&self, told: &mpsc::Sender<Told>) {
        let mut pause = PAUSE;
        loop {
            let started = Instant::now();
            let ended = self.run_one(told);
            {
                let mut state = self.state();
                (state.channel, state.is_ready) = (None, false);
                if state.is_over {
                    return;
                }
                state.ended += 1;
                // The process's own words say more than how it ended.
                let reason = state.failure.take().unwrap_or(ended);
                tracing::warn!(
                    reason,
                    "the process that answers executions ended; it is started again"
                );
                state.reason = Some(reason);
            }
            pause = if started.elapsed() >= HAS_WORKED {
                PAUSE
            } else {
                pause
            };
            std::thread::sleep(pause);
            pause = (pause * 2).min(PAUSE_MAX);
            if self.state().is_over {
                return;
            }
        }
    }

    /// Starts a process and listens to it until it ends. Returns how it ended.
    fn run_one(&self, told: &mpsc::Sender<Told>) -> String {
        let (mut child, channel) = match self.spawn() {
            Ok(started) => started,
            Err(error) => return format!("cannot be started: {error}"),
        };
        let channel = Arc::new(channel);
        {
            let mut state = self.state();
            state.channel = Some(Arc::clone(&channel));
            state.number += 1;
            if state.is_over {
                channel.end();
            }
        }
        loop {
            match channel.wait() {
                Received::Message(message) => match Told::decode(&message) {
                    Ok(words) => {
                        self.hear(&words);
                        if told.blocking_send(words).is_err() {
                            channel.end();
                        }
                    }
                    Err(error) => tracing::error!(%error, "the answering process is not understood"),
                },
                Received::Nothing => {}
                Received::Ended => break,
            }
        }
        channel.end();
        how_it_ended(&mut child)
    }

    /// Takes note of what concerns the process as a whole.
    fn hear(&self, words: &Told) {
        match words {
            Told::State(State::Ready) => self.state().is_ready = true,
            Told::State(State::Failed { reason }) => self.state().failure = Some(reason.clone()),
            Told::State(_) | Told::Record(_) => {}
        }
    }

    fn spawn(&self) -> std::io::Result<(Child, Channel)> {
        let (own, its) = Channel::pair()?;
        let child = Command::new("/proc/self/exe")
            .arg("answer-execs")
            .arg("--maps")
            .arg(&self.maps)
            .env_clear()
            // What a terminal sends to the agent is not for it.
            .process_group(0)
            .stdin(Stdio::from(its.into_socket()))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok((child, own))
    }
}

/// Waits for the end of a process that has ended its conversation.
fn how_it_ended(child: &mut Child) -> String {
    let deadline = Instant::now() + END_WITHIN;
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break Ok(status),
            Ok(None) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(5)),
            Ok(None) => {
                // It fails only if the process has ended.
                let _ = child.kill();
                break child.wait();
            }
            Err(error) => break Err(error),
        }
    };
    status.map_or_else(|error| error.to_string(), describe)
}

fn describe(status: ExitStatus) -> String {
    match status.signal() {
        Some(9) => "it was killed: by somebody, or because it did not answer for a second".to_owned(),
        _ => format!("it ended with {status}"),
    }
}
