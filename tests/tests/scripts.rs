//! The lite tier before an execution: what drifted in a container's root filesystem is refused, scripts included; and whatever
//! becomes of the agent or of the process that answers, nothing waits for long and every container can be removed.
//!
//! Where the kernel refuses by itself (full tier) there is no such process, which is what is tested there.

use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tests::agent::{Agent, Options};
use tests::image::{PAYLOAD, SCRIPT};
use tests::runtime::Layout;
use tests::service::{Outcomes, Service, Stop};
use tests::stage::{ALERT_PATIENCE, IMAGE, Stage, is_about};
use tests::support;

/// Executions that conform, in each round.
const CONFORMING: u64 = 200;
/// How long those may take at most: each takes a few milliseconds, on a busy machine without acceleration more.
const PROMPT: Duration = Duration::from_secs(30);
/// How long one execution may wait for an answer that does not come.
const GOES_ON_WITHIN: Duration = Duration::from_secs(2);

/// A stage where executions are answered; `None` where the kernel needs no answers.
fn stage(name: &str) -> anyhow::Result<Option<Stage>> {
    let stage = Stage::learned(Layout::Hybrid, &Options::named(name))?;
    if support::tier(&stage.agent, "exec")? == "deny" {
        assert_eq!(stage.agent.answering_process(), None, "what for?");
        support::not_on_this_kernel(
            "answers before executions",
            "the kernel refuses executions by itself",
        );
        return Ok(None);
    }
    Ok(Some(stage))
}

/// A container whose executions are answered.
fn answered(stage: &Stage, name: &str) -> anyhow::Result<Service> {
    let service = stage.service(name, &[])?;
    stage.agent.wait_until_answered(&service.container.id)?;
    Ok(service)
}

/// Puts a script into a container that runs programs that were learned, and nothing else.
fn drop_script(stage: &Stage, service: &Service, path: &str) -> anyhow::Result<()> {
    let script = stage.runtime.place().directory().join("dropped.sh");
    std::fs::write(&script, "#!/bin/sh\nexec /bin/fetch \"$@\"\n")?;
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755))?;
    stage.runtime.copy(&script, &service.container, path)
}

fn send(process: u32, signal: Signal) -> anyhow::Result<()> {
    let pid = i32::try_from(process)
        .ok()
        .and_then(Pid::from_raw)
        .expect("a process id");
    Ok(kill_process(pid, signal)?)
}

fn alerts_about(agent: &Agent, service: &Service, path: &str) -> Vec<Value> {
    agent
        .alerts()
        .into_iter()
        .filter(|alert| {
            is_about(alert, &service.container.id)
                && alert["behaviour"]["path"] == path
                && alert["repeats_of"].is_null()
        })
        .collect()
}

fn expect_alert(stage: &Stage, service: &Service, path: &str) -> Value {
    let found = stage.agent.wait_for_alert(0, ALERT_PATIENCE, |alert| {
        is_about(alert, &service.container.id) && alert["behaviour"]["path"] == path
    });
    found.unwrap_or_else(|| panic!("no alert about {path}; log:\n{}", stage.agent.log()))
}

/// Counts come from the answering process, a moment later.
fn wait_until_denied(stage: &Stage, expected: u64) -> anyhow::Result<()> {
    let deadline = Instant::now() + ALERT_PATIENCE;
    while stage.agent.counter("denied")? < expected && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(stage.agent.counter("denied")?, expected);
    Ok(())
}

fn conforms(service: &Service) -> anyhow::Result<()> {
    let started = Instant::now();
    let outcomes = service.start_many(CONFORMING, &["/bin/fetch"])?;
    assert!(outcomes.all_succeeded(), "{outcomes:?}");
    assert!(started.elapsed() < PROMPT, "{:?}", started.elapsed());
    Ok(())
}

