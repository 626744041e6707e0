//! What did not come with the image, or never ran, is killed or refused before it does anything; what conforms is not touched.

use tests::agent::Options;
use tests::attempt::{self, Scene};
use tests::image::SCRIPT;
use tests::runtime::Kind;
use tests::service::Stop;
use tests::stage::{IMAGE, Stage, is_about};

tests::on_every_runtime!(
    every_attempt_comes_out_as_expected,
    drift_is_reported_in_every_mode_and_never_learned,
    what_is_unknown_is_learned_or_reported,
    a_script_is_told_as_a_script,
    an_accepted_volume_program_runs_with_that_content_alone,
    changed_metadata_does_not_alarm_twice
);

/// All attempts of the demonstration, both policies for what enters from outside.
fn every_attempt_comes_out_as_expected(kind: Kind) -> anyhow::Result<()> {
    for (policy, shell) in [("alert", attempt::SHELL_ALERT), ("deny", attempt::SHELL_DENY)] {
        let options = Options {
            policies: vec![("exec_into", policy)],
            ..Options::named(policy)
        };
        let stage = Stage::enforcing_on(kind, &options)?;
        stage.agent.accept_probe(IMAGE, "/bin/fetch")?;
        let volume = stage.host_directory("volume")?;
        tests::demo::put_tool(&volume)?;
        let service = stage.service("attacked", &[&format!("--volume={}:/data", volume.display())])?;
        let scene = Scene::new(&stage, &service);
        let mut faults = Vec::new();
        for attempt in
            attempt::ATTEMPTS
                .iter()
                .chain([&shell, &attempt::ACCEPTED_PROBE, &attempt::CONFORMING])
        {
            let result = attempt.make(&scene)?;
            faults.extend(
                result
                    .faults()
                    .into_iter()
                    .map(|fault| format!("{policy}: {}: {fault}", attempt.name)),
            );
        }
        assert!(
            faults.is_empty(),
            "{}\nlog:\n{}",
            faults.join("\n"),
            stage.agent.log()
        );
    }
    Ok(())
}

/// In learn and monitor drift is reported and runs; it is never learned.
fn drift_is_reported_in_every_mode_and_never_learned(kind: Kind) -> anyhow::Result<()> {
    let stage = Stage::learned(kind, &Options::named("modes"))?;
    let service = stage.service("modes", &[])?;
    for mode in ["learn", "monitor"] {
        stage.agent.set_mode(mode, IMAGE)?;
        let program = format!("/tmp/{mode}");
        let witness = format!("/tmp/witness-{mode}");
        Stage::drop_payload(&service, &program)?;
        let mark = stage.agent.mark();
        assert!(
            service.start(&[&program, &witness])?.all_succeeded(),
            "{mode} kills nothing"
        );
        assert!(stage.runtime.read(&service.container, &witness)?.is_some());
        let alert = stage.expect_alert(mark, &service);
        assert_eq!(alert["kind"], "exec.drift", "{alert:#}");
        assert_eq!(alert["mode"], mode, "{alert:#}");
        assert_eq!(alert["behaviour"]["path"], program.as_str(), "{alert:#}");
        assert_eq!(alert["action"]["taken"], "none", "{alert:#}");
    }
    let held = stage.agent.behaviours(IMAGE, |_| true)?;
    assert!(
        !held.iter().any(|behaviour| behaviour.starts_with("/tmp/")),
        "{held:?}"
    );
    Ok(())
}

/// What is only unknown is reported in monitor, and learned in learn without an alert.
fn what_is_unknown_is_learned_or_reported(kind: Kind) -> anyhow::Result<()> {
    let stage = Stage::learned(kind, &Options::named("unknown"))?;
    let service = stage.service("unknown", &[])?;
    let mark = stage.agent.mark();
    assert!(service.start(&["/bin/rotate", "/tmp/learned"])?.all_succeeded());
    stage.agent.wait_until_learned(IMAGE, &["/bin/rotate"])?;
    stage.agent.set_mode("monitor", IMAGE)?;
    assert!(service.start(&["/bin/rotate", "/tmp/conforms"])?.all_succeeded());
    assert!(service.start(&["/bin/touch", "/tmp/reported"])?.all_succeeded());
    let alert = stage.expect_alert(mark, &service);
    assert_eq!(alert["kind"], "exec.unknown", "{alert:#}");
    assert_eq!(alert["behaviour"]["path"], "/bin/busybox", "{alert:#}");
    assert_eq!(alert["behaviour"]["applet"], "touch", "{alert:#}");
    assert_eq!(
        alert["process"]["args"],
        serde_json::json!(["/bin/touch", "/tmp/reported"]),
        "{alert:#}"
    );
    assert_eq!(alert["process"]["ancestors"][0]["comm"], "service", "{alert:#}");
    assert_eq!(alert["container"]["name"], "unknown", "{alert:#}");
    assert_eq!(
        alert["container"]["image"]["config_digest"],
        stage.digest.as_str(),
        "{alert:#}"
    );
    let rules = stage.agent.rules(IMAGE, "main")?;
    assert!(
        !rules.contains(&"/bin/busybox touch".to_owned()),
        "monitor learned: {rules:?}"
    );
    Ok(())
}

