//! A container is known as one from its first exec, before the agent has found out which image it is. The agent is
//! halted meanwhile, so that this moment lasts as long as the test needs.

use tests::agent::Options;
use tests::runtime::Kind;
use tests::stage::{ALERT_PATIENCE, IMAGE, Stage, is_about};

tests::on_every_runtime!(
    drift_is_reported_from_the_first_exec,
    drift_is_killed_from_the_first_exec_if_so_configured
);

/// Starts a container that executes a program of its volume and an image program that no profile holds, while the
/// agent is halted. Returns whether each ran, and the alert about each.
fn start_unseen(stage: &Stage) -> anyhow::Result<[(bool, Option<serde_json::Value>); 2]> {
    let volume = stage.host_directory("volume")?;
    tests::demo::put_tool(&volume)?;
    let mount = format!("--volume={}:/data", volume.display());
    let mark = stage.agent.mark();
    stage.agent.halt()?;
    let words = ["/data/tool,/tmp/drift", "/bin/rotate,/tmp/unknown"];
    let started = stage.runtime.service("unseen", IMAGE, &[&mount], &words);
    stage.agent.go_on()?;
    let service = started?;
    let find = |path: &str| {
        stage.agent.wait_for_alert(mark, ALERT_PATIENCE, |alert| {
            is_about(alert, &service.container.id) && alert["behaviour"]["path"] == path
        })
    };
    let ran = |witness| Ok::<_, anyhow::Error>(stage.runtime.read(&service.container, witness)?.is_some());
    Ok([
        (ran("/tmp/drift")?, find("/data/tool")),
        (ran("/tmp/unknown")?, find("/bin/rotate")),
    ])
}

/// By default drift is reported, and what is only unknown is judged when the profile is known.
fn drift_is_reported_from_the_first_exec(kind: Kind) -> anyhow::Result<()> {
    let stage = Stage::enforcing_on(kind, &Options::named("alert-drift"))?;
    let [(drift_ran, drift), (unknown_ran, unknown)] = start_unseen(&stage)?;
    assert!(
        drift_ran && unknown_ran,
        "nothing is known yet that could be enforced"
    );
    let drift = drift.unwrap_or_else(|| panic!("no alert about drift; log:\n{}", stage.agent.log()));
    assert_eq!(drift["kind"], "exec.drift", "{drift:#}");
    assert_eq!(drift["behaviour"]["layer"], "volume", "{drift:#}");
    assert_eq!(drift["action"]["taken"], "none", "{drift:#}");
    assert_eq!(drift["container"]["name"], "unseen", "{drift:#}");
    assert_eq!(
        drift["container"]["image"]["config_digest"],
        stage.digest.as_str(),
        "{drift:#}"
    );
    let unknown =
        unknown.unwrap_or_else(|| panic!("no alert about the unknown; log:\n{}", stage.agent.log()));
    assert_eq!(unknown["kind"], "exec.unknown", "{unknown:#}");
    assert_eq!(unknown["action"]["taken"], "none", "{unknown:#}");
    Ok(())
}

/// With `unprofiled: deny-drift` the kernel kills drift before anybody knows the image.
fn drift_is_killed_from_the_first_exec_if_so_configured(kind: Kind) -> anyhow::Result<()> {
    let options = Options {
        policies: vec![("unprofiled", "deny-drift")],
        ..Options::named("deny-drift")
    };
    let stage = Stage::learned(kind, &options)?;
    stage.agent.set_mode("enforce", IMAGE)?;
    let [(drift_ran, drift), (unknown_ran, _)] = start_unseen(&stage)?;
    assert!(!drift_ran, "drift ran; log:\n{}", stage.agent.log());
    assert!(unknown_ran, "what came with the image is not drift");
    let drift = drift.unwrap_or_else(|| panic!("no alert about drift; log:\n{}", stage.agent.log()));
    assert_eq!(drift["action"]["taken"], stage.stop.as_str(), "{drift:#}");
    assert_eq!(drift["container"]["name"], "unseen", "{drift:#}");
    Ok(())
}
