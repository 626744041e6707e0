//! A container that runs under what was exported of its profile: system calls by Docker's seccomp, and capabilities. What was learned works,
//! and what was not is refused by the kernel, without Driftlock.

use std::time::Duration;

use serde_json::Value;
use tests::agent::{Agent, Options};
use tests::environment::patience;
use tests::runtime::Kind;
use tests::service::Service;
use tests::stage::{IMAGE, Stage};

/// The program that makes system calls and uses capabilities.
const ACT: &str = "/usr/bin/act";
/// The exit code of a program that tells the number of its error.
const EPERM: i32 = 1;
/// As above.
const ENOSYS: i32 = 38;
/// That of one that SIGSYS ended, as a shell gives it.
const ENDED: i32 = 128 + 31;
/// What is done while the profile is learned, and again under its exports.
const DONE: [&[&str]; 3] = [
    &["call", "x86_64", "121"],
    &["chroot", "/tmp"],
    &["read", "/etc/passwd"],
];

/// Does all of it; whether it succeeded.
fn act(service: &Service) -> anyhow::Result<bool> {
    let mut succeeded = true;
    for words in DONE {
        succeeded &= service.start(&[&[ACT], words].concat())?.all_succeeded();
    }
    Ok(succeeded)
}

/// The name and phase of a system call, as `profile show --json` has it.
fn call(behaviour: &Value) -> String {
    let word = |name: &str| behaviour[name].as_str().unwrap_or("?").to_owned();
    format!("{} {}", word("syscall"), word("phase"))
}

fn capability(behaviour: &Value) -> String {
    behaviour["capability"].as_str().unwrap_or("?").to_owned()
}

/// Waits until programs at system calls are attached.
fn wait_for_hook(agent: &Agent) -> anyhow::Result<()> {
    let is_attached = |hook: &Value| hook["name"] == "sys_enter" && hook["attached"] == true;
    for _ in 0..200 {
        let status = agent.json(&["status"])?;
        if status["hooks"]
            .as_array()
            .is_some_and(|hooks| hooks.iter().any(is_attached))
        {
            return Ok(());
        }
        std::thread::sleep(patience(Duration::from_millis(100)));
    }
    anyhow::bail!("no program is attached to system calls; log:\n{}", agent.log())
}

/// What was learned works under the exported filter and capabilities, and what was not is refused.
#[test]
fn a_container_runs_under_its_exports() -> anyhow::Result<()> {
    let stage = Stage::learned(Kind::Docker, &Options::named("export"))?;
    stage.agent.set_domain_mode("learn", IMAGE, "syscall")?;
    // While one container's calls are learned, another one's are from its start on.
    let first = stage.service("first", &[])?;
    wait_for_hook(&stage.agent)?;
    let learned = stage.service("learned", &[])?;
    assert!(act(&learned)? && act(&first)?);
    stage
        .agent
        .wait_until_held(IMAGE, "syscall", &["getpgid program", "chroot program"], call)?;
    stage
        .agent
        .wait_until_held(IMAGE, "cap", &["CAP_SYS_CHROOT"], capability)?;

    let filter = stage.runtime.place().directory().join("filter.json");
    let filter = filter.to_str().expect("the directory's name is text");
    stage
        .agent
        .done(&["profile", "export", IMAGE, "--format", "seccomp", "-o", filter])?;
    let exported = stage
        .agent
        .json(&["profile", "export", IMAGE, "--format", "security-context"])?;
    let text = exported["text"].as_str().unwrap_or_default();
    let context: Value = serde_saphyr::from_str(text)?;
    let added = context["securityContext"]["capabilities"]["add"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let added: Vec<&str> = added.iter().filter_map(Value::as_str).collect();
    assert!(
        added.contains(&"SYS_CHROOT") && !added.contains(&"SETUID"),
        "{added:?}"
    );

    let seccomp = format!("seccomp={filter}");
    let mut options = vec!["--security-opt", seccomp.as_str(), "--cap-drop", "ALL"];
    options.extend(added.iter().flat_map(|name| ["--cap-add", name]));
    let confined = stage.service("confined", &options)?;
    assert!(act(&confined)?, "log:\n{}", stage.agent.log());
    // What was not: the program's exit code is the number of the error. What enters from outside is under the filter as well.
    let code = |service: &Service, words: &[&str]| -> anyhow::Result<Option<i32>> {
        let output = stage
            .runtime
            .exec(&service.container, &[&[ACT], words].concat())?;
        Ok(output.status.code())
    };
    for (words, refused) in [
        // getpgrp.
        (&["call", "x86_64", "111"][..], EPERM),
        // process_mrelease, newer than Linux 5.0: libraries must take it for one that the kernel does not have.
        (&["call", "x86_64", "448"], ENOSYS),
        // getpgid, by an interface that the program never used.
        (&["call", "i386", "132"], ENDED),
        // A capability that was not used, for a call that the filter allows.
        (&["set-user", "65534"], EPERM),
    ] {
        assert_eq!(code(&confined, words)?, Some(refused), "{words:?}");
        assert_ne!(
            code(&first, words)?,
            Some(refused),
            "{words:?}, without the exports"
        );
    }
    Ok(())
}
