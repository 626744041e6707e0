//! With `unprofiled: hold` a runtime's start waits until the profile of its container is in force, and no longer than it may.
//! The agent is halted meanwhile; what holds is a process of its own.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tests::agent::Options;
use tests::environment::patience;
use tests::runtime::Kind;
use tests::stage::{ALERT_PATIENCE, IMAGE, Stage, is_about};

tests::on_every_runtime!(a_held_container_begins_with_its_profile_in_force);

/// Options of an agent that holds starts.
fn holding(name: &str, hold: &'static str) -> Options {
    Options {
        policies: vec![("unprofiled", "hold"), ("hold", hold)],
        ..Options::named(name)
    }
}

/// What the agent says of a hook.
fn hook(stage: &Stage, name: &str) -> anyhow::Result<serde_json::Value> {
    let status = stage.agent.json(&["status"])?;
    let hooks = status["hooks"].as_array().into_iter().flatten();
    Ok(hooks
        .into_iter()
        .find(|hook| hook["name"] == name)
        .cloned()
        .unwrap_or_default())
}

/// With `unprofiled: hold` nothing of a container runs before its profile is in force: not even its first program, and
/// what is only unknown is stopped, too.
fn a_held_container_begins_with_its_profile_in_force(kind: Kind) -> anyhow::Result<()> {
    let stage = Stage::enforcing_on(kind, &holding("hold", "{ at_most_ms: 60000, then: alert-drift }"))?;
    let volume = stage.host_directory("volume")?;
    tests::demo::put_tool(&volume)?;
    let mount = format!("--volume={}:/data", volume.display());
    let witnesses = format!(
        "--volume={}:/witnesses",
        stage.host_directory("witnesses")?.display()
    );
    let words = ["/data/tool,/witnesses/drift", "/bin/rotate,/witnesses/unknown"];
    let mark = stage.agent.mark();
    stage.agent.halt()?;
    let service = std::thread::scope(|scope| {
        let runtime = &stage.runtime;
        let options = [mount.as_str(), witnesses.as_str()];
        let started = scope.spawn(move || runtime.service("held", IMAGE, &options, &words));
        std::thread::sleep(Duration::from_secs(3));
        let began = started.is_finished();
        stage.agent.go_on()?;
        anyhow::ensure!(!began, "the container began while nobody knew its image");
        started.join().expect("no panic")
    })?;
    for (witness, path, kind) in [
        ("/witnesses/drift", "/data/tool", "exec.drift"),
        ("/witnesses/unknown", "/bin/rotate", "exec.unknown"),
    ] {
        let ran = stage.runtime.read(&service.container, witness)?;
        assert!(ran.is_none(), "{path} ran; log:\n{}", stage.agent.log());
        let alert = stage.agent.wait_for_alert(mark, ALERT_PATIENCE, |alert| {
            is_about(alert, &service.container.id) && alert["behaviour"]["path"] == path
        });
        let alert = alert.unwrap_or_else(|| panic!("no alert about {path}; log:\n{}", stage.agent.log()));
        assert_eq!(alert["kind"], kind, "{alert:#}");
        assert_eq!(alert["action"]["taken"], stage.stop.as_str(), "{alert:#}");
    }
    let hook = hook(&stage, "hold-starts")?;
    assert_eq!(hook["attached"], true, "{hook:#}");
    let detail = hook["detail"].as_str().unwrap_or_default();
    assert!(
        !detail.starts_with("0 starts held") && detail.contains("; 0 of them"),
        "{hook:#}"
    );
    Ok(())
}

