//! What `driftlock top` knows, and what news and keys make of it.
//!
//! Input: [`Input`]. Output: [`State`], for [`super::frame`] to draw. Failure: none; what cannot be understood is left out. Pure: time comes
//! with the samples.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use crate::alert::model::Alert;
use crate::cli::show::attention::lost;
use crate::control::view::{ContainerView, ProfileSummary, StatusView};

/// Most alerts that are kept, and most that wait while the view is paused. The oldest go.
const ALERTS_MAX: usize = 500;
/// Containers by which the selection moves with the page keys.
const PAGE: usize = 10;

/// Something that happened.
#[derive(Debug)]
pub enum Input {
    /// The agent answered.
    Sample(Box<Sample>),
    /// The agent did not answer, and why.
    Lost(String),
    /// An alert, as a line of the stream.
    Alert(String),
    /// A key was pressed.
    Key(Key),
}

/// What the agent said at one time.
#[derive(Clone, Debug)]
pub struct Sample {
    /// When, on a clock that only goes forward.
    pub at: Duration,
    /// How the agent is.
    pub status: StatusView,
    /// Its containers.
    pub containers: Vec<ContainerView>,
    /// Its profiles.
    pub profiles: Vec<ProfileSummary>,
}

/// The keys that mean something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// End.
    Quit,
    /// Sort by the next column.
    Sort,
    /// Turn the order round.
    Reverse,
    /// Stop, or go on.
    Pause,
    /// Select the container above.
    Up,
    /// Select the container below.
    Down,
    /// Select one a page above.
    PageUp,
    /// Select one a page below.
    PageDown,
    /// Select the first.
    First,
    /// Select the last.
    Last,
}

/// What containers are sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// Name.
    Name,
    /// Strictness of the mode, the strictest first.
    Mode,
    /// Records per second, the most first.
    Records,
    /// Processes killed and operations denied, the most first.
    Stopped,
    /// Records lost, the most first.
    Lost,
}

/// Whether the agent answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Connection {
    /// It was not heard of yet.
    Waiting,
    /// It answers.
    Connected,
    /// It does not, and why; it is asked again.
    Lost(String),
}

/// Events per second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rates {
    /// Records that hooks had to send.
    pub records: f64,
    /// Alerts that went out.
    pub alerts: f64,
    /// Records that were lost.
    pub lost: f64,
}

/// What is known.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is an answer of its own")]
pub struct State {
    /// The agent's control socket.
    pub socket: String,
    /// Whether colour is wanted.
    pub colour: bool,
    /// Whether the agent answers.
    pub connection: Connection,
    /// What it said last.
    pub sample: Option<Sample>,
    /// Rates between its last two answers.
    pub rates: Rates,
    /// Records per second of each container, by its cgroup.
    pub container_rates: HashMap<u64, f64>,
    /// The latest alerts, the latest first.
    pub alerts: VecDeque<Alert>,
    /// How many lines of alerts this reader missed, or did not understand.
    pub unread: u64,
    /// What containers are sorted by.
    pub sort: Sort,
    /// Whether the order is turned round.
    pub is_reversed: bool,
    /// Whether what is shown stays as it is.
    pub is_paused: bool,
    /// Alerts that came while it does.
    pub waiting: VecDeque<Alert>,
    /// The cgroup of the container that is selected.
    selected: Option<u64>,
    is_over: bool,
}

// === impl Sort ===

impl Sort {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Mode => "mode",
            Self::Records => "records/s",
            Self::Stopped => "stopped",
            Self::Lost => "lost",
        }
    }

    fn next(self) -> Self {
        match self {
            Self::Name => Self::Mode,
            Self::Mode => Self::Records,
            Self::Records => Self::Stopped,
            Self::Stopped => Self::Lost,
            Self::Lost => Self::Name,
        }
    }
}

// === impl State ===

impl State {
    /// What is known before anything happened.
    #[must_use]
    pub fn new(socket: String, colour: bool) -> Self {
        Self {
            socket,
            colour,
            connection: Connection::Waiting,
            sample: None,
            rates: Rates::default(),
            container_rates: HashMap::new(),
            alerts: VecDeque::new(),
            unread: 0,
            sort: Sort::Name,
            is_reversed: false,
            is_paused: false,
            waiting: VecDeque::new(),
            selected: None,
            is_over: false,
        }
    }

