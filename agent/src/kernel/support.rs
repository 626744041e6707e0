//! What this machine and its kernel can do, and why not more: for `doctor`, `status` and the log.
//!
//! Input: `/proc`, `/sys`, the embedded object. Output: [`Check`]s. Failure: a check that cannot be made
//! says so; nothing is taken for granted.

use std::path::Path;

use agent_common::instance::Node;

use super::btf::{KernelTypes, VMLINUX};
use super::error::chain;
use super::load::{Kernel, has_object};
use super::memory;
use super::pin::{self, PinDirectory};
use super::self_test;
use super::settings::LoadOptions;
use super::tier::{self, Proved};
use crate::canary::attempt::{CanaryResult, Outcome};
use crate::confine;
use crate::container::layout::Detected;
use crate::container::runtimes::Runtimes;
use crate::control::view::{Check, CheckResult, TierView};

fn check(name: &str, result: CheckResult, detail: impl Into<String>, hint: Option<&str>) -> Check {
    Check {
        name: name.to_owned(),
        result,
        detail: detail.into(),
        hint: hint.map(str::to_owned),
    }
}

/// Checks of the machine that need no running agent and change nothing.
#[must_use]
pub fn machine_checks() -> Vec<Check> {
    vec![kernel_release(), object(), types(), capabilities(), lsm()]
}

/// Loads the programs into maps of their own, attaches and tests them, and lets them go: nothing but the test's own process is
/// ever judged. Gives what was found, and the tiers that it proves.
#[must_use]
pub fn load_check(options: &LoadOptions) -> (Vec<Check>, Vec<TierView>) {
    let mut loaded = match Kernel::load(options, None) {
        Ok(loaded) => loaded,
        Err(error) => {
            let hint = Some("the agent cannot run without them");
            let failed = check("kernel programs", CheckResult::Missing, chain(&error), hint);
            let nothing = Proved {
                outcome: None,
                lsm_refused: None,
                not_observed: &[],
                answers: false,
            };
            return (vec![failed], tier::tiers(nothing));
        }
    };
    let kernel = &mut loaded.kernel;
    let attached = kernel.iterate_tasks().and_then(|()| kernel.attach());
    let tested = match attached.map_err(|error| chain(&error)) {
        Ok(()) => match self_test::prove(kernel, &mut loaded.maps) {
            Ok(()) => check("self-test", CheckResult::Ok, "made", None),
            Err(error) => check("self-test", CheckResult::Missing, chain(&error), None),
        },
        Err(error) => check("self-test", CheckResult::Missing, error, None),
    };
    let mut detail = "all are accepted by this kernel".to_owned();
    if let Some(reason) = kernel.proved().lsm_refused {
        detail = format!("those of the lite tier are accepted; {reason}");
    }
    // Only now: some are loaded when they are attached.
    let counts = kernel.verified_instructions();
    if !counts.is_empty() {
        let counts = counts.iter().map(|(name, count)| format!("{name} {count}"));
        detail += "; instructions that its verifier went through: ";
        detail += &counts.collect::<Vec<_>>().join(", ");
    }
    let checks = vec![check("kernel programs", CheckResult::Ok, detail, None), tested];
    (checks, tier::tiers(kernel.proved()))
}

/// Whether what is enforced outlives the agent.
#[must_use]
pub fn pin_check(pins: Option<&PinDirectory>, root: &Path) -> Check {
    const NAME: &str = "pinned";
    match pins {
        Some(pins) => check(
            NAME,
            CheckResult::Ok,
            format!(
                "hooks, rules and records stay when the agent ends, in {}",
                pins.directory().display()
            ),
            None,
        ),
        None => check(
            NAME,
            CheckResult::Warn,
            format!(
                "enforcement ends with the agent: {} is on no BPF file system",
                root.display()
            ),
            Some("mount one before the agent starts: `mount -t bpf bpf /sys/fs/bpf`"),
        ),
    }
}

