//! What the agent says this kernel can do about executions is what a container experiences, on whatever kernel this runs.

use tests::agent::Options;
use tests::service::Service;
use tests::stage::{IMAGE, Stage};
use tests::support;

/// Where the kernel lists the security modules that it calls.
const LSM_LIST: &str = "/sys/kernel/security/lsm";

/// What a shell's exit status says of a program that was ended by SIGKILL: 128 + 9.
const KILLED: &str = "137";
/// And of one that it may not execute.
const NOT_EXECUTED: &str = "126";

/// What the container's shell saw of a program that it tried to run.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    /// Its exit status.
    status: String,
    /// What was said about it on standard error.
    said: String,
    /// Whether it did anything.
    ran: bool,
}

/// Has a shell in the container run the dropped program.
fn attempt(stage: &Stage, service: &Service) -> anyhow::Result<Seen> {
    let words = "/tmp/dropped /tmp/witness 2>/tmp/said; echo $? >/tmp/status";
    // The shell itself succeeds: `echo` is its own.
    let outcome = service.start(&["/bin/sh", "-c", words])?;
    anyhow::ensure!(outcome.all_succeeded(), "the shell: {outcome:?}");
    let read = |path: &str| stage.runtime.read(&service.container, path);
    Ok(Seen {
        status: read("/tmp/status")?.unwrap_or_default().trim().to_owned(),
        said: read("/tmp/said")?.unwrap_or_default(),
        ran: read("/tmp/witness")?.is_some(),
    })
}

/// Whether somebody answers before the container's executions, which the lite tier may have.
fn is_answered(stage: &Stage, service: &Service) -> anyhow::Result<bool> {
    let containers = stage.agent.json(&["containers"])?;
    let of_this = |container: &&serde_json::Value| container["id"] == service.container.id.as_str();
    let found = containers.as_array().and_then(|list| list.iter().find(of_this));
    Ok(found.is_some_and(|container| container["answered"] == true))
}

/// Where it says `deny`, the caller of what was dropped sees "Permission denied"; where it says `kill`, the program is
/// killed, or, if the agent answers before this container's executions, refused as not permitted. Where nothing is enforced
/// the same program runs.
#[test]
fn the_tier_of_exec_is_what_a_container_experiences() -> anyhow::Result<()> {
    let stage = Stage::enforcing(&Options::named("tier"))?;
    let service = stage.service("tier", &[])?;
    Stage::drop_payload(&service, "/tmp/dropped")?;
    let tier = support::tier(&stage.agent, "exec")?;
    let reason = support::reason(&stage.agent, "exec")?;
    for attempt_number in 1.. {
        let before = is_answered(&stage, &service)?;
        let seen = attempt(&stage, &service)?;
        if is_answered(&stage, &service)? != before {
            assert!(attempt_number < 3, "it changes whether executions are answered");
            continue;
        }
        let (status, said) = match (tier.as_str(), before) {
            ("deny", _) => (NOT_EXECUTED, "Permission denied"),
            ("kill", true) => (NOT_EXECUTED, "Operation not permitted"),
            ("kill", false) => (KILLED, ""),
            _ => panic!("nothing can be enforced on this kernel: {tier}: {reason}"),
        };
        assert_eq!(
            seen.status,
            status,
            "{tier}: {seen:?}; log:\n{}",
            stage.agent.log()
        );
        assert!(seen.said.contains(said), "{tier}: {seen:?}");
        assert!(!seen.ran, "{tier}: {seen:?}");
        break;
    }
    if tier != "deny" {
        assert!(!reason.is_empty(), "why it cannot deny is not said");
        support::not_on_this_kernel("denying an execution", &reason);
    }

    stage.agent.set_mode("monitor", IMAGE)?;
    let seen = attempt(&stage, &service)?;
    assert_eq!((seen.status.as_str(), seen.ran), ("0", true), "{seen:?}");
    Ok(())
}

/// The agent claims to deny where the kernel calls BPF programs as a security module, and there alone.
#[test]
fn deny_is_claimed_where_the_kernel_lists_bpf() -> anyhow::Result<()> {
    let stage = Stage::start(tests::runtime::Layout::Hybrid, &Options::named("listed"))?;
    let (exec, library) = (
        support::tier(&stage.agent, "exec")?,
        support::tier(&stage.agent, "library")?,
    );
    // Where the list cannot be read there is no such framework, or nobody mounted its file system.
    let list = std::fs::read_to_string(LSM_LIST).unwrap_or_default();
    if list.trim().split(',').any(|name| name == "bpf") {
        assert_eq!((exec.as_str(), library.as_str()), ("deny", "deny"), "{list}");
    } else {
        assert_eq!((exec.as_str(), library.as_str()), ("kill", "none"), "{list}");
        let reason = support::reason(&stage.agent, "library")?;
        assert!(reason.contains("LSM"), "{reason}");
        support::not_on_this_kernel("domain library", &reason);
    }
    Ok(())
}
