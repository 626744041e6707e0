//! What is enforced outlives the agent, and the next agent takes over without a moment in which it is not.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tests::agent::{Agent, Options};
use tests::runtime::Kind;
use tests::service::{Outcomes, Service};
use tests::stage::{ALERT_PATIENCE, IMAGE, Stage, is_about};

tests::on_every_runtime!(enforcement_outlives_the_agent_until_teardown);

const RESTARTS: usize = 20;
/// Starts in one request of a loop.
const BATCH: u64 = 20;

/// Starts a program over and over until `done`; the sum of how the starts ended.
fn keep_starting(service: &Service, argv: &[&str], done: &AtomicBool) -> anyhow::Result<Outcomes> {
    let mut sum = Outcomes::default();
    while !done.load(Ordering::Relaxed) {
        let more = service.start_many(BATCH, argv)?;
        sum.succeeded += more.succeeded;
        sum.failed += more.failed;
        sum.killed += more.killed;
        sum.denied += more.denied;
        sum.not_permitted += more.not_permitted;
        sum.other += more.other;
    }
    Ok(sum)
}

/// Where the agent's objects are pinned.
fn pins(stage: &Stage, agent: &str) -> PathBuf {
    stage
        .runtime
        .place()
        .directory()
        .join("bpf")
        .join(format!("agent-{agent}"))
}

/// 20 agents one after the other, half of them killed, the others told to end, while one container executes what drifted and
/// another what its profile holds.
#[test]
fn restarts_neither_let_drift_run_nor_disturb_what_conforms() -> anyhow::Result<()> {
    let options = Options::named("restarts");
    let mut stage = Stage::enforcing(&options)?;
    let witnesses = stage.host_directory("witnesses")?;
    let volume = format!("--volume={}:/data", witnesses.display());
    let (conforming, attacked) = (
        stage.service("conforming", &[])?,
        stage.service("attacked", &[&volume])?,
    );
    Stage::drop_payload(&attacked, "/tmp/dropped")?;
    let done = AtomicBool::new(false);
    let (restarted, allowed, drifted) = std::thread::scope(|scope| {
        let allowed = scope.spawn(|| keep_starting(&conforming, &["/bin/fetch"], &done));
        let drifted = scope.spawn(|| keep_starting(&attacked, &["/tmp/dropped", "/data/witness-{}"], &done));
        let mut restart = || -> anyhow::Result<()> {
            for round in 0..RESTARTS {
                if round % 2 == 0 {
                    stage.agent.kill()?;
                } else {
                    stage.agent.terminate()?;
                }
                // Some time without any agent, too.
                std::thread::sleep(Duration::from_millis(100));
                stage.agent = Agent::start(stage.runtime.as_ref(), &options)?;
            }
            Ok(())
        };
        let restarted = restart();
        done.store(true, Ordering::Relaxed);
        (
            restarted,
            allowed.join().expect("no panic"),
            drifted.join().expect("no panic"),
        )
    });
    restarted?;
    let (allowed, drifted) = (allowed?, drifted?);
    println!("{RESTARTS} restarts; conforming: {allowed:?}; drifted: {drifted:?}");
    assert!(allowed.all_succeeded(), "{allowed:?}");
    assert_eq!(drifted.succeeded + drifted.failed, 0, "{drifted:?}");
    assert!(
        drifted.killed + drifted.denied + drifted.not_permitted + drifted.other >= BATCH,
        "{drifted:?}"
    );
    assert_eq!(std::fs::read_dir(&witnesses)?.count(), 0, "a drifted program ran");
    // The last agent knows both, and tells of what it is told.
    for service in [&conforming, &attacked] {
        let container = stage.agent.wait_until_resolved(&service.container.id)?;
        assert_eq!(container["modes"][0]["mode"], "enforce", "{container:#}");
    }
    let outcome = attacked.start(&["/tmp/dropped", "/data/last"])?;
    assert_eq!(outcome.succeeded, 0, "{outcome:?}");
    let alert = stage.expect_alert(0, &attacked);
    assert_eq!(alert["behaviour"]["path"], "/tmp/dropped", "{alert:#}");
    Ok(())
}

