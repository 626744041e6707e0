//! The engine: the one task that owns the containers, the profile store, the kernel's maps and the folding of alerts.
//!
//! Input: records of the ring buffer, requests of the control socket, results of content checks, answers of runtimes, the
//! passing of time.
//! Output: rules and policies in the kernel, profiles in the store, alert lines. Everything in here is plain function
//! calls in the order resolve, compare, decide, then learn, act or alert; only [`Engine::run`] waits.
//!
//! Failure: what cannot be decoded or attributed is counted; a store that cannot be written is logged, and what was to be
//! learned stays unknown, so that the kernel sends it again; an output that nobody reads stops the engine, whereupon the
//! ring buffer fills and the kernel counts what it loses. A task that ends unexpectedly ends the agent.

mod alert;
mod answer;
mod canary;
mod container;
mod content;
mod counters;
mod coverage;
mod event;
mod inherit;
mod inquiry;
mod learn;
mod locate;
mod lost;
mod policy;
mod progress;
mod proposals;
pub mod pulse;
pub mod reconfigure;
mod request;
mod resolve;
mod signed;
mod status;
mod unsettled;
mod window;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use agent_common::record::Checkpoint;
use agent_common::rule::BehaviourKey;
use aya::maps::{MapData, RingBuf};
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::alert::fold::{Fold, FoldKey};
use crate::alert::model::Alert;
use crate::alert::time::{BootClock, since_boot};
use crate::answer::{Answering, Told};
use crate::config::Config;
use crate::container::layout::Detected;
use crate::container::runtimes::Runtimes;
use crate::control::connection::EngineRequest;
use crate::control::feed::AlertFeed;
use crate::control::view::TierView;
use crate::decode::duplicate::Duplicates;
use crate::kernel::error::LoadError;
use crate::kernel::load::Kernel;
use crate::kernel::maps::{Maps, MapsError};
use crate::kernel::memory;
use crate::kernel::pin::PinDirectory;
use crate::kernel::ring::RingPositions;
use crate::kernel::self_test;
use crate::kernel::tier::{self, Proved};
use crate::metrics::Metrics;
use crate::metrics::fact::{AlertRaised, KernelFailed, KernelOperation};
use crate::profile::signed::ByDomain;
use crate::profile::store::ProfileStore;
use crate::publish::Publisher;
use crate::spool::{Batch, SpoolState};
use canary::Canary;
use container::Tracked;
use content::{Checked, ContentChecker, ContentMemory, Held};
use coverage::Coverages;
use inherit::{Compared, Comparer, Successions};
use inquiry::{Answered, Inquirer};
use pulse::Pulse;
use reconfigure::Reconfigure;
use unsettled::Unsettled;

/// Records that are handled before the engine looks at anything else.
const BATCH_RECORDS: usize = 512;
/// Most alerts of a batch.
const BATCH_ALERTS: usize = 512;
/// Alerts that are kept while the spool takes none. At the bound the engine waits, the ring buffer fills, and the kernel counts what it
/// loses.
pub const READY_MAX: usize = 4_096;
/// How often the engine looks at what waits and what is due.
const TICK: Duration = Duration::from_millis(50);
/// How often it does while nothing waits for anything: each look wakes a processor.
const IDLE_TICK: Duration = Duration::from_millis(500);
/// How often the containers that exist are compared with those that are known: the net under lost cgroup records.
const SWEEP: Duration = Duration::from_secs(5);

/// What the engine is made of.
pub struct Parts {
    /// The configuration.
    pub config: Config,
    /// The attached programs.
    pub kernel: Kernel,
    /// Their maps.
    pub maps: Maps,
    /// The profile store.
    pub store: ProfileStore,
    /// The container runtimes.
    pub runtimes: Runtimes,
    /// Where cgroup ids come from.
    pub layout: Detected,
    /// Who reads alerts at the control socket.
    pub feed: Arc<AlertFeed>,
    /// What facts add up to.
    pub metrics: Metrics,
    /// Where the reader of the records stands.
    pub positions: RingPositions,
    /// How far an agent before this one has come with them, and what the wall clock showed when the boot-time clock was zero, as alerts' ids
    /// have it.
    pub checkpoint: Checkpoint,
    /// What of them was to be read again and is lost.
    pub overwritten_bytes: u64,
    /// Alerts, for the spool. While it takes none the engine keeps [`READY_MAX`], then it waits.
    pub alerts: mpsc::Sender<Batch>,
    /// How the spool and the sinks are doing.
    pub spool: Arc<SpoolState>,
    /// Where it is told that the engine turns.
    pub pulse: Arc<Pulse>,
    /// Other configurations, while it runs.
    pub reconfigures: mpsc::Receiver<Reconfigure>,
}