/// What an agent that has ended left in force.
#[must_use]
pub fn left_check(root: &Path) -> Check {
    const NAME: &str = "pinned";
    let left = pin::pinned_hooks(root);
    if left.is_empty() {
        let detail = format!("nothing is in force in {}", root.display());
        return check(NAME, CheckResult::Ok, detail, None);
    }
    let left = left
        .iter()
        .map(|(abi, hooks)| format!("{} hooks with ABI {abi}", hooks.len()));
    let detail = format!(
        "no agent runs, but what one left is in force in {}: {}",
        root.display(),
        left.collect::<Vec<_>>().join(", ")
    );
    let hint = "an agent takes it over at its start; `driftlock teardown` ends it";
    check(NAME, CheckResult::Warn, detail, Some(hint))
}

fn kernel_release() -> Check {
    let system = rustix::system::uname();
    check(
        "kernel",
        CheckResult::Ok,
        system.release().to_string_lossy(),
        None,
    )
}

fn object() -> Check {
    if has_object() {
        check("kernel object", CheckResult::Ok, "embedded", None)
    } else {
        let hint = "build with `cargo xtask build`";
        check(
            "kernel object",
            CheckResult::Missing,
            "this binary was built without it",
            Some(hint),
        )
    }
}

fn types() -> Check {
    match KernelTypes::read(Path::new(VMLINUX)).and_then(|types| types.offsets()) {
        Ok(_) => check("type information (BTF)", CheckResult::Ok, VMLINUX, None),
        Err(error) => {
            let hint = "a kernel with CONFIG_DEBUG_INFO_BTF is needed";
            check(
                "type information (BTF)",
                CheckResult::Missing,
                error.to_string(),
                Some(hint),
            )
        }
    }
}

/// Capabilities by number (include/uapi/linux/capability.h), and what they are needed for.
const CAPABILITIES: &[(u32, &str, &str)] = &[
    (2, "CAP_DAC_READ_SEARCH", "reading files that belong to others"),
    (19, "CAP_SYS_PTRACE", "reading other processes' files and mounts"),
    (38, "CAP_PERFMON", "attaching"),
    (39, "CAP_BPF", "loading"),
];

fn capabilities() -> Check {
    const NAME: &str = "capabilities";
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|digits| u64::from_str_radix(digits.trim(), 16).ok());
    let Some(effective) = effective else {
        return check(NAME, CheckResult::Warn, "/proc/self/status does not tell", None);
    };
    let missing: Vec<String> = CAPABILITIES
        .iter()
        .filter(|(number, ..)| effective & (1 << number) == 0)
        .map(|(_, name, purpose)| format!("{name} ({purpose})"))
        .collect();
    if missing.is_empty() {
        check(NAME, CheckResult::Ok, "all that are needed", None)
    } else {
        check(
            NAME,
            CheckResult::Missing,
            format!("lacking {}", missing.join(", ")),
            Some("run as root"),
        )
    }
}

/// Whether the kernel calls LSM programs, as far as it says so; the self-test tells for sure.
fn lsm() -> Check {
    const NAME: &str = "BPF LSM";
    match std::fs::read_to_string("/sys/kernel/security/lsm") {
        Ok(list) if list.trim().split(',').any(|name| name == "bpf") => {
            check(NAME, CheckResult::Ok, "in the kernel's list of LSMs", None)
        }
        Ok(list) => check(
            NAME,
            CheckResult::Warn,
            format!("not in the kernel's list of LSMs ({})", list.trim()),
            Some("boot with `lsm=` and that list, followed by `,bpf`"),
        ),
        Err(error) => check(
            NAME,
            CheckResult::Warn,
            format!("not known: /sys/kernel/security/lsm: {error}"),
            None,
        ),
    }
}

/// Where cgroup ids come from.
#[must_use]
pub fn layout_check(layout: &Detected) -> Check {
    let hierarchy = match layout.layout.controller() {
        Some(controller) => format!("v1 ({controller})"),
        None => "v2".to_owned(),
    };
    let detail = format!(
        "{hierarchy} at {}: {}",
        layout.layout.mount().display(),
        layout.reason
    );
    check("cgroups", CheckResult::Ok, detail, None)
}

/// Where the runtimes' metadata is read, and what cannot be read.
#[must_use]
pub fn runtime_checks(runtimes: &Runtimes) -> Vec<Check> {
    let mut checks: Vec<Check> = runtimes
        .directories()
        .map(|(runtime, directories)| {
            let directories: Vec<String> = directories
                .into_iter()
                .map(|path| path.display().to_string())
                .collect();
            check(runtime.as_str(), CheckResult::Ok, directories.join(", "), None)
        })
        .collect();
    if checks.is_empty() {
        let hint = "name its directories in the configuration, section `runtimes`";
        let detail = "no runtime and no data directory of one found";
        checks.push(check("runtimes", CheckResult::Warn, detail, Some(hint)));
    }
    checks.extend(
        runtimes
            .problems()
            .map(|problem| check("runtimes", CheckResult::Warn, problem.to_string(), None)),
    );
    checks
}

