//! What a profile is learned from is counted as it is: windows, starts and ends.
//!
//! The windows are those of the boot-time clock, so that a test has to wait for the end of one.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use rustix::time::{ClockId, clock_gettime};
use serde_json::Value;
use tests::agent::Options;
use tests::environment::patience;
use tests::runtime::Kind;
use tests::stage::{IMAGE, Stage};

/// Length of a window.
const WINDOW: Duration = Duration::from_mins(1);

/// How long it is until the window that is open ends.
fn until_next_window() -> Duration {
    let now = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(now.tv_sec).expect("after the boot") % WINDOW.as_secs();
    Duration::from_secs(WINDOW.as_secs() - seconds)
}

/// The conditions of domain exec of the profile: what is, by subject.
fn conditions(stage: &Stage) -> anyhow::Result<Value> {
    let profile = stage.agent.json(&["profile", "show", IMAGE])?;
    let domains = profile["summary"]["domains"].as_array().context("no domains")?;
    let exec = domains
        .iter()
        .find(|domain| domain["domain"] == "exec")
        .context("no domain exec")?;
    let conditions = exec["conditions"].as_array().context("no conditions")?;
    let mut found = serde_json::Map::new();
    for condition in conditions {
        let subject = condition["subject"].as_str().context("no subject")?;
        found.insert(subject.to_owned(), condition["is"].clone());
    }
    found.insert("complete".to_owned(), exec["complete"].clone());
    Ok(Value::Object(found))
}

/// Waits until so many windows are counted.
fn wait_for_windows(stage: &Stage, windows: u64) -> anyhow::Result<Value> {
    let deadline = Instant::now() + patience(WINDOW + Duration::from_secs(10));
    loop {
        let found = conditions(stage)?;
        if found["windows"].as_u64() >= Some(windows) {
            return Ok(found);
        }
        anyhow::ensure!(
            Instant::now() < deadline,
            "still {found}; log:\n{}",
            stage.agent.log()
        );
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// In one window: a container that was there before the agent, one that starts and stays, and one that starts and ends.
/// Then a program that runs without pause, over two windows.
#[test]
fn windows_starts_and_ends_are_counted() -> anyhow::Result<()> {
    let config = "learned: { coverage: 0.5, instances: 3, windows: 3, starts: 2, ends: 1 }\n";
    let options = Options {
        config: config.to_owned(),
        ..Options::named("learned")
    };
    let mut stage = Stage::start(Kind::Docker, &options)?;
    stage.agent.stop()?;
    let before = stage.runtime.service("before", IMAGE, &[], &[])?;
    // All within one window, and time enough for it.
    if until_next_window() < patience(Duration::from_secs(25)) {
        std::thread::sleep(until_next_window());
    }
    stage.agent = tests::agent::Agent::start(stage.runtime.as_ref(), &options)?;
    stage.agent.wait_until_resolved(&before.container.id)?;
    let stays = stage.service("stays", &[])?;
    let ends = stage.service("ends", &[])?;
    for service in [&before, &stays, &ends] {
        assert!(service.start(&["/bin/fetch"])?.all_succeeded());
        // The next one is to find the rule in the kernel: what is still on its way is told by a record of its own.
        stage.agent.wait_until_learned(IMAGE, &["/bin/fetch"])?;
    }
    stage.runtime.remove(&ends.detach())?;
    let found = conditions(&stage)?;
    assert_eq!(found["windows"], 0, "the window is open: {found}");
    assert_eq!(found["instances"], 3, "{found}");

    let found = wait_for_windows(&stage, 3)?;
    assert_eq!(found["windows"], 3, "{found}");
    assert_eq!(found["starts"], 2, "one was there before: {found}");
    assert_eq!(found["ends"], 1, "{found}");
    assert_eq!(found["lost_windows"], 0, "{found}");

    // Without pause up to the end of the window that is open now, and beyond it: its window counts.
    let end = Instant::now() + until_next_window() + Duration::from_secs(2);
    while Instant::now() < end {
        assert!(stays.start_many(20, &["/bin/fetch"])?.all_succeeded());
    }
    let found = wait_for_windows(&stage, 5)?;
    assert_eq!(found["windows"], 5, "two containers, one window more: {found}");
    let profile = stage.agent.json(&["profile", "show", IMAGE])?;
    let behaviours = profile["behaviours"].as_array().context("no behaviours")?;
    let fetch = behaviours
        .iter()
        .find(|behaviour| behaviour["path"] == "/bin/fetch")
        .context("not learned")?;
    // Three containers in the first window, one in the second.
    assert_eq!(fetch["windows"], 4, "{profile:#}");
    let service = behaviours
        .iter()
        .find(|behaviour| behaviour["path"] == "/bin/service")
        .context("not learned")?;
    assert_eq!(service["windows"], 2, "only two were seen to start: {service:#}");
    let found = conditions(&stage)?;
    assert_eq!(found["complete"], true, "{found}");

    // Another agent does not count the same containers again.
    stage.agent.restart(stage.runtime.as_ref(), &options)?;
    stage.agent.wait_until_resolved(&stays.container.id)?;
    let after = conditions(&stage)?;
    assert_eq!(after["instances"], 3, "{after}");
    assert_eq!(after["starts"], 2, "{after}");
    let status = stage.agent.json(&["status"])?;
    assert_eq!(
        status["learning"][0]["domains"][0]["complete"], true,
        "{status:#}"
    );
    Ok(())
}
