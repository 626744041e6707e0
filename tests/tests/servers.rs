//! Real servers, from learning to profiles that other tools enforce: each is learned in all domains under its own benchmark and through
//! restarts, what is proposed is accepted, and then another load, other restarts and a new container must not be told of at all. After that it
//! runs under Docker's own means alone, by what was exported: the same loads without an error, and a call outside of the profile refused.
//!
//! `DRIFTLOCK_WRITE_PROFILES=DIRECTORY` has each test write its document to DIRECTORY/NAME.yaml: that is how those in `profiles` were
//! made (`profiles/README.md`). `DRIFTLOCK_LOAD_SECONDS` is how long the other load of the long form lasts, ten minutes if it is not set.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::Value;
use tests::agent::{Agent, Options};
use tests::bench::program;
use tests::environment::Environment;
use tests::runtime::{Container, Docker, Layout, Runtime as _};
use tests::server::{Installed, Load, Nginx, Postgresql, Redis, Server, review};
use tests::stage::{ALERT_PATIENCE, is_about};

/// All domains.
const DOMAINS: [&str; 5] = ["exec", "library", "file", "cap", "syscall"];
/// Calls without effect that take no address, for the one that the server does not make.
const CALLS: [(&str, u32); 5] = [
    ("getpgrp", 111),
    ("getpgid", 121),
    ("getsid", 124),
    ("sched_getscheduler", 145),
    ("inotify_init", 253),
];
/// A program that every image here holds and no server starts.
const LOADER: &str = "/lib64/ld-linux-x86-64.so.2";
/// How a program ends that was refused with `EPERM`, see [`program::install_call`].
const EPERM: i32 = 1;

/// How long a server is learned and watched.
#[derive(Clone, Copy)]
struct Plan {
    /// Starts of the server in which it is learned, one after the other; that in the middle is of a new container.
    starts: u32,
    learn: Duration,
    /// Starts under the other load, with a new container in the middle, too.
    other_starts: u32,
    watch: Duration,
}

/// A minute, in which names that vary cannot be told from others: a server that has none.
const SHORT: Plan = Plan {
    starts: 2,
    learn: Duration::from_secs(10),
    other_starts: 2,
    watch: Duration::from_secs(12),
};

/// What a behaviour is, in words.
fn text(behaviour: &Value) -> String {
    let words = [
        "operation",
        "layer",
        "path",
        "pattern",
        "applet",
        "capability",
        "namespace",
        "outcome",
        "syscall",
        "name",
        "abi",
        "phase",
    ];
    let words: Vec<&str> = words
        .iter()
        .filter_map(|name| behaviour[*name].as_str())
        .collect();
    words.join(" ")
}

fn long() -> anyhow::Result<Plan> {
    let seconds = std::env::var("DRIFTLOCK_LOAD_SECONDS").map_or(Ok(600), |text| text.parse())?;
    Ok(Plan {
        starts: 8,
        learn: Duration::from_secs(seconds.min(240)),
        other_starts: 4,
        watch: Duration::from_secs(seconds),
    })
}

fn soak(server: &dyn Server, plan: Plan) -> anyhow::Result<()> {
    let docker = Docker::start(Layout::Hybrid)?;
    let installed = Installed::build(&docker, server)?;
    let document = docker.directory().join(format!("{}.yaml", server.name()));
    learn_and_watch(&docker, &installed, plan, &document)?;
    run_under_the_exports(&docker, &installed, &document)
}