/// A dropped program and a dropped script are refused, and each is told once however often it is tried; the image's own
/// script runs, until somebody writes to it.
#[test]
fn what_was_dropped_is_refused() -> anyhow::Result<()> {
    let Some(stage) = stage("refused")? else {
        return Ok(());
    };
    stage.agent.set_mode("enforce", IMAGE)?;
    let service = answered(&stage, "refused")?;
    Stage::drop_payload(&service, "/tmp/dropped")?;
    drop_script(&stage, &service, "/tmp/dropped.sh")?;
    for (path, part) in [("/tmp/dropped", "program"), ("/tmp/dropped.sh", "script")] {
        let first = service.start(&[path, "/tmp/witness"])?;
        assert!(
            first.all_not_permitted(),
            "{path}: {first:?}; log:\n{}",
            stage.agent.log()
        );
        let alert = expect_alert(&stage, &service, path);
        assert_eq!(alert["kind"], "exec.drift", "{alert:#}");
        assert_eq!(alert["behaviour"]["layer"], "upper", "{alert:#}");
        assert_eq!(alert["behaviour"]["filename"], path, "{alert:#}");
        assert_eq!(alert["action"]["taken"], "denied", "{alert:#}");
        assert_eq!(alert["action"]["confirmed"], true, "{alert:#}");
        assert_eq!(alert["mode"], "enforce", "{alert:#}");
        assert_eq!(
            alert["process"]["args"],
            serde_json::json!([path, "/tmp/witness"]),
            "{alert:#}"
        );
        assert_eq!(alert["process"]["comm"], "service", "{alert:#}");
        assert_eq!(
            alert["process"]["pid_in_container"].as_u64().map(|pid| pid > 1),
            Some(true),
            "{alert:#}"
        );
        assert!(alert["behaviour"]["sha256"].is_string(), "{alert:#}");
        assert_eq!(alert["behaviour"]["part"], part, "{alert:#}");
    }
    for path in ["/tmp/dropped", "/tmp/dropped.sh"] {
        let outcomes = service.start_many(499, &[path, "/tmp/witness"])?;
        assert_eq!(outcomes, Outcomes::stopped(Stop::NotPermitted, 499), "{path}");
    }
    assert_eq!(
        stage.runtime.read(&service.container, "/tmp/witness")?,
        None,
        "something ran"
    );
    wait_until_denied(&stage, 1_000)?;
    assert_eq!(stage.agent.counter("kills")?, 0);
    for path in ["/tmp/dropped", "/tmp/dropped.sh"] {
        assert_eq!(alerts_about(&stage.agent, &service, path).len(), 1, "{path}");
    }
    // What a shell says of it, and `docker exec`.
    let said = "/tmp/dropped.sh /tmp/witness 2>/tmp/said; true";
    assert!(service.start(&["/bin/sh", "-c", said])?.all_succeeded());
    let said = stage
        .runtime
        .read(&service.container, "/tmp/said")?
        .unwrap_or_default();
    assert!(said.contains("Operation not permitted"), "{said}");
    let entered = stage
        .runtime
        .exec(&service.container, &["/tmp/dropped.sh", "/tmp/witness"])?;
    assert!(!entered.status.success(), "{entered:?}");
    assert_eq!(
        stage.runtime.read(&service.container, "/tmp/witness")?,
        None,
        "something ran"
    );

    // The image's own files run until somebody writes to them.
    for (path, witness) in [(SCRIPT, "/tmp/script"), ("/bin/report", "/tmp/report")] {
        assert!(service.start_many(3, &[path, witness])?.all_succeeded(), "{path}");
        let append = format!("echo >>{path}");
        assert!(service.start(&["/bin/sh", "-c", &append])?.all_succeeded());
        assert!(
            service.start_many(3, &[path, witness])?.all_not_permitted(),
            "{path}"
        );
        let ran = stage
            .runtime
            .read(&service.container, witness)?
            .unwrap_or_default();
        assert_eq!(ran.lines().count(), 3, "{path}: {ran}");
    }
    // Where there is no root filesystem of the container's, the kernel program kills.
    assert!(
        service
            .start(&["/usr/bin/memfd", PAYLOAD, "/tmp/witness"])?
            .all_killed()
    );
    conforms(&service)
}

/// Where nothing is enforced a dropped script runs and is told once.
#[test]
fn a_script_that_is_monitored_runs_and_is_told_once() -> anyhow::Result<()> {
    let Some(stage) = stage("monitored")? else {
        return Ok(());
    };
    stage.agent.set_mode("monitor", IMAGE)?;
    let service = answered(&stage, "monitored")?;
    drop_script(&stage, &service, "/tmp/dropped.sh")?;
    assert!(
        service
            .start(&["/tmp/dropped.sh", "/tmp/witness"])?
            .all_succeeded()
    );
    let alert = expect_alert(&stage, &service, "/tmp/dropped.sh");
    assert_eq!(alert["kind"], "exec.drift", "{alert:#}");
    assert_eq!(alert["behaviour"]["layer"], "upper", "{alert:#}");
    assert_eq!(alert["action"]["taken"], "none", "{alert:#}");
    assert!(
        service
            .start_many(20, &["/tmp/dropped.sh", "/tmp/witness"])?
            .all_succeeded()
    );
    let ran = stage
        .runtime
        .read(&service.container, "/tmp/witness")?
        .unwrap_or_default();
    assert_eq!(ran.lines().count(), 21);
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(alerts_about(&stage.agent, &service, "/tmp/dropped.sh").len(), 1);
    assert!(service.start(&[SCRIPT, "/tmp/script"])?.all_succeeded());
    assert_eq!(alerts_about(&stage.agent, &service, SCRIPT).len(), 0);
    Ok(())
}

