//! A container whose image nobody tells, because its runtime does not answer: drift is recognised all the same, and what is
//! known of it gives way when the runtime answers again.

use std::time::{Duration, Instant};

use tests::agent::{Agent, Options};
use tests::image;
use tests::runtime::{Containerd, Kind, Layout, Runtime as _};
use tests::stage::{ALERT_PATIENCE, IMAGE, is_about};
use tests::support;

/// Waits until it may go on, then drops a program and executes it.
const SCRIPT: &str = "until [ -e /data/go ]; do sleep 0.1; done; \
     cp /usr/share/payload /tmp/dropped; chmod 755 /tmp/dropped; /tmp/dropped /data/witness; sleep 600";

/// containerd hangs: its socket takes questions and answers none.
#[test]
fn drift_is_recognised_while_containerd_does_not_answer() -> anyhow::Result<()> {
    if !Kind::Containerd.is_here() {
        support::not_on_this_kernel("containerd", "the runtime is not there");
        return Ok(());
    }
    let containerd = Containerd::start(Layout::Hybrid)?;
    let digest = image::build(&containerd, IMAGE, "provisional")?;
    let volume = containerd.place().directory().join("volume");
    std::fs::create_dir(&volume)?;
    let mount = format!("--volume={}:/data", volume.display());
    let container = containerd.run(
        "orphan",
        IMAGE,
        &[&mount, "--entrypoint=/bin/sh"],
        &["-c", SCRIPT],
    )?;
    containerd.halt()?;
    let agent = Agent::start(&containerd, &Options::named("provisional"))?;
    let described = wait_for_state(&agent, &container.id, "provisional")?;
    assert_eq!(described["name"], "orphan", "{described:#}");
    assert_ne!(described["digest"], digest.as_str(), "{described:#}");
    assert!(described["state_reason"].is_string(), "{described:#}");

    std::fs::write(volume.join("go"), "")?;
    let alert = agent.wait_for_alert(0, ALERT_PATIENCE, |alert| {
        is_about(alert, &container.id) && alert["kind"] == "exec.drift"
    });
    let alert = alert.unwrap_or_else(|| panic!("no alert; log:\n{}", agent.log()));
    assert_eq!(alert["behaviour"]["path"], "/tmp/dropped", "{alert:#}");
    assert_eq!(alert["container"]["name"], "orphan", "{alert:#}");
    assert!(
        alert["container"]["image"]["config_digest"].is_null(),
        "{alert:#}"
    );
    // What is learned of it is nobody else's.
    assert_ne!(agent.cli(&["profile", "show", &digest])?.code, 0);

    containerd.go_on()?;
    let described = wait_for_state(&agent, &container.id, "resolved")?;
    assert_eq!(described["digest"], digest.as_str(), "{described:#}");
    assert_eq!(agent.cli(&["profile", "show", &digest])?.code, 0);
    Ok(())
}

fn wait_for_state(agent: &Agent, id: &str, state: &str) -> anyhow::Result<serde_json::Value> {
    let deadline = Instant::now() + Duration::from_mins(1);
    loop {
        let containers = agent.json(&["containers"])?;
        let mut listed = containers.as_array().into_iter().flatten();
        if let Some(found) = listed.find(|one| one["id"] == id && one["state"] == state) {
            return Ok(found.clone());
        }
        anyhow::ensure!(
            Instant::now() < deadline,
            "{id} is not {state}: {containers:#}\nlog:\n{}",
            agent.log()
        );
        std::thread::sleep(Duration::from_millis(100));
    }
}
