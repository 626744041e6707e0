//! Who conforms is left alone: starts, restarts and execs in parallel, under enforce.

use std::sync::Mutex;
use std::time::Duration;

use tests::agent::Options;
use tests::runtime::{Container, Kind, Runtime};
use tests::stage::{IMAGE, Stage};

tests::on_every_runtime!(nothing_that_conforms_is_disturbed);

/// How many operations run at once.
const PARALLEL: usize = 4;

/// 200 container starts, restarts and execs with Docker, 80 with each other runtime: each shows its effect, none is disturbed, and there is no alert at
/// all, so none about the runtime's own processes either.
fn nothing_that_conforms_is_disturbed(kind: Kind) -> anyhow::Result<()> {
    let stage = Stage::enforcing_on(
        kind,
        &Options {
            policies: vec![("exec_into", "deny")],
            ..Options::named("conforming")
        },
    )?;
    stage.agent.accept_probe(IMAGE, "/bin/fetch")?;
    let mark = stage.agent.mark();
    let before = descriptors(&stage)?;
    let (stopped, runtime) = (stage.agent.counter(stage.stop.counter())?, stage.runtime.as_ref());
    let operations = if kind == Kind::Docker { 200 } else { 80 };
    let faults = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for worker in 0..PARALLEL {
            let faults = &faults;
            scope.spawn(move || {
                // Per round: a start, a restart and three execs.
                for round in 0..operations / PARALLEL / 5 {
                    if let Err(fault) = conform(runtime, &format!("c{worker}-{round}")) {
                        faults
                            .lock()
                            .expect("no thread panicked")
                            .push(format!("{fault:#}"));
                    }
                }
            });
        }
    });
    let faults = faults.into_inner()?;
    assert!(
        faults.is_empty(),
        "{}\nlog:\n{}",
        faults.join("\n"),
        stage.agent.log()
    );
    let alert = stage.agent.wait_for_alert(mark, Duration::from_secs(3), |_| true);
    assert_eq!(alert, None);
    assert_eq!(stage.agent.counter(stage.stop.counter())?, stopped);
    // Containers that are gone leave nothing in the agent.
    let mut left = stage.agent.json(&["containers"])?;
    for _ in 0..100 {
        if left.as_array().is_some_and(Vec::is_empty) {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
        left = stage.agent.json(&["containers"])?;
    }
    assert_eq!(left, serde_json::json!([]));
    let after = descriptors(&stage)?;
    assert!(after <= before + 4, "open files: {before} before, {after} after");
    Ok(())
}

/// How many files the agent has open.
fn descriptors(stage: &Stage) -> anyhow::Result<usize> {
    Ok(std::fs::read_dir(format!("/proc/{}/fd", stage.agent.pid()))?.count())
}

/// Five operations on one container.
fn conform(runtime: &dyn Runtime, name: &str) -> anyhow::Result<()> {
    let container = runtime.run(
        name,
        IMAGE,
        &[],
        &["/bin/fetch,/tmp/starts", "/bin/report,/tmp/reports"],
    )?;
    wait_for_lines(runtime, &container, "/tmp/reports", 1)?;
    let container = runtime.restart(&container)?;
    let starts = if runtime.kind().keeps_files() { 2 } else { 1 };
    wait_for_lines(runtime, &container, "/tmp/reports", starts)?;
    for probe in 1..=3 {
        let output = runtime.exec(&container, &["/bin/fetch", "/tmp/probes"])?;
        anyhow::ensure!(output.status.success(), "{name}: exec {probe}: {output:?}");
    }
    wait_for_lines(runtime, &container, "/tmp/probes", 3)?;
    wait_for_lines(runtime, &container, "/tmp/starts", starts)?;
    runtime.remove(&container)
}

fn wait_for_lines(
    runtime: &dyn Runtime,
    container: &Container,
    path: &str,
    lines: usize,
) -> anyhow::Result<()> {
    let mut found = String::new();
    for _ in 0..100 {
        found = runtime.read(container, path)?.unwrap_or_default();
        if found.lines().count() == lines {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    anyhow::bail!("{}: {path} holds {found:?}, not {lines} lines", container.name)
}