/// Without an agent drift is stopped all the same, a container that starts meanwhile is known to the next agent, and so is what
/// happened; `teardown` ends it, and so does an agent that was started with `--teardown-on-exit`.
fn enforcement_outlives_the_agent_until_teardown(kind: Kind) -> anyhow::Result<()> {
    let options = Options::named("outlives");
    let mut stage = Stage::enforcing_on(kind, &options)?;
    let service = stage.service("outlives", &[])?;
    Stage::drop_payload(&service, "/tmp/dropped")?;
    stage.agent.kill()?;
    for program in ["/tmp/dropped", "/bin/rotate"] {
        let outcome = service.start_many(BATCH, &[program, "/tmp/witness"])?;
        assert_eq!(outcome.succeeded + outcome.failed, 0, "{program}: {outcome:?}");
    }
    assert_eq!(stage.runtime.read(&service.container, "/tmp/witness")?, None);
    assert!(service.start(&["/bin/fetch"])?.all_succeeded());
    let meanwhile = stage.runtime.service("meanwhile", IMAGE, &[], &["/bin/fetch"])?;
    assert!(pins(&stage, "outlives").is_dir());

    stage.agent = Agent::start(stage.runtime.as_ref(), &options)?;
    // What happened without an agent was kept for the next one.
    for kind in ["exec.drift", "exec.unknown"] {
        let is_it =
            |alert: &serde_json::Value| is_about(alert, &service.container.id) && alert["kind"] == kind;
        let alert = stage.agent.wait_for_alert(0, ALERT_PATIENCE, is_it).expect(kind);
        assert_ne!(alert["action"]["taken"], "none", "{alert:#}");
    }
    for container in [&service.container, &meanwhile.container] {
        let container = stage.agent.wait_until_resolved(&container.id)?;
        assert_eq!(container["modes"][0]["mode"], "enforce", "{container:#}");
    }

    stage.agent.terminate()?;
    let outcome = service.start(&["/tmp/dropped", "/tmp/witness"])?;
    assert_eq!(outcome.succeeded, 0, "{outcome:?}");
    stage.agent.done(&["teardown"])?;
    assert!(!pins(&stage, "outlives").exists());
    let outcome = service.start(&["/tmp/dropped", "/tmp/witness"])?;
    assert!(outcome.all_succeeded(), "after teardown: {outcome:?}");

    let passing = Options {
        arguments: vec!["--teardown-on-exit"],
        ..options
    };
    stage.agent = Agent::start(stage.runtime.as_ref(), &passing)?;
    stage.agent.wait_until_resolved(&service.container.id)?;
    assert_eq!(service.start(&["/tmp/dropped", "/tmp/witness"])?.succeeded, 0);
    stage.agent.terminate()?;
    let outcome = service.start(&["/tmp/dropped", "/tmp/witness"])?;
    assert!(
        outcome.all_succeeded(),
        "after an agent that tears down: {outcome:?}"
    );
    Ok(())
}

/// What an agent with another ABI left is not touched: the agent refuses to start and says what to do, and drift is stopped as
/// before.
#[test]
fn another_abi_is_refused_and_stays_in_force() -> anyhow::Result<()> {
    let options = Options::named("other-abi");
    let mut stage = Stage::enforcing(&options)?;
    let service = stage.service("other-abi", &[])?;
    Stage::drop_payload(&service, "/tmp/dropped")?;
    stage.agent.terminate()?;
    let directory = pins(&stage, "other-abi");
    let ours = std::fs::read_dir(&directory)?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| {
            path.file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with("abi-"))
        })
        .expect("a directory for the ABI");
    let other = directory.join("abi-1");
    std::fs::rename(&ours, &other)?;

    let mut refused = Agent::spawn(stage.runtime.as_ref(), &options)?;
    let error = refused.wait_until_ready().expect_err("it must not start");
    let error = format!("{error:#}");
    assert!(error.contains("left by an agent with ABI 1"), "{error}");
    assert!(error.contains("driftlock teardown"), "{error}");
    refused.keep_pinned();
    drop(refused);
    let outcome = service.start(&["/tmp/dropped", "/tmp/witness"])?;
    assert_eq!(outcome.succeeded, 0, "{outcome:?}");
    assert_eq!(stage.runtime.read(&service.container, "/tmp/witness")?, None);

    std::fs::rename(&other, &ours)?;
    stage.agent = Agent::start(stage.runtime.as_ref(), &options)?;
    stage.agent.wait_until_resolved(&service.container.id)?;
    Ok(())
}

/// A second agent on the same directory is refused, whatever its state directory.
#[test]
fn two_agents_do_not_share_what_is_pinned() -> anyhow::Result<()> {
    let stage = Stage::start(tests::runtime::Layout::Hybrid, &Options::named("first"))?;
    let second = Options {
        variables: vec![("DRIFTLOCK_BPFFS", pins(&stage, "first").display().to_string())],
        ..Options::named("second")
    };
    let mut refused = Agent::spawn(stage.runtime.as_ref(), &second)?;
    let error = format!("{:#}", refused.wait_until_ready().expect_err("it must not start"));
    assert!(error.contains("is in use by another agent"), "{error}");
    refused.keep_pinned();
    Ok(())
}
