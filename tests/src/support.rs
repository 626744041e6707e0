//! What this kernel can do, as the agent proved it at its start, and what a test does where it cannot.
//!
//! Input: the agent's own JSON (`status --json`, field `tiers`). Output: the tier of a domain and its reason; and for a
//! test that this kernel cannot serve a line `not on this kernel: TEST: WHAT: REASON`. `cargo xtask test` and
//! `cargo xtask vm` list these lines again behind the tests' results, so that nothing passes in silence. Failure: an
//! agent that names no such domain; a line that cannot be written panics, because a test must not end unnoticed.

use std::fs::File;
use std::io::Write as _;
use std::panic::Location;
use std::path::Path;

use anyhow::Context as _;
use serde_json::Value;

use crate::agent::Agent;

/// Names the file that the lines are appended to; `cargo xtask` sets it and reads the file after the tests.
pub const LIST: &str = "DRIFTLOCK_NOT_ON_THIS_KERNEL";

/// What each line begins with.
pub const PREFIX: &str = "not on this kernel: ";

/// The most that this kernel can do about a deviation in `domain` (`exec`, `library`, `file`, `cap`, `syscall`):
/// `deny`, `kill`, `observe` or `none`.
///
/// # Errors
/// The agent does not answer or names no such domain.
pub fn tier(agent: &Agent, domain: &str) -> anyhow::Result<String> {
    field(&agent.json(&["status"])?, domain, "can")
}

/// Why the kernel can do that and not more, in the agent's words.
///
/// # Errors
/// As those of [`tier`].
pub fn reason(agent: &Agent, domain: &str) -> anyhow::Result<String> {
    field(&agent.json(&["status"])?, domain, "reason")
}

/// A field of a domain's tier in what `status --json` or `doctor --json` printed.
///
/// # Errors
/// There is no such domain or field.
pub fn field(report: &Value, domain: &str, name: &str) -> anyhow::Result<String> {
    report["tiers"]
        .as_array()
        .and_then(|tiers| tiers.iter().find(|tier| tier["domain"] == domain))
        .and_then(|tier| tier[name].as_str())
        .map(str::to_owned)
        .with_context(|| format!("the agent says nothing of {domain}: {report:#}"))
}

/// The first two numbers of this kernel's release, for what no agent can tell.
///
/// # Errors
/// The kernel does not say its release, or not in numbers.
pub fn kernel_version() -> anyhow::Result<(u32, u32)> {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
    version(&release).with_context(|| format!("the release {release} has no numbers"))
}

fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release
        .split(|c: char| !c.is_ascii_digit())
        .map(|digits| digits.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

/// Tells that this kernel lacks what a test needs. To be called after the test has asserted that the agent gives exactly
/// this `reason`; `what` is what could not be tried, in a few words.
///
/// # Panics
/// The line cannot be written.
#[track_caller]
pub fn not_on_this_kernel(what: &str, reason: &str) {
    let file = Path::new(Location::caller().file())
        .file_stem()
        .unwrap_or_default();
    let line = line(&file.to_string_lossy(), what, reason);
    // Not by a macro: what those print of a test that passes is never shown.
    writeln!(std::io::stderr(), "{}", line.trim_end()).expect("standard error can be written");
    if let Some(list) = std::env::var_os(LIST) {
        File::options()
            .create(true)
            .append(true)
            .open(&list)
            .and_then(|mut list| list.write_all(line.as_bytes()))
            .unwrap_or_else(|error| panic!("{}: {error}", list.display()));
    }
}

/// One line, whatever the reason holds.
fn line(test: &str, what: &str, reason: &str) -> String {
    let reason: Vec<&str> = reason.split_whitespace().collect();
    format!("{PREFIX}{test}: {what}: {}\n", reason.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_of_several_lines_becomes_one() {
        assert_eq!(
            line("library", "ld.so", "needs BPF LSM;\n  not there"),
            "not on this kernel: library: ld.so: needs BPF LSM; not there\n"
        );
    }

    #[test]
    fn versions_are_the_first_two_numbers() {
        assert_eq!(version("5.10.0-46-cloud-amd64\n"), Some((5, 10)));
        assert_eq!(version("6.12.117+deb12"), Some((6, 12)));
        assert_eq!(version("7.2"), Some((7, 2)));
        assert_eq!(version("x"), None);
    }

    #[test]
    fn the_tier_is_that_of_the_domain() {
        let report = serde_json::json!({"tiers": [
            {"domain": "exec", "can": "kill", "reason": "lite"},
            {"domain": "library", "can": "none", "reason": "needs BPF LSM"},
        ]});
        assert_eq!(field(&report, "exec", "can").expect("there"), "kill");
        assert_eq!(
            field(&report, "library", "reason").expect("there"),
            "needs BPF LSM"
        );
        assert!(field(&report, "file", "can").is_err());
    }
}
