//! A container that runs under what was exported of its profile: system calls by the runtime's seccomp, and capabilities. What was learned works,
//! and what was not is refused by the kernel, without Driftlock.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::Value;
use tests::agent::{Agent, Options};
use tests::environment::patience;
use tests::nginx::{self, Manner, NGINX};
use tests::runtime::{Docker, Kind, Layout, Runtime as _};
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

/// Exports an image's profile: the option of Docker that names the filter, and the capabilities that are added to none.
fn exports(agent: &Agent, directory: &Path, image: &str) -> anyhow::Result<(String, Vec<String>)> {
    let filter = directory.join("filter.json");
    let filter = filter.to_str().context("no text")?;
    agent.done(&["profile", "export", image, "--format", "seccomp", "-o", filter])?;
    let exported = agent.json(&["profile", "export", image, "--format", "security-context"])?;
    let context: Value = serde_saphyr::from_str(exported["text"].as_str().unwrap_or_default())?;
    let added = &context["securityContext"]["capabilities"]["add"];
    let added = added.as_array().cloned().unwrap_or_default();
    let added = added.iter().filter_map(Value::as_str).map(str::to_owned);
    Ok((format!("seccomp={filter}"), added.collect()))
}

/// A filter of the profile without what was learned of the runtime; the name of its file.
fn without_runtime(stage: &Stage) -> anyhow::Result<String> {
    let document = stage.agent.done(&["profile", "export", IMAGE])?;
    let mut document: Value = serde_saphyr::from_str(&document)?;
    let calls = document["roles"][0]["systemCalls"].as_array_mut();
    calls
        .context("the document has no system calls")?
        .retain(|call| call["phase"] == "program");
    let directory = stage.runtime.place().directory();
    let (file, filter) = (directory.join("bare.yaml"), directory.join("bare.json"));
    // JSON is YAML.
    std::fs::write(&file, document.to_string())?;
    let text = |path: &Path| path.to_str().map(str::to_owned).context("no text");
    let (file, filter) = (text(&file)?, text(&filter)?);
    stage.agent.done(&[
        "profile", "export", "--from", &file, "--format", "seccomp", "-o", &filter,
    ])?;
    Ok(filter)
}

#[test]
fn docker_runs_a_container_under_its_exports() -> anyhow::Result<()> {
    runs_under_its_exports(Kind::Docker)
}

#[test]
fn podman_runs_a_container_under_its_exports() -> anyhow::Result<()> {
    if Kind::Podman.is_here() {
        return runs_under_its_exports(Kind::Podman);
    }
    tests::support::not_on_this_kernel("podman", "the runtime is not there");
    Ok(())
}

/// What was learned works under the exported filter and capabilities, and what was not is refused.
fn runs_under_its_exports(kind: Kind) -> anyhow::Result<()> {
    let stage = Stage::learned(kind, &Options::named("export"))?;
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

    let (seccomp, added) = exports(&stage.agent, stage.runtime.place().directory(), IMAGE)?;
    assert!(
        added.contains(&"SYS_CHROOT".to_owned()) && !added.contains(&"SETUID".to_owned()),
        "{added:?}"
    );
    let mut options = vec!["--security-opt", seccomp.as_str(), "--cap-drop", "ALL"];
    options.extend(added.iter().flat_map(|name| ["--cap-add", name]));
    let confined = stage.service("confined", &options)?;
    assert!(act(&confined)?, "log:\n{}", stage.agent.log());

    // The same for a profile that was learned where the runtime's calls are not seen: the export adds what every runtime needs.
    let bare = without_runtime(&stage)?;
    let seccomp = format!("seccomp={bare}");
    options[1] = &seccomp;
    assert!(act(&stage.service("bare", &options)?)?);

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

/// A real server, learned under load, serves the same load under its exports: dynamically linked, with workers that give up root.
#[test]
fn nginx_serves_under_its_exports() -> anyhow::Result<()> {
    const IMAGE: &str = "registry.example/nginx:1";
    const LOAD: Duration = Duration::from_secs(4);
    const ENTRYPOINT: &str = "--entrypoint=/usr/bin/service";
    let docker = Docker::start(Layout::Hybrid)?;
    nginx::build(&docker, IMAGE)?;
    let agent = Agent::start(&docker, &Options::named("export-nginx"))?;
    agent.done(&["mode", "set", "learn", "--default", "--domain", "syscall"])?;
    let _first = docker.service("first", IMAGE, &[ENTRYPOINT], &[])?;
    wait_for_hook(&agent)?;
    // Both manners of load, two reloads, and the end: what is exported has to have been seen.
    let serve = |service: &Service| -> anyhow::Result<[u64; 2]> {
        let run = |argv: &[&str]| -> anyhow::Result<()> {
            let outcome = service.start(argv)?;
            anyhow::ensure!(outcome.all_succeeded(), "{argv:?}: {outcome:?}");
            Ok(())
        };
        run(&[NGINX])?;
        let process = docker.process(&service.container)?;
        let ordinary = nginx::load(process, 2, Manner::Ordinary, LOAD)?;
        run(&[NGINX, "-s", "reload"])?;
        let rough = nginx::load(process, 2, Manner::Rough, LOAD)?;
        run(&[NGINX, "-s", "quit"])?;
        Ok([ordinary, rough])
    };
    let web = docker.service("web", IMAGE, &[ENTRYPOINT], &[])?;
    let learned = serve(&web)?;
    let wanted = ["accept4 program", "epoll_wait program", "setgroups program"];
    agent.wait_until_held(IMAGE, "syscall", &wanted, call)?;
    agent.wait_until_held(IMAGE, "cap", &["CAP_SETUID", "CAP_SETGID"], capability)?;
    drop(docker.remove(&web.detach()));

    let (seccomp, added) = exports(&agent, docker.place().directory(), IMAGE)?;
    let mut options = vec![ENTRYPOINT, "--security-opt", &seccomp, "--cap-drop", "ALL"];
    options.extend(added.iter().flat_map(|name| ["--cap-add", name]));
    let confined = docker.service("confined", IMAGE, &options, &[])?;
    let served = serve(&confined).with_context(|| format!("under {added:?}; log:\n{}", agent.log()))?;
    println!("answers while learned {learned:?}, under the exports {served:?}, with {added:?}");
    assert!(served.iter().all(|answers| *answers > 50), "{served:?}");
    let refused = docker.exec(&confined.container, &[ACT, "call", "x86_64", "111"])?;
    assert_eq!(
        refused.status.code(),
        Some(EPERM),
        "getpgrp, which nginx never calls"
    );
    Ok(())
}