    /// Whether the user has enough.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.is_over
    }

    /// Takes in what happened.
    pub fn take(&mut self, input: Input) {
        match input {
            Input::Sample(sample) => {
                self.connection = Connection::Connected;
                if !self.is_paused {
                    self.take_sample(*sample);
                }
            }
            Input::Lost(reason) => {
                self.connection = Connection::Lost(reason);
                self.rates = Rates::default();
                self.container_rates.clear();
            }
            Input::Alert(line) => self.take_alert(&line),
            Input::Key(key) => self.press(key),
        }
    }

    /// The containers in the order in which they are shown.
    #[must_use]
    pub fn containers(&self) -> Vec<&ContainerView> {
        let mut containers: Vec<_> = self.sample.iter().flat_map(|sample| &sample.containers).collect();
        let by_name = |one: &ContainerView| (one.name.is_none(), one.name.clone(), one.id.clone());
        containers.sort_by_cached_key(|one| by_name(one));
        // Stable: what is equal stays sorted by name.
        match self.sort {
            Sort::Name => {}
            Sort::Mode => {
                containers.sort_by_key(|one| {
                    std::cmp::Reverse(one.modes.iter().map(|mode| mode.mode.strictness()).max())
                });
            }
            Sort::Records => {
                containers.sort_by(|left, right| self.rate(right).total_cmp(&self.rate(left)));
            }
            Sort::Stopped => containers
                .sort_by_key(|one| std::cmp::Reverse(one.counters.kills.saturating_add(one.counters.denied))),
            Sort::Lost => containers.sort_by_key(|one| std::cmp::Reverse(lost(&one.counters))),
        }
        if self.is_reversed {
            containers.reverse();
        }
        containers
    }

    /// Records per second of a container.
    #[must_use]
    pub fn rate(&self, container: &ContainerView) -> f64 {
        self.container_rates
            .get(&container.cgroup)
            .copied()
            .unwrap_or_default()
    }

    /// The coverage of a container's profile, 0 to 1; `None` while there is too little to tell.
    #[must_use]
    pub fn coverage(&self, container: &ContainerView) -> Option<f64> {
        let mut profiles = self.sample.iter().flat_map(|sample| &sample.profiles);
        let its = profiles.find(|profile| {
            container.digest.as_ref() == Some(&profile.digest)
                && container.role.as_ref() == Some(&profile.role)
        })?;
        its.coverage
    }

    /// Where the selected container is in [`State::containers`].
    #[must_use]
    pub fn selected(&self) -> Option<usize> {
        let selected = self.selected?;
        self.containers().iter().position(|one| one.cgroup == selected)
    }

    fn take_sample(&mut self, sample: Sample) {
        if let Some(before) = &self.sample {
            let seconds = sample.at.saturating_sub(before.at).as_secs_f64();
            // Another agent counts anew.
            let is_same = before.status.pid == sample.status.pid;
            if seconds > 0.0 && is_same {
                let (earlier, later) = (&before.status, &sample.status);
                self.rates = Rates {
                    records: rate(earlier.counters.generated, later.counters.generated, seconds),
                    alerts: rate(earlier.alerts, later.alerts, seconds),
                    lost: rate(lost(&earlier.counters), lost(&later.counters), seconds),
                };
                let earlier: HashMap<u64, u64> = before
                    .containers
                    .iter()
                    .map(|one| (one.cgroup, one.counters.generated))
                    .collect();
                self.container_rates = sample
                    .containers
                    .iter()
                    .filter_map(|one| {
                        let before = *earlier.get(&one.cgroup)?;
                        Some((one.cgroup, rate(before, one.counters.generated, seconds)))
                    })
                    .collect();
            }
        }
        self.sample = Some(sample);
    }

    fn take_alert(&mut self, line: &str) {
        let Ok(alert) = serde_json::from_str::<Alert>(line) else {
            self.unread += 1;
            return;
        };
        // After a connection was lost the latest come again.
        let is_known = self
            .alerts
            .iter()
            .chain(&self.waiting)
            .any(|known| known.id == alert.id);
        if is_known {
            return;
        }
        let list = if self.is_paused {
            &mut self.waiting
        } else {
            &mut self.alerts
        };
        list.push_front(alert);
        list.truncate(ALERTS_MAX);
    }

    fn press(&mut self, key: Key) {
        match key {
            Key::Quit => self.is_over = true,
            Key::Sort => self.sort = self.sort.next(),
            Key::Reverse => self.is_reversed = !self.is_reversed,
            Key::Pause => {
                self.is_paused = !self.is_paused;
                while let Some(alert) = self.waiting.pop_back() {
                    self.alerts.push_front(alert);
                }
                self.alerts.truncate(ALERTS_MAX);
            }
            Key::Up => self.select(|at, _| at.map_or(0, |at| at.saturating_sub(1))),
            Key::Down => self.select(|at, last| at.map_or(0, |at| (at + 1).min(last))),
            Key::PageUp => self.select(|at, _| at.unwrap_or_default().saturating_sub(PAGE)),
            Key::PageDown => self.select(|at, last| (at.unwrap_or_default() + PAGE).min(last)),
            Key::First => self.select(|_, _| 0),
            Key::Last => self.select(|_, last| last),
        }
    }

    /// Selects the container at the place that `to` says, from that of the one that is selected and that of the last.
    fn select(&mut self, to: impl FnOnce(Option<usize>, usize) -> usize) {
        let containers = self.containers();
        let Some(last) = containers.len().checked_sub(1) else {
            return;
        };
        let place = to(self.selected(), last);
        self.selected = containers.get(place).map(|one| one.cgroup);
    }
}

/// How many per second; none where the count went back.
fn rate(before: u64, after: u64, seconds: f64) -> f64 {
    let number = u32::try_from(after.saturating_sub(before)).unwrap_or(u32::MAX);
    f64::from(number) / seconds
}