/// A halted agent delays nobody, and what drifted is refused all the same.
#[test]
fn a_halted_agent_delays_nobody() -> anyhow::Result<()> {
    let Some(stage) = stage("halted")? else {
        return Ok(());
    };
    stage.agent.set_mode("enforce", IMAGE)?;
    let service = answered(&stage, "halted")?;
    drop_script(&stage, &service, "/tmp/dropped.sh")?;
    stage.agent.halt()?;
    let tried = (|| {
        conforms(&service)?;
        let outcomes = service.start_many(500, &["/tmp/dropped.sh", "/tmp/witness"])?;
        assert!(outcomes.all_not_permitted(), "{outcomes:?}");
        conforms(&service)
    })();
    stage.agent.go_on()?;
    tried?;
    assert_eq!(stage.runtime.read(&service.container, "/tmp/witness")?, None);
    expect_alert(&stage, &service, "/tmp/dropped.sh");
    wait_until_denied(&stage, 500)?;
    let sums = ["generated", "submitted", "lost_ring", "lost_quota"].map(|name| stage.agent.counter(name));
    let [generated, submitted, lost_ring, lost_quota] = sums.map(|sum| sum.expect("a counter"));
    assert_eq!(generated, submitted + lost_ring + lost_quota);
    Ok(())
}

/// A stopped answering process is killed by the kernel: who waits goes on, what drifted is killed after its execution, and
/// another process answers soon.
#[test]
fn a_stopped_answering_process_holds_nobody_up() -> anyhow::Result<()> {
    let Some(stage) = stage("stopped")? else {
        return Ok(());
    };
    stage.agent.set_mode("enforce", IMAGE)?;
    let service = answered(&stage, "stopped")?;
    let other = answered(&stage, "other")?;
    Stage::drop_payload(&service, "/tmp/dropped")?;
    for round in 1..=3 {
        let process = stage.agent.answering_process().expect("it answers");
        std::thread::scope(|scope| {
            let conforming = scope.spawn(|| conforms(&other));
            send(process, Signal::STOP)?;
            let started = Instant::now();
            let outcomes = service.start(&["/tmp/dropped", "/tmp/witness"])?;
            let took = started.elapsed();
            assert!(outcomes.all_killed(), "round {round}: {outcomes:?}");
            assert!(took < GOES_ON_WITHIN, "round {round}: {took:?}");
            conforming.join().expect("no panic")
        })?;
        assert_eq!(stage.runtime.read(&service.container, "/tmp/witness")?, None);
        stage.agent.wait_until_answered(&service.container.id)?;
        assert_ne!(stage.agent.answering_process(), Some(process));
        let outcomes = service.start(&["/tmp/dropped", "/tmp/witness"])?;
        assert!(outcomes.all_not_permitted(), "round {round}: {outcomes:?}");
    }
    let doctor = stage.agent.json(&["doctor"])?.to_string();
    assert!(doctor.contains("started again 3 times"), "{doctor}");
    Ok(())
}

