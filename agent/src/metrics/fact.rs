//! Operational facts: one type for each, which knows its line in the log and its figure.
//!
//! Input: what happened, as whoever saw it has it. Output: a log line and an increment ([`super::Metrics::tell`]). Failure: none.
//! Log and metrics can thus not tell different stories, and the place where something happens says it once.

use std::error::Error;
use std::fmt::Display;

use agent_common::domain::Domain;

use super::{Label, Metrics};
use crate::alert::model::Alert;
use crate::canary::attempt::{CanaryResult, Outcome};
use crate::tag::Tag as _;

/// Something that happened.
pub trait Fact {
    /// Writes it to the log.
    fn log(&self);
    /// Counts it.
    fn count(&self, metrics: &Metrics);
}

/// An alert went out.
#[derive(Debug)]
pub struct AlertRaised<'a> {
    /// The alert.
    pub alert: &'a Alert,
}

/// Records of the kernel programs were lost.
#[derive(Debug)]
pub struct RecordsLost {
    /// Of which domain.
    pub domain: Domain,
    /// Why.
    pub cause: LossCause,
    /// How many, since the last time that this was told.
    pub records: u64,
}

/// The profile store did not take something.
#[derive(Debug)]
pub struct StoreFailed<'a> {
    operation: StoreOperation,
    subject: Option<&'a dyn DisplayDebug>,
    error: &'a (dyn Error + 'static),
}

/// The kernel did not take or tell something.
#[derive(Debug)]
pub struct KernelFailed<'a> {
    operation: KernelOperation,
    subject: Option<&'a dyn DisplayDebug>,
    error: &'a (dyn Error + 'static),
}

/// It was not found out in time which image a container has.
#[derive(Debug)]
pub struct ContainerUnresolved<'a> {
    /// The container: its id, or its cgroup's name.
    pub container: &'a dyn DisplayDebug,
    /// Why not.
    pub reason: &'a str,
    /// All else is known, so that it has a profile of its own; otherwise only drift is told of it.
    pub provisional: bool,
}

/// A container is not watched.
#[derive(Debug)]
pub struct ContainerUntracked<'a> {
    /// Its cgroup's name.
    pub container: &'a dyn DisplayDebug,
    /// What was full.
    pub cause: UntrackedCause,
}

/// The canary has tried.
#[derive(Debug)]
pub struct CanaryTried<'a> {
    /// What came of it.
    pub outcome: &'a Outcome,
}

/// What a log line can show.
pub trait DisplayDebug: Display + std::fmt::Debug {}

impl<T: Display + std::fmt::Debug> DisplayDebug for T {}

/// Words of one label, each with what the log says.
macro_rules! operations {
    ($(#[$about:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident => $word:literal, $line:literal;)+ }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name {
            $($(#[$doc])* $variant,)+
        }

        impl $name {
            /// All of them.
            pub const ALL: [Self; [$($word),+].len()] = [$(Self::$variant),+];

            /// The word in metrics.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }

            /// What the log says.
            const fn line(self) -> &'static str {
                match self {
                    $(Self::$variant => $line,)+
                }
            }
        }
    };
}

operations! {
    /// What was to be written to the profile store.
    StoreOperation {
        /// New behaviour.
        Learn => "learn", "nothing was learned; the kernel will send it again";
        /// A container that was observed.
        CountInstance => "count_instance", "an instance was not counted";
        /// What a window brought.
        CountWindow => "count_window", "the evidence of a window was not kept";
        /// A profile of a container without image.
        ProvisionalProfile => "provisional_profile", "no provisional profile";
        /// The same, to be removed.
        ForgetProvisional => "forget_provisional", "a provisional profile stays";
        /// A profile in the place of one that was removed.
        NewProfile => "new_profile", "no new profile";
        /// What an image before has in common.
        Inherit => "inherit", "nothing was taken over";
        /// The layers of an image.
        NoteLayers => "note_layers", "layers are not noted";
    }
}

operations! {
    /// What was asked of the kernel.
    KernelOperation {
        /// A profile's rules.
        Publish => "publish", "profile not in force";
        /// Rules that have been replaced, to be removed.
        Retire => "retire", "rules of a replaced generation stay in the kernel";
        /// A domain's programs, to be attached.
        Observe => "observe", "not observed";
        /// What containers did in a window.
        Evidence => "evidence", "no evidence for this window";
    }
}

operations! {
    /// Why a record was lost.
    LossCause {
        /// The ring buffer had no room.
        Ring => "ring", "records lost, the ring buffer was full: what they told is not known";
        /// The container's quota was used up.
        Quota => "quota", "records lost, the quota of a container was used up: what they told is not known";
    }
}

operations! {
    /// Why a container is not watched.
    UntrackedCause {
        /// Found by a kernel program as its cgroup was made.
        Tables => "tables", "a container is not tracked: the kernel's tables are full";
        /// Found by the agent.
        Slots => "slots", "a container is not tracked: all slots are taken";
    }
}

/// The label of a container without image.
pub(super) const fn outcome(provisional: bool) -> Label {
    ("outcome", if provisional { "provisional" } else { "unresolved" })
}

// === impl StoreFailed ===

impl<'a> StoreFailed<'a> {
    /// What was to be written, and why it failed.
    #[must_use]
    pub fn new(operation: StoreOperation, error: &'a (dyn Error + 'static)) -> Self {
        Self {
            operation,
            subject: None,
            error,
        }
    }

    /// Of which profile, image or domain.
    #[must_use]
    pub fn about(self, subject: &'a dyn DisplayDebug) -> Self {
        Self {
            subject: Some(subject),
            ..self
        }
    }
}