/// The engine.
pub struct Engine {
    config: Config,
    kernel: Kernel,
    maps: Maps,
    publisher: Publisher,
    store: ProfileStore,
    runtimes: Runtimes,
    inquirer: Inquirer,
    /// What runtimes answer.
    answers: Option<mpsc::Receiver<Answered>>,
    layout: Detected,
    feed: Arc<AlertFeed>,
    metrics: Metrics,
    positions: RingPositions,
    /// What the programs of an agent before this one tell, too.
    duplicates: Duplicates,
    unsettled: Unsettled,
    /// The checkpoint that was sent last.
    checkpoint: Checkpoint,
    overwritten_bytes: u64,
    alerts: mpsc::Sender<Batch>,
    spool: Arc<SpoolState>,
    pulse: Arc<Pulse>,
    reconfigures: Option<mpsc::Receiver<Reconfigure>>,
    clock: BootClock,
    started: Duration,
    /// By cgroup id.
    containers: HashMap<u64, Tracked>,
    /// Paths of cgroups in which containers appeared, by id.
    parents: HashMap<u64, Vec<u8>>,
    /// The agent's own cgroup, which is never enforced upon.
    own_cgroup: Option<u64>,
    fold: Fold<FoldKey>,
    /// Alerts that are ready to go out.
    ready: VecDeque<Alert>,
    checker: ContentChecker,
    held: HashMap<u64, Held>,
    memory: ContentMemory,
    comparer: Comparer,
    /// What the comparer finds.
    likenesses: Option<mpsc::Receiver<Compared>>,
    successions: Successions,
    /// What answers before executions, and holds starts.
    answering: Answering,
    /// It is to answer for containers' root filesystems: the lite tier.
    answers_executions: bool,
    /// What it tells.
    heard: Option<mpsc::Receiver<Told>>,
    attempts: answer::Attempts,
    counters: EngineCounters,
    /// What was told of lost records so far.
    losses_told: lost::Losses,
    last_sweep: Duration,
    /// Containers that went while no agent ran were looked for.
    has_entered_gone: bool,
    /// Number of the observation window that is open.
    last_window: u64,
    /// By cgroup id: the containers that went since it began.
    departed: HashMap<u64, window::Departed>,
    /// What was learned since the last window ended: it was seen in this one, which the kernel counts only from the next time
    /// on. No more than the profiles of the containers have room for.
    learned_now: HashSet<BehaviourKey>,
    coverages: Coverages,
    canary: Canary,
    /// The domains in which profiles permit what a trusted key has signed, by number, as far as that was asked.
    signed: HashMap<u32, ByDomain>,
}

/// What only the engine can count. Only ever incremented.
#[derive(Clone, Copy, Debug, Default)]
struct EngineCounters {
    /// Records that are no records.
    undecodable: u64,
    /// Records of what the programs of an agent before this one told, too.
    duplicate: u64,
    /// Records whose container was never found out, and that were no drift.
    unattributed: u64,
    /// Behaviours that could not be learned because their profile is full.
    not_learned: u64,
    /// Of containers that are gone.
    gone: counters::DomainCounters,
}

impl Engine {
    /// An engine that knows no container yet. Returns it and where the results of content checks come from. To be called
    /// within a tokio runtime.
    #[must_use]
    pub fn new(parts: Parts) -> (Self, mpsc::Receiver<Option<Checked>>) {
        let (checker, results) = ContentChecker::start();
        let (inquirer, answers) = Inquirer::start();
        let (comparer, likenesses) = Comparer::start();
        let own_cgroup = container::own_cgroup(&parts.layout.layout);
        let now = since_boot();
        let engine = Self {
            publisher: Publisher::new(parts.kernel.hash_key),
            fold: Fold::new(parts.config.limits.fold),
            config: parts.config,
            kernel: parts.kernel,
            maps: parts.maps,
            store: parts.store,
            runtimes: parts.runtimes,
            inquirer,
            answers: Some(answers),
            layout: parts.layout,
            feed: parts.feed,
            metrics: parts.metrics,
            positions: parts.positions,
            duplicates: Duplicates::default(),
            unsettled: Unsettled::new(&parts.checkpoint),
            checkpoint: parts.checkpoint,
            overwritten_bytes: parts.overwritten_bytes,
            alerts: parts.alerts,
            spool: parts.spool,
            pulse: parts.pulse,
            reconfigures: Some(parts.reconfigures),
            clock: BootClock::sample(),
            started: now,
            containers: HashMap::new(),
            parents: HashMap::new(),
            own_cgroup,
            ready: VecDeque::new(),
            checker,
            held: HashMap::new(),
            memory: ContentMemory::default(),
            comparer,
            likenesses: Some(likenesses),
            successions: Successions::default(),
            answering: Answering::off(None, None),
            answers_executions: false,
            heard: None,
            attempts: answer::Attempts::default(),
            counters: EngineCounters::default(),
            losses_told: lost::Losses::default(),
            last_sweep: Duration::ZERO,
            has_entered_gone: false,
            last_window: window::window(now),
            departed: HashMap::new(),
            learned_now: HashSet::new(),
            coverages: Coverages::default(),
            canary: Canary::default(),
            signed: HashMap::new(),
        };
        (engine, results)
    }