/// A script is judged by its own file where that is seen, else by its interpreter, and shows as a script.
fn a_script_is_told_as_a_script(kind: Kind) -> anyhow::Result<()> {
    let stage = Stage::enforcing_on(kind, &Options::named("script"))?;
    let service = stage.service("script", &[])?;
    assert!(service.start(&[SCRIPT, "/tmp/learned"])?.all_succeeded());
    assert_eq!(
        stage.runtime.read(&service.container, "/tmp/learned")?.as_deref(),
        Some("fetch\n")
    );
    let other = stage.runtime.place().directory().join("other.sh");
    std::fs::write(&other, "#!/bin/env /bin/rotate\n")?;
    std::fs::set_permissions(&other, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    stage.runtime.copy(&other, &service.container, "/tmp/other.sh")?;
    let mark = stage.agent.mark();
    assert!(
        service.start(&["/tmp/other.sh"])?.all(stage.stop),
        "env was never learned"
    );
    let alert = stage.expect_alert(mark, &service);
    let (part, path, interpreter) = match stage.stop_at_root {
        Stop::Killed => ("program", "/bin/busybox", Some("/bin/env")),
        Stop::Denied | Stop::NotPermitted => ("script", "/tmp/other.sh", None),
    };
    assert_eq!(alert["behaviour"]["part"], part, "{alert:#}");
    assert_eq!(alert["behaviour"]["path"], path, "{alert:#}");
    assert_eq!(alert["behaviour"]["script"], true, "{alert:#}");
    assert_eq!(alert["behaviour"]["filename"], "/tmp/other.sh", "{alert:#}");
    assert_eq!(
        alert["behaviour"]["interpreter"].as_str(),
        interpreter,
        "{alert:#}"
    );
    Ok(())
}

/// A program from a volume that an operator accepted with its content runs; with another content it does not.
fn an_accepted_volume_program_runs_with_that_content_alone(kind: Kind) -> anyhow::Result<()> {
    let stage = Stage::enforcing_on(kind, &Options::named("volume"))?;
    let volume = stage.host_directory("volume")?;
    tests::demo::put_tool(&volume)?;
    let service = stage.service("volume", &[&format!("--volume={}:/data", volume.display())])?;
    let mark = stage.agent.mark();
    assert!(service.start(&["/data/tool", "/tmp/first"])?.all(stage.stop));
    let alert = stage.expect_alert(mark, &service);
    assert_eq!(alert["behaviour"]["path"], "/data/tool", "{alert:#}");
    let sha256 = alert["behaviour"]["sha256"]
        .as_str()
        .unwrap_or_else(|| panic!("no hash: {alert:#}"))
        .to_owned();
    stage.agent.accept_drift(IMAGE, "volume", "/data/tool", &sha256)?;
    let accepted = service.start(&["/data/tool", "/tmp/second"])?;
    assert!(
        accepted.all_succeeded(),
        "{accepted:?}; log:\n{}",
        stage.agent.log()
    );
    assert!(stage.runtime.read(&service.container, "/tmp/second")?.is_some());
    std::fs::write(
        volume.join("tool"),
        std::fs::read(tests::environment::Environment::get().fixture("rotate"))?,
    )?;
    let changed = service.start(&["/data/tool", "/tmp/third"])?;
    assert!(
        changed.all(stage.stop),
        "{changed:?}; log:\n{}",
        stage.agent.log()
    );
    assert!(stage.runtime.read(&service.container, "/tmp/third")?.is_none());
    Ok(())
}

/// A file whose mode was changed is in the upper layer with the image's content: it is told once as that, and does
/// not alarm a second time.
fn changed_metadata_does_not_alarm_twice(kind: Kind) -> anyhow::Result<()> {
    let stage = Stage::learned(kind, &Options::named("metadata"))?;
    stage.agent.set_mode("monitor", IMAGE)?;
    let service = stage.service("metadata", &[])?;
    assert!(
        service
            .start(&["/bin/chmod", "711", "/bin/report"])?
            .all_succeeded()
    );
    let mark = stage.agent.mark();
    assert!(service.start(&["/bin/report", "/tmp/first"])?.all_succeeded());
    let first = stage.expect_alert(mark, &service);
    assert_eq!(first["behaviour"]["note"], "metadata_only", "{first:#}");
    let after = stage.agent.mark();
    assert!(
        service
            .start_many(20, &["/bin/report", "/tmp/more"])?
            .all_succeeded()
    );
    let second = stage
        .agent
        .wait_for_alert(after, std::time::Duration::from_secs(3), |alert| {
            is_about(alert, &service.container.id)
        });
    assert_eq!(second, None);
    Ok(())
}
