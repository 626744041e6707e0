//! How long the kernel programs run, by the kernel's own statistics.
//!
//! Input: where the agent has pinned them. Output: runs and time of each. The statistics cost time themselves, so that nothing
//! else is measured meanwhile. Failure: a kernel that does not keep them (before 5.8); programs that are not pinned.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::Path;

use anyhow::Context as _;
use aya::programs::ProgramInfo;
use aya::sys::{Stats, enable_stats};

/// The directory of the programs, below the one of the ABI.
const PROGRAMS: &str = "programs";

/// Runs and time of kernel programs, by name.
pub type Runs = BTreeMap<String, Run>;

/// What one kernel program did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Run {
    /// How often it ran.
    pub count: u64,
    /// How long all of them took, ns.
    pub time_ns: u64,
}

/// Lets the kernel keep statistics until what is returned is dropped.
pub fn keep_statistics() -> anyhow::Result<OwnedFd> {
    enable_stats(Stats::RunTime).context("the kernel keeps no statistics")
}

/// What the programs that are pinned under `root` did so far.
pub fn runs(root: &Path) -> anyhow::Result<Runs> {
    let mut runs = Runs::new();
    for abi in entries(root)? {
        for pin in entries(&abi.path().join(PROGRAMS))? {
            let program = ProgramInfo::from_pin(pin.path())
                .with_context(|| format!("{} is no program", pin.path().display()))?;
            let run = Run {
                count: program.run_count(),
                time_ns: u64::try_from(program.run_time().as_nanos()).unwrap_or(u64::MAX),
            };
            runs.insert(pin.file_name().to_string_lossy().into_owned(), run);
        }
    }
    Ok(runs)
}

/// What the programs that are pinned under `root` did while something was done.
pub fn during(root: &Path, what: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<Runs> {
    let before = runs(root)?;
    what()?;
    Ok(between(&before, &runs(root)?))
}

fn entries(directory: &Path) -> anyhow::Result<Vec<std::fs::DirEntry>> {
    std::fs::read_dir(directory)
        .and_then(Iterator::collect)
        .with_context(|| format!("cannot list {}", directory.display()))
}

/// What was done between two moments. Programs that did not run are left out.
#[must_use]
pub fn between(before: &Runs, after: &Runs) -> Runs {
    after
        .iter()
        .filter_map(|(name, after)| {
            let before = before.get(name).copied().unwrap_or_default();
            let run = Run {
                count: after.count.saturating_sub(before.count),
                time_ns: after.time_ns.saturating_sub(before.time_ns),
            };
            (run.count > 0).then(|| (name.clone(), run))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_did_not_run_meanwhile_is_left_out() {
        let run = |count, time_ns| Run { count, time_ns };
        let before = Runs::from([("a".into(), run(3, 30)), ("b".into(), run(5, 50))]);
        let after = Runs::from([
            ("a".into(), run(3, 30)),
            ("b".into(), run(7, 90)),
            ("c".into(), run(1, 9)),
        ]);
        let expected = Runs::from([("b".into(), run(2, 40)), ("c".into(), run(1, 9))]);
        assert_eq!(between(&before, &after), expected);
    }
}
