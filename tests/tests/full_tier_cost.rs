//! What the hooks of domain file run on, and how long, on either tier.
//!
//! A call that concerns no domain runs none of the agent's programs. Where LSM hooks decide about files, nothing is attached to
//! system calls at all. Times are printed, not asserted: a virtual machine has none of its own. `cargo xtask vm --count-instructions` gives it
//! one that is the same in each run.

use std::io::Write as _;

use tests::bench::calls::{self, OnTier};
use tests::bench::ratios::Place;
use tests::support;

/// Calls of each kind.
const TIMES: u32 = 5_000;
/// Runs of a program for something else meanwhile, at most: a fifth of the calls. The round over many files opens each once before it
/// begins.
const MEANWHILE: u64 = TIMES as u64 / 5;

/// Each program's runs among so many calls in that place, if they are more than what happens meanwhile.
fn running(place: &Place) -> Vec<&str> {
    let runs = place.runs.iter();
    runs.filter(|(_, run)| run.count > MEANWHILE)
        .map(|(name, _)| name.as_str())
        .collect()
}

/// Not by a macro: what those print of a test that passes is never shown.
fn print(line: &str) -> std::io::Result<()> {
    writeln!(std::io::stderr(), "{line}")
}

/// The costs on both tiers side by side.
fn compare(full: &OnTier, lite: &OnTier) -> anyhow::Result<()> {
    let costs = full.longer_ns.iter().zip(&lite.longer_ns);
    for ((place, on_lite), (full_longer, lite_longer)) in full.places.iter().zip(&lite.places).zip(costs) {
        let verdict = |is_met| if is_met { "met" } else { "MISSED" };
        if !place.name.starts_with("getpid") {
            assert_eq!(running(on_lite), ["sys_exit_open"], "{on_lite:?}");
            let (full_ns, lite_ns) = (place.ns_each(), on_lite.ns_each());
            print(&format!(
                "{}: the program takes {full_ns} ns on the full tier, {lite_ns} on the lite tier; to be less: {}",
                place.name,
                verdict(full_ns < lite_ns),
            ))?;
        }
        print(&format!(
            "{}: the call takes {full_longer:.0} ns longer on the full tier, {lite_longer:.0} on the lite tier; to be less: {}",
            place.name,
            verdict(full_longer < lite_longer),
        ))?;
    }
    Ok(())
}

#[test]
fn a_call_that_concerns_nothing_runs_no_program() -> anyhow::Result<()> {
    let ((can, reason), tier, lite) = calls::tiers(TIMES, |agent| {
        Ok((support::tier(agent, "file")?, support::reason(agent, "file")?))
    })?;
    // One program is asked of a file, on either tier.
    let program = if can == "deny" {
        "file_open"
    } else {
        "sys_exit_open"
    };
    let (getpid, open): (Vec<_>, Vec<_>) = tier
        .places
        .iter()
        .partition(|place| place.name.starts_with("getpid"));
    assert!(getpid.len() == 2 && open.len() > 2, "{tier:?}");
    for place in getpid {
        assert!(running(place).is_empty(), "{place:?}");
    }
    for place in open {
        assert_eq!(running(place), [program], "{place:?}");
        let runs = place.runs[program].count;
        // Overlayfs opens the file below its own, of which the LSM hook is asked once more; and the machine opens files meanwhile.
        let is_overlay = place.name.contains("image");
        let each = if can == "deny" && is_overlay { 2 } else { 1 };
        let runs_expected = each * u64::from(TIMES);
        assert!(
            (runs_expected..runs_expected + MEANWHILE).contains(&runs),
            "{place:?}"
        );
        print(&format!(
            "tier {can}: {}: {program} takes {} ns of each",
            place.name,
            place.ns_each()
        ))?;
    }
    if let Some(lite) = lite {
        compare(&tier, &lite)?;
    }
    if can != "deny" {
        let listed = std::fs::read_to_string("/sys/kernel/security/lsm").unwrap_or_default();
        assert!(
            !listed.trim().split(',').any(|name| name == "bpf"),
            "{listed}: {reason}"
        );
        support::not_on_this_kernel("the LSM hook's cost", &reason);
    }
    Ok(())
}