/// Has the server learned, writes its document, and watches it under another load.
fn learn_and_watch(
    docker: &Docker,
    installed: &Installed<'_>,
    plan: Plan,
    document: &Path,
) -> anyhow::Result<()> {
    let image = installed.image.as_str();
    let mut agent = Agent::start(docker, &Options::named("servers"))?;
    agent.done(&["mode", "set", "learn", "--default", "--domain", "syscall"])?;
    let mut container = installed.start(docker, "server", &[])?;
    agent.wait_until_resolved(&container.id)?;
    let mut learned = 0;
    for round in 0..plan.starts {
        if round == plan.starts / 2 {
            // So early, because what a rule holds for need not be learned, and a container has a bound on what is new in a second.
            give_rules(&agent, installed)?;
            replace(docker, installed, &mut container, "learned")?;
        } else if round > 0 {
            installed.restart(docker, &container)?;
        }
        learned += installed.load(docker, &container, Load::Learned, round, plan.learn / plan.starts)?;
    }
    installed.restart(docker, &container)?;
    // What was done at the end is with the agent, too.
    std::thread::sleep(Duration::from_secs(3));
    review(docker, &agent, installed)?;
    agent.done(&["profile", "approve", image])?;
    for domain in DOMAINS {
        agent.set_domain_mode("enforce", image, domain)?;
    }
    agent.done(&[
        "profile",
        "export",
        image,
        "--output",
        document.to_str().context("its name is text")?,
    ])?;
    if let Some(directory) = std::env::var_os("DRIFTLOCK_WRITE_PROFILES") {
        fs::copy(
            document,
            PathBuf::from(directory).join(document.file_name().unwrap_or_default()),
        )?;
    }

    let mark = agent.mark();
    let mut watched = 0;
    for round in 0..plan.other_starts {
        if round == plan.other_starts / 2 {
            replace(docker, installed, &mut container, "watched")
                .with_context(|| format!("told until then: {:#?}", told(&agent, mark)))?;
        } else {
            installed.restart(docker, &container)?;
        }
        watched += installed.load(
            docker,
            &container,
            Load::Other,
            round,
            plan.watch / plan.other_starts,
        )?;
    }
    installed.restart(docker, &container)?;
    std::thread::sleep(Duration::from_secs(3));
    let told = told(&agent, mark);
    println!(
        "{}: {} rules, learned from {learned} answers in {} s and {} starts; {watched} answers in {} s of another load and {} starts: {} alerts",
        installed.server.name(),
        agent.json(&["profile", "show", image])?["behaviours"]
            .as_array()
            .map_or(0, Vec::len),
        plan.learn.as_secs(),
        plan.starts,
        plan.watch.as_secs(),
        plan.other_starts,
        told.len()
    );
    assert_eq!(told, [""; 0], "false alerts; log:\n{}", agent.log());
    ensure!(learned > 100 && watched > 100, "{learned} {watched}");
    is_watched(docker, &agent, &container)?;
    docker.remove(&container)?;
    agent.stop()
}

/// The alerts since `mark`, each in a line.
fn told(agent: &Agent, mark: usize) -> Vec<String> {
    let alerts = agent.alerts();
    let line = |alert: &Value| {
        format!(
            "{} {} by {}",
            alert["kind"].as_str().unwrap_or("?"),
            text(&alert["behaviour"]),
            alert["process"]["exe"]
        )
    };
    alerts.iter().skip(mark).map(line).collect()
}

/// Puts a new container in the place of one: what a server does at its very first start it does again.
fn replace(
    docker: &Docker,
    installed: &Installed<'_>,
    container: &mut Container,
    name: &str,
) -> anyhow::Result<()> {
    docker.remove(container)?;
    *container = installed.start(docker, name, &[])?;
    Ok(())
}

/// What silence is worth: every domain is enforced, and what the server does not do is told.
fn is_watched(docker: &Docker, agent: &Agent, container: &Container) -> anyhow::Result<()> {
    let containers = agent.json(&["containers"])?;
    let found = containers
        .as_array()
        .and_then(|list| list.iter().find(|one| one["id"] == container.id.as_str()))
        .context("the container is not known")?;
    for domain in DOMAINS {
        let mut modes = found["modes"].as_array().into_iter().flatten();
        assert!(
            modes.any(|one| one["domain"] == domain && one["mode"] == "enforce"),
            "{domain}: {found:#}"
        );
    }
    let mark = agent.mark();
    let entered = docker.exec(container, &[LOADER, "--version"])?;
    ensure!(entered.status.success(), "{LOADER}: {entered:?}");
    let alert = agent.wait_for_alert(mark, ALERT_PATIENCE, |alert| {
        is_about(alert, &container.id) && alert["domain"] == "exec"
    });
    ensure!(alert.is_some(), "not told; log:\n{}", agent.log());
    Ok(())
}

/// Accepts the rules that only somebody who knows the server can give.
fn give_rules(agent: &Agent, installed: &Installed<'_>) -> anyhow::Result<()> {
    for rule in installed.server.reviewed() {
        for operation in rule.operations {
            accept(agent, &installed.image, rule.layer, rule.pattern, operation)?;
        }
    }
    Ok(())
}

fn accept(agent: &Agent, image: &str, layer: &str, pattern: &str, operation: &str) -> anyhow::Result<()> {
    println!("{image}: accepted: {operation} {layer} {pattern}");
    let words = ["profile", "accept", image, pattern, "--pattern", "--layer", layer];
    agent
        .done(&[&words[..], &["--operation", operation]].concat())
        .map(drop)
}