/// An agent that is killed takes the answering process with it, and nothing waits.
#[test]
fn a_killed_agent_leaves_nobody_waiting() -> anyhow::Result<()> {
    let Some(mut stage) = stage("killed")? else {
        return Ok(());
    };
    stage.agent.set_mode("enforce", IMAGE)?;
    let service = answered(&stage, "killed")?;
    Stage::drop_payload(&service, "/tmp/dropped")?;
    let process = stage.agent.answering_process().expect("it answers");
    stage.agent.kill()?;
    conforms(&service)?;
    let deadline = Instant::now() + GOES_ON_WITHIN;
    while std::path::Path::new(&format!("/proc/{process}")).exists() {
        assert!(
            Instant::now() < deadline,
            "the answering process outlives its agent"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
    let outcomes = service.start(&["/tmp/dropped", "/tmp/witness"])?;
    assert!(outcomes.all_killed(), "what is pinned kills: {outcomes:?}");
    // Another agent answers again.
    stage.agent = Agent::start(stage.runtime.as_ref(), &Options::named("killed"))?;
    stage.agent.wait_until_answered(&service.container.id)?;
    let outcomes = service.start(&["/tmp/dropped", "/tmp/witness"])?;
    assert!(outcomes.all_not_permitted(), "{outcomes:?}");
    assert_eq!(stage.runtime.read(&service.container, "/tmp/witness")?, None);
    conforms(&service)
}

/// A container is removed while it executes, whether somebody answers or not; and its filesystem is gone then.
#[test]
fn a_containers_filesystem_can_be_unmounted() -> anyhow::Result<()> {
    let Some(stage) = stage("unmounted")? else {
        return Ok(());
    };
    stage.agent.set_mode("enforce", IMAGE)?;
    for stopped in [false, true] {
        let service = answered(&stage, if stopped { "stopped" } else { "answered" })?;
        drop_script(&stage, &service, "/tmp/dropped.sh")?;
        let root = mounted_root(&stage)?;
        std::thread::scope(|scope| {
            // It ends with the container.
            scope.spawn(|| service.start_many(1_000_000, &["/bin/fetch"]));
            let entering = scope.spawn(|| {
                for _ in 0..5 {
                    let _ = stage.runtime.exec(&service.container, &["/tmp/dropped.sh"]);
                }
            });
            std::thread::sleep(Duration::from_millis(300));
            if stopped {
                send(stage.agent.answering_process().expect("it answers"), Signal::STOP)?;
            }
            let started = Instant::now();
            stage.runtime.remove(&service.container)?;
            let took = started.elapsed();
            assert!(!is_mounted(&root)?, "{root} is still mounted");
            assert!(!std::path::Path::new(&root).exists(), "{root} is still there");
            assert!(took < Duration::from_secs(20), "{took:?}");
            entering.join().expect("no panic");
            anyhow::Ok(())
        })?;
    }
    Ok(())
}

/// What an execution that conforms costs with and without answers: printed, not asserted, because it depends on the machine.
#[test]
#[ignore = "it measures, and is of use on a machine that does nothing else"]
fn what_it_costs() -> anyhow::Result<()> {
    const STARTS: u64 = 1_000;
    let without = vec![("DRIFTLOCK_TEST_NO_ANSWERS", "1".to_owned())];
    let mut figures: [Vec<u128>; 4] = Default::default();
    for round in 0..5 {
        for (answers, variables) in [(0, without.clone()), (1, Vec::new())] {
            let options = Options {
                variables,
                ..Options::named(&format!("cost-{answers}-{round}"))
            };
            let stage = Stage::enforcing(&options)?;
            let service = stage.service("cost", &[])?;
            for (kind, program) in ["/bin/fetch", SCRIPT].into_iter().enumerate() {
                assert!(service.start_many(10, &[program])?.all_succeeded());
                let started = Instant::now();
                assert!(service.start_many(STARTS, &[program])?.all_succeeded());
                figures[kind * 2 + answers].push(started.elapsed().as_micros() / u128::from(STARTS));
            }
        }
    }
    let names = ["program", "program, answered", "script", "script, answered"];
    for (name, mut figures) in names.into_iter().zip(figures) {
        figures.sort_unstable();
        println!(
            "{name}: {} us per start (median of {figures:?})",
            figures[figures.len() / 2]
        );
    }
    Ok(())
}

/// Where the runtime has mounted the root filesystem of its only container.
fn mounted_root(stage: &Stage) -> anyhow::Result<String> {
    let below = stage.runtime.place().directory();
    let table = std::fs::read_to_string("/proc/self/mounts")?;
    let roots: Vec<&str> = table
        .lines()
        .filter_map(|line| line.split(' ').nth(1))
        .filter(|path| path.ends_with("/merged") && std::path::Path::new(path).starts_with(below))
        .collect();
    anyhow::ensure!(roots.len() == 1, "{roots:?} are mounted");
    Ok(roots[0].to_owned())
}

fn is_mounted(root: &str) -> anyhow::Result<bool> {
    for process in std::fs::read_dir("/proc")?.flatten() {
        // Processes that end meanwhile have no mounts any more.
        let table = std::fs::read_to_string(process.path().join("mountinfo")).unwrap_or_default();
        if table.lines().any(|line| line.split(' ').any(|word| word == root)) {
            return Ok(true);
        }
    }
    Ok(false)
}