    /// Attaches the programs, tests them, and enters the containers that run.
    ///
    /// The host's root is noted before anything is judged. Containers that appear from the attachment on are entered by
    /// the kernel, those before it by the sweep, and their tasks by the iterator. What an earlier agent left in force stays so,
    /// container by container, until its own policy is found.
    pub fn attach(&mut self) -> Result<(), LoadError> {
        let is_takeover = self.kernel.pins().is_some_and(PinDirectory::is_inherited);
        self.kernel.iterate_tasks()?;
        self.kernel.attach()?;
        if let Err(error) = self_test::prove(&mut self.kernel, &mut self.maps) {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "it is not proved what this kernel can do"
            );
        }
        if is_takeover {
            self.take_over()?;
        }
        self.sweep();
        self.begin_canary();
        self.kernel.iterate_tasks()?;
        self.stop_observing_what_is_not_wanted();
        self.kernel.prepare_to_observe();
        Ok(())
    }

    /// What an earlier agent left in the maps, other than the containers.
    fn take_over(&mut self) -> Result<(), MapsError> {
        let left = self.maps.published()?;
        let repeats = self.maps.clear_seen()?;
        tracing::info!(
            generations = left.len(),
            repeats,
            "taking over from an earlier agent; repeats are of alerts that it has sent"
        );
        self.publisher.inherit(left);
        Ok(())
    }

    /// What the attached programs can do, per domain.
    #[must_use]
    pub fn tiers(&self) -> Vec<TierView> {
        tier::tiers(Proved {
            answers: self.answers_executions && self.answering.is_on(),
            ..self.kernel.proved()
        })
    }

    /// Runs until `stop`.
    pub async fn run(
        mut self,
        mut events: AsyncFd<RingBuf<MapData>>,
        mut checked: mpsc::Receiver<Option<Checked>>,
        mut requests: mpsc::Receiver<EngineRequest>,
        stop: impl Future<Output = ()>,
    ) -> std::io::Result<()> {
        let mut pause = TICK;
        let tick = tokio::time::sleep(pause);
        tokio::pin!(stop, tick);
        // Without an answering process nothing is ever heard.
        let mut heard = self.heard.take().unwrap_or_else(|| mpsc::channel(1).1);
        let mut answers = self.answers.take().unwrap_or_else(|| mpsc::channel(1).1);
        let mut likenesses = self.likenesses.take().unwrap_or_else(|| mpsc::channel(1).1);
        let mut canary = self.canary.heard.take().unwrap_or_else(|| mpsc::channel(1).1);
        let mut reconfigures = self.reconfigures.take().unwrap_or_else(|| mpsc::channel(1).1);
        loop {
            let mut is_tick = false;
            tokio::select! {
                guard = events.readable_mut() => {
                    let mut guard = guard?;
                    if self.take_records(guard.get_inner_mut()) < BATCH_RECORDS {
                        guard.clear_ready();
                    }
                }
                Some((request, answer)) = requests.recv() => {
                    // The records that were there before the request are part of what it asks about.
                    let end = self.positions.writers();
                    while self.positions.reader() < end && self.take_records(events.get_mut()) > 0 {
                        self.send_ready().await;
                    }
                    let response = self.answer(request);
                    // The client may have gone.
                    let _ = answer.send(response);
                }
                result = checked.recv() => {
                    let ended = || std::io::Error::other("a thread that reads contents has ended");
                    self.content_checked(result.flatten().ok_or_else(ended)?);
                    // What is there goes to the spool together. No more come than the engine itself has asked for.
                    while let Ok(more) = checked.try_recv() {
                        self.content_checked(more.ok_or_else(ended)?);
                    }
                }
                Some(told) = heard.recv() => self.hear(told),
                Some(heard) = canary.recv() => self.canary_heard(heard),
                Some(other) = reconfigures.recv() => self.reconfigure(other),
                answered = answers.recv() => {
                    let ended = || std::io::Error::other("the task that asks runtimes has ended");
                    self.answered(answered.ok_or_else(ended)?);
                }
                found = likenesses.recv() => {
                    let ended = || std::io::Error::other("the thread that compares images has ended");
                    self.compared(found.ok_or_else(ended)?);
                }
                () = &mut tick => {
                    self.pass_time();
                    self.send_checkpoint();
                    is_tick = true;
                }
                () = &mut stop => break,
            }
            self.send_ready().await;
            let wanted = if is_tick && self.is_quiet() {
                IDLE_TICK
            } else {
                TICK
            };
            if is_tick || wanted < pause {
                pause = wanted;
                tick.as_mut().reset(Instant::now() + pause);
            }
            self.pulse.turned(self.containers.len());
        }
        while self.take_records(events.get_mut()) == BATCH_RECORDS {}
        self.end_canary();
        self.release_held(Duration::MAX);
        let last = self.fold.flush();
        self.ready.extend(last);
        while !self.ready.is_empty() {
            self.wait_for_spool().await;
        }
        self.send_checkpoint();
        if self.config.teardown_on_exit {
            let removed = self.kernel.teardown().map_err(std::io::Error::other)?;
            tracing::info!(removed = removed.len(), "nothing is enforced any more");
        }
        Ok(())
    }

    /// Nothing waits for anything that is due before long.
    fn is_quiet(&self) -> bool {
        let soon = Self::now() + IDLE_TICK;
        let is_quiet = |tracked: &Tracked| {
            let is_verified = tracked.next_verification.is_none_or(|(due, _)| due > soon);
            tracked.search().is_none() && tracked.awaited.is_none() && !tracked.is_removed() && is_verified
        };
        self.ready.is_empty()
            && self.held.is_empty()
            && self.fold.next_due().is_none_or(|due| due > soon)
            && self.attempts.is_empty()
            && self.containers.values().all(is_quiet)
    }

    /// Does what is due.
    fn pass_time(&mut self) {
        let now = since_boot();
        self.clock = BootClock::sample();
        if now.saturating_sub(self.last_sweep) >= SWEEP {
            self.sweep();
            self.stop_observing_what_is_not_wanted();
            self.tell_losses();
        }
        self.observe_what_is_wanted();
        self.resolve_pending(now);
        self.end_awaits(now);
        self.release_held(now);
        self.verify_accepted(now);
        self.end_folds(now);
        let window = self.last_window;
        self.count_windows(now);
        self.remove_gone(now);
        self.hand_over(now);
        self.pass_canary(now);
        let removed = self.publisher.remove_retired(&mut self.maps, now);
        if let Err(error) = &removed {
            self.metrics
                .tell(&KernelFailed::new(KernelOperation::Retire, error));
        }
        // What the lists of rules took; and what documents and the window did.
        if removed.unwrap_or(true) || self.last_window != window {
            memory::give_back();
        }
    }

    /// Sends what is ready, in order. Waits while the spool takes nothing and there is much.
    async fn send_ready(&mut self) {
        while !self.ready.is_empty() {
            let alerts = self.alerts.clone();
            match alerts.try_reserve() {
                Ok(permit) => permit.send(self.next_batch()),
                Err(_) if self.ready.len() < READY_MAX => return,
                Err(_) => self.wait_for_spool().await,
            }
        }
    }

    /// Sends a batch as soon as the spool takes it.
    async fn wait_for_spool(&mut self) {
        let alerts = self.alerts.clone();
        match alerts.reserve().await {
            Ok(permit) => permit.send(self.next_batch()),
            // It ends only with the agent.
            Err(_) => self.ready.clear(),
        }
    }

    fn next_batch(&mut self) -> Batch {
        let count = self.ready.len().min(BATCH_ALERTS);
        let lines = self
            .ready
            .drain(..count)
            .map(|alert| {
                self.metrics.tell(&AlertRaised { alert: &alert });
                alert.to_line().into()
            })
            .collect();
        self.checkpoint = self.unsettled.checkpoint(self.positions.reader());
        Batch {
            lines,
            checkpoint: Some(self.checkpoint),
        }
    }

    /// Lets the next agent not read again what has led to nothing that would be told.
    fn send_checkpoint(&mut self) {
        let checkpoint = self.unsettled.checkpoint(self.positions.reader());
        if self.ready.is_empty() && checkpoint != self.checkpoint {
            let batch = Batch {
                lines: Vec::new(),
                checkpoint: Some(checkpoint),
            };
            if self.alerts.try_send(batch).is_ok() {
                self.checkpoint = checkpoint;
            }
        }
    }
}