/// At the bound a start goes on or is refused, as configured; the next one is not held up by the same container.
#[test]
fn a_start_is_held_no_longer_than_the_bound() -> anyhow::Result<()> {
    const BOUND: Duration = Duration::from_secs(1);
    for (then, goes_on, drift_runs) in [
        ("alert-drift", true, true),
        ("deny-drift", true, false),
        ("refuse", false, false),
    ] {
        let hold = match then {
            "alert-drift" => "{ at_most_ms: 1000, then: alert-drift }",
            "deny-drift" => "{ at_most_ms: 1000, then: deny-drift }",
            _ => "{ at_most_ms: 1000, then: refuse }",
        };
        let stage = Stage::enforcing(&holding(then, hold))?;
        let volume = stage.host_directory("volume")?;
        tests::demo::put_tool(&volume)?;
        let mount = format!("--volume={}:/data", volume.display());
        stage.agent.halt()?;
        let begun = Instant::now();
        let started = stage
            .runtime
            .service("late", IMAGE, &[&mount], &["/data/tool,/data/drift"]);
        let waited = begun.elapsed();
        stage.agent.go_on()?;
        assert!(waited >= BOUND, "{then}: it was not held");
        assert_eq!(started.is_ok(), goes_on, "{then}: {started:?}");
        assert_eq!(volume.join("drift").exists(), drift_runs, "{then}");
        let deadline = Instant::now() + patience(ALERT_PATIENCE);
        loop {
            // The agent hears of it once it goes on.
            let hook = hook(&stage, "hold-starts")?;
            let detail = hook["detail"].as_str().unwrap_or_default();
            if !detail.contains("; 0 of them") {
                break;
            }
            assert!(Instant::now() < deadline, "{then}: {hook:#}");
            std::thread::sleep(Duration::from_millis(50));
        }
        // What the agent knows by now is held up no more.
        let next = stage.runtime.service("next", IMAGE, &[], &[])?;
        stage.agent.wait_until_resolved(&next.container.id)?;
    }
    Ok(())
}

/// A cgroup named as a container's, in which nothing ever runs. It goes when this is dropped.
struct EmptyContainer(PathBuf);

impl EmptyContainer {
    /// Below the one in which Docker makes those of its containers.
    fn create(stage: &Stage) -> anyhow::Result<Self> {
        let status = stage.agent.json(&["status"])?;
        let hierarchy = status["cgroups"]["hierarchy"].as_str().unwrap_or_default();
        let cgroup = Path::new(hierarchy).join("docker").join("e".repeat(64));
        std::fs::create_dir(&cgroup)?;
        Ok(Self(cgroup))
    }
}

impl Drop for EmptyContainer {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.0);
    }
}

/// Executes the runtime's program; when it was asked for, and for how long it was held.
fn execute_runtime() -> anyhow::Result<(Instant, Duration)> {
    let begun = Instant::now();
    // Without a pipe: another one that is held meanwhile would keep it open.
    let status = Command::new("runc")
        .arg("--version")
        .stdout(Stdio::null())
        .status()?;
    anyhow::ensure!(status.success(), "{status:?}");
    Ok((begun, begun.elapsed()))
}

/// Two wait at once, each for its own time: that one has reached the bound does not let the other go on.
#[test]
fn two_starts_are_held_each_for_its_own_time() -> anyhow::Result<()> {
    const BOUND: Duration = Duration::from_secs(4);
    const APART: Duration = Duration::from_secs(2);
    let stage = Stage::enforcing(&holding("two", "{ at_most_ms: 4000, then: alert-drift }"))?;
    let _unknown = EmptyContainer::create(&stage)?;
    let (first, second) = std::thread::scope(|scope| {
        let first = scope.spawn(execute_runtime);
        std::thread::sleep(APART);
        let second = execute_runtime();
        (first.join().expect("no panic"), second)
    });
    let ((first_begun, first), (second_begun, second)) = (first?, second?);
    assert!(second_begun < first_begun + first, "they did not wait at once");
    for waited in [first, second] {
        assert!(
            waited >= BOUND && waited < BOUND + patience(Duration::from_secs(2)),
            "not its own bound: {first:?}, {second:?}"
        );
    }
    let hook = hook(&stage, "hold-starts")?;
    let detail = hook["detail"].as_str().unwrap_or_default();
    assert!(detail.contains("; 2 of them"), "{hook:#}");
    // The container was given up, and holds up nobody any more.
    let (_, next) = execute_runtime()?;
    assert!(next < BOUND, "{next:?}");
    Ok(())
}

/// Nobody waits for an agent that is gone.
#[test]
fn a_start_is_not_held_for_an_agent_that_was_killed() -> anyhow::Result<()> {
    let options = holding("killed", "{ at_most_ms: 60000, then: refuse }");
    let mut stage = Stage::enforcing(&options)?;
    stage.agent.kill()?;
    let begun = Instant::now();
    let _service = stage.runtime.service("unheld", IMAGE, &[], &[])?;
    assert!(
        begun.elapsed() < Duration::from_secs(30),
        "it waited for nobody: {:?}",
        begun.elapsed()
    );
    Ok(())
}