// === impl KernelFailed ===

impl<'a> KernelFailed<'a> {
    /// What was tried, and why it failed.
    #[must_use]
    pub fn new(operation: KernelOperation, error: &'a (dyn Error + 'static)) -> Self {
        Self {
            operation,
            subject: None,
            error,
        }
    }

    /// Of which profile, image or domain.
    #[must_use]
    pub fn about(self, subject: &'a dyn DisplayDebug) -> Self {
        Self {
            subject: Some(subject),
            ..self
        }
    }
}

// === impl Fact ===

impl Fact for AlertRaised<'_> {
    fn log(&self) {
        let Alert { id, kind, .. } = self.alert;
        tracing::debug!(%id, kind = kind.as_str(), "alert");
    }

    fn count(&self, metrics: &Metrics) {
        let labels = [
            ("kind", self.alert.kind.as_str()),
            ("action", self.alert.action.taken.word()),
        ];
        metrics.alerts_raised.get_or_create(&labels).inc();
        let labels = [("severity", self.alert.severity.as_str())];
        metrics.alerts_by_severity.get_or_create(&labels).inc();
    }
}

impl Fact for RecordsLost {
    fn log(&self) {
        tracing::warn!(domain = %self.domain, records = self.records, "{}", self.cause.line());
    }

    fn count(&self, metrics: &Metrics) {
        let labels = [("domain", self.domain.as_str()), ("cause", self.cause.as_str())];
        metrics.records_lost.get_or_create(&labels).inc_by(self.records);
    }
}

impl Fact for StoreFailed<'_> {
    fn log(&self) {
        let subject = self.subject.map(tracing::field::display);
        tracing::error!(error = self.error, subject, "{}", self.operation.line());
    }

    fn count(&self, metrics: &Metrics) {
        let labels = [("operation", self.operation.as_str())];
        metrics.store_failures.get_or_create(&labels).inc();
    }
}

impl Fact for KernelFailed<'_> {
    fn log(&self) {
        let subject = self.subject.map(tracing::field::display);
        tracing::error!(error = self.error, subject, "{}", self.operation.line());
    }

    fn count(&self, metrics: &Metrics) {
        let labels = [("operation", self.operation.as_str())];
        metrics.kernel_failures.get_or_create(&labels).inc();
    }
}

impl Fact for ContainerUnresolved<'_> {
    fn log(&self) {
        let (container, reason) = (self.container, self.reason);
        if self.provisional {
            tracing::warn!(%container, reason, "image unknown: the container has a provisional profile of its own");
        } else {
            tracing::warn!(%container, reason, "image unknown: only drift is told");
        }
    }

    fn count(&self, metrics: &Metrics) {
        let labels = [outcome(self.provisional)];
        metrics.images_unknown.get_or_create(&labels).inc();
    }
}

impl Fact for ContainerUntracked<'_> {
    fn log(&self) {
        tracing::error!(container = %self.container, "{}", self.cause.line());
    }

    fn count(&self, metrics: &Metrics) {
        let labels = [("cause", self.cause.as_str())];
        metrics.containers_untracked.get_or_create(&labels).inc();
    }
}

impl Fact for CanaryTried<'_> {
    fn log(&self) {
        let Outcome {
            result,
            program,
            from_hook,
            from_start,
            reason,
        } = self.outcome;
        let reason = reason.as_deref();
        match result {
            CanaryResult::Caught => tracing::debug!(?program, ?from_hook, ?from_start, "canary caught"),
            CanaryResult::NotStopped => {
                tracing::error!(reason, "canary not stopped: what is to be enforced is not");
            }
            CanaryResult::Missed => {
                tracing::error!(reason, ?program, "canary missed: drift may not be told");
            }
            CanaryResult::Failed => tracing::warn!(reason, "canary not tried"),
        }
    }

    fn count(&self, metrics: &Metrics) {
        let labels = [("result", self.outcome.result.as_str())];
        metrics.canaries.get_or_create(&labels).inc();
    }
}
