//! Why kernel programs could not be loaded or attached, and how that is told.

use aya::EbpfError;
use aya::programs::ProgramError;
use aya::programs::links::LinkError;

use super::btf::BtfError;
use super::maps::MapsError;
use super::pin::PinError;

/// The kernel programs could not be loaded or attached.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// No object is embedded.
    #[error("this binary was built without the kernel programs; build it with `cargo xtask build`")]
    NoObject,
    /// No BTF.
    #[error(transparent)]
    Types(#[from] BtfError),
    /// The loader's own view of BTF failed.
    #[error("cannot load the kernel's type information")]
    Btf(#[source] Box<aya::BtfError>),
    /// No random bytes.
    #[error("cannot draw the secret for the path hash and the number of this load")]
    Random(#[source] std::io::Error),
    /// The object was refused.
    #[error("cannot load the kernel object (it needs CAP_BPF and CAP_PERFMON, or root)")]
    Object(#[source] Box<EbpfError>),
    /// A program was refused.
    #[error("cannot {operation} kernel program `{program}`")]
    Program {
        /// `load` or `attach`.
        operation: &'static str,
        /// Its name.
        program: &'static str,
        /// Why not, with the verifier's log if it was the verifier.
        source: Box<ProgramError>,
    },
    /// A program is not in the object.
    #[error("the kernel object has no program `{program}`")]
    MissingProgram {
        /// Its name.
        program: &'static str,
    },
    /// What is in force counts cgroups in another hierarchy.
    #[error(
        "what is in force takes container ids from another cgroup hierarchy than this agent would; it stays in force. To replace it: \
         `driftlock teardown`, then start this agent; nothing is enforced between the two"
    )]
    OtherHierarchy,
    /// Pinning failed.
    #[error(transparent)]
    Pin(#[from] PinError),
    /// A hook's link is none that can be pinned.
    #[error("cannot keep hook `{hook}` attached")]
    Link {
        /// Which hook.
        hook: &'static str,
        /// Why not.
        source: Box<LinkError>,
    },
    /// There is nothing to read the numbers of tracepoints from.
    #[error("cannot mount tracefs at /sys/kernel/tracing, from which the numbers of tracepoints are read")]
    Tracefs(#[source] std::io::Error),
    /// The task iterator could not be read.
    #[error("cannot iterate over the tasks that exist")]
    Iterate(#[source] std::io::Error),
    /// A map failed.
    #[error(transparent)]
    Maps(#[from] MapsError),
}

/// A program is not in the object.
pub(super) fn missing(program: &'static str) -> LoadError {
    LoadError::MissingProgram { program }
}

/// An error with its causes, each by its first line; of a verifier's log what it said last.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    if let Some(LoadError::Program { source, .. }) = error.downcast_ref::<LoadError>()
        && let ProgramError::LoadError {
            io_error,
            verifier_log,
        } = source.as_ref()
    {
        return format!("{error}: {}", refusal(io_error, &verifier_log.to_string()));
    }
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(error.to_string().lines().next().unwrap_or_default());
        source = error.source();
    }
    text
}

pub(super) fn failed(
    operation: &'static str,
    program: &'static str,
) -> impl FnOnce(ProgramError) -> LoadError {
    move |source| LoadError::Program {
        operation,
        program,
        source: Box::new(source),
    }
}

/// Why a program was refused: the error, and what the verifier said last before its statistics.
pub(super) fn refusal(error: &std::io::Error, verifier_log: &str) -> String {
    const STATISTICS: [&str; 4] = [
        "verification time ",
        "stack depth ",
        "processed ",
        "insns processed ",
    ];
    let said = verifier_log
        .lines()
        .rev()
        .map(str::trim)
        .find(|line| !line.is_empty() && !STATISTICS.iter().any(|statistic| line.starts_with(statistic)));
    match said {
        Some(said) => format!("{error}: {said}"),
        None => error.to_string(),
    }
}