/// Does what a reviewer does at the end: accepts each rule that is proposed, and takes out what rules hold for.
fn review(docker: &Docker, agent: &Agent, installed: &Installed<'_>) -> anyhow::Result<()> {
    let image = installed.image.as_str();
    let profile = agent.json(&["profile", "show", image])?;
    let proposals = profile["rule_proposals"].as_array();
    for proposal in proposals.context("no list of proposals")? {
        let word = |name: &str| {
            proposal[name]
                .as_str()
                .with_context(|| format!("no {name}: {proposal}"))
        };
        accept(agent, image, word("layer")?, word("pattern")?, word("operation")?)?;
    }

    // The rules have to hold by themselves, and nobody wants to read each name besides.
    let exported = agent.done(&["profile", "export", image])?;
    let mut reviewed: Value = serde_saphyr::from_str(&exported)?;
    let dropped = review::drop_what_rules_hold_for(&mut reviewed);
    println!("{image}: {dropped} paths left out, which these rules hold for");
    let text = serde_json::to_string(&reviewed)?;
    let document = docker.directory().join("reviewed.json");
    fs::write(&document, text)?;
    agent
        .done(&[
            "profile",
            "import",
            document.to_str().context("its name is text")?,
        ])
        .map(drop)
}

/// Runs the server without Driftlock, with the filter of system calls and the capabilities that were exported, and loads it in both ways.
fn run_under_the_exports(docker: &Docker, installed: &Installed<'_>, document: &Path) -> anyhow::Result<()> {
    let filter = docker.directory().join("filter.json");
    fs::write(&filter, export(document, "seccomp")?)?;
    let context: Value = serde_saphyr::from_str(&export(document, "security-context")?)?;
    let added = context["securityContext"]["capabilities"]["add"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let added: Vec<&str> = added.iter().filter_map(Value::as_str).collect();

    let document = fs::read_to_string(document)?;
    let document: Value = serde_saphyr::from_str(&document)?;
    let learned = |name: &str| document["roles"].to_string().contains(&format!("\"{name}\""));
    let (call, number) = CALLS
        .into_iter()
        .find(|(name, _)| !learned(name))
        .context("the server makes all of these calls")?;
    let probes = docker.directory().join("probes");
    fs::create_dir_all(&probes)?;
    for (name, number) in [(call, number), ("getpid", 39)] {
        program::install_call(&probes.join(name), number)?;
    }

    let seccomp = format!("--security-opt=seccomp={}", filter.display());
    let volume = format!("--volume={}:/probes:ro", probes.display());
    let mut options = vec![seccomp.as_str(), volume.as_str(), "--cap-drop=ALL"];
    options.extend(added.iter().flat_map(|name| ["--cap-add", name]));
    let container = installed.start(docker, "confined", &options)?;
    let mut answered = 0;
    for (round, load) in [(0, Load::Learned), (1, Load::Other)] {
        answered += installed.load(docker, &container, load, round, Duration::from_secs(6))?;
        installed.restart(docker, &container)?;
    }
    let open = installed.start(docker, "open", &[volume.as_str()])?;
    let ended = |container, name: &str| -> anyhow::Result<Option<i32>> {
        Ok(docker
            .exec(container, &[&format!("/probes/{name}")])?
            .status
            .code())
    };
    assert_eq!(ended(&open, call)?, Some(0), "{call} without the filter");
    assert_eq!(ended(&container, call)?, Some(EPERM), "{call} under the filter");
    assert_eq!(ended(&container, "getpid")?, Some(0), "getpid under the filter");
    println!(
        "{}: under the exported filter and {added:?} alone {answered} answers; {call} is refused",
        installed.server.name()
    );
    Ok(())
}

/// What is exported of a document, without an agent.
fn export(document: &Path, format: &str) -> anyhow::Result<String> {
    let output = Command::new(&Environment::get().driftlock)
        .args(["profile", "export", "--format", format, "--from"])
        .arg(document)
        .output()?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?)
}

#[test]
fn nginx_for_a_minute() -> anyhow::Result<()> {
    soak(&Nginx, SHORT)
}

#[test]
#[ignore = "takes a quarter of an hour"]
fn nginx_for_ten_minutes() -> anyhow::Result<()> {
    soak(&Nginx, long()?)
}

#[test]
#[ignore = "takes a quarter of an hour"]
fn redis_for_ten_minutes() -> anyhow::Result<()> {
    soak(&Redis, long()?)
}

#[test]
#[ignore = "takes a quarter of an hour"]
fn postgresql_for_ten_minutes() -> anyhow::Result<()> {
    soak(&Postgresql, long()?)
}