/// Whether somebody answers before executions.
#[must_use]
pub fn answers_check(is_answering: bool, ended: u64, reason: Option<&str>) -> Check {
    const NAME: &str = "answers before executions";
    let reason = reason.unwrap_or("not yet");
    match (is_answering, ended) {
        (true, 0) => check(
            NAME,
            CheckResult::Ok,
            "fanotify; drift in root filesystems is refused",
            None,
        ),
        (true, ended) => {
            let detail = format!(
                "fanotify; the process that answers was started again {ended} times, the last time: {reason}"
            );
            check(NAME, CheckResult::Warn, detail, None)
        }
        (false, _) => {
            let detail = format!("none: drift is killed, not refused, and scripts are not seen: {reason}");
            check(NAME, CheckResult::Warn, detail, None)
        }
    }
}

/// What stands against telling drift in one container.
#[must_use]
pub fn container_check(container: &str, reason: String) -> Check {
    check(&format!("container {container}"), CheckResult::Warn, reason, None)
}

/// What the kernel programs could not do for the node.
#[must_use]
pub fn node_check(node: &Node) -> Check {
    const NAME: &str = "coverage of the node";
    if node.root_dentry == 0 {
        return check(
            NAME,
            CheckResult::Missing,
            "the host's root is not known: runtimes are judged as containers",
            None,
        );
    }
    if node.untracked_containers == 0 && node.lost_cgroup_records == 0 {
        return check(NAME, CheckResult::Ok, "every container was tracked", None);
    }
    let detail = format!(
        "{} containers were not tracked for lack of room, {} records about cgroups were lost",
        node.untracked_containers, node.lost_cgroup_records
    );
    check(NAME, CheckResult::Warn, detail, None)
}

/// What the agent has given up.
#[must_use]
pub fn confinement_check(is_wanted: bool) -> Check {
    const NAME: &str = "confinement";
    let state = confine::state();
    match (state.is_confined(), is_wanted) {
        (true, _) => check(NAME, CheckResult::Ok, state.to_string(), None),
        (false, false) => check(
            NAME,
            CheckResult::Warn,
            state.to_string(),
            Some("`confine: false` switches it off"),
        ),
        (false, true) => check(NAME, CheckResult::Warn, state.to_string(), None),
    }
}

/// What came of the canary's last try; `None`: there is no canary.
#[must_use]
pub fn canary_check(last: Option<&Outcome>) -> Check {
    const NAME: &str = "canary";
    let Some(last) = last else {
        let hint = "`canary: { interval_s: off }` switches it off";
        return check(NAME, CheckResult::Warn, "there is none", Some(hint));
    };
    let reason = last.reason.as_deref().unwrap_or("no reason known");
    match last.result {
        CanaryResult::Caught => check(NAME, CheckResult::Ok, "the last try was caught", None),
        CanaryResult::NotStopped => check(NAME, CheckResult::Warn, format!("not stopped: {reason}"), None),
        CanaryResult::Missed => check(NAME, CheckResult::Warn, format!("missed: {reason}"), None),
        CanaryResult::Failed => check(NAME, CheckResult::Warn, format!("not tried: {reason}"), None),
    }
}

/// What the maps of this process take in the kernel.
#[must_use]
pub fn memory_check() -> Check {
    const NAME: &str = "kernel memory";
    match memory::of_maps() {
        Some(bytes) => {
            let tenths = bytes * 10 / (1 << 20);
            let detail = format!("{}.{} MiB in maps", tenths / 10, tenths % 10);
            check(NAME, CheckResult::Ok, detail, None)
        }
        None => check(NAME, CheckResult::Warn, "/proc/self/fdinfo cannot be read", None),
    }
}

/// Something that the agent needs and could not find out about.
#[must_use]
pub fn failed_check(name: &str, reason: String) -> Check {
    check(name, CheckResult::Missing, reason, None)
}
