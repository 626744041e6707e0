//! What a container chooses (names, arguments, places, threads) neither hides a program nor breaks an alert.

use std::path::PathBuf;

use tests::agent::Options;
use tests::environment::Environment;
use tests::image::{self, PAYLOAD};
use tests::runtime::Layout;
use tests::stage::{ALERT_PATIENCE, IMAGE, Stage, is_about};

/// Names with line breaks, escape sequences and bytes that are no text: one alert on one line, the name escaped.
#[test]
fn a_name_cannot_break_an_alert() -> anyhow::Result<()> {
    let stage = Stage::enforcing(&Options::named("names"))?;
    let volume = stage.host_directory("volume")?;
    let service = stage.service("names", &[&format!("--volume={}:/data", volume.display())])?;
    let id = service.container.id.as_str();
    for (name, shown) in [
        ("a\n{\"schema\":\"v1\"}", "/data/a\\x0a{\"schema\":\"v1\"}"),
        ("\u{1b}[2J\u{202e}", "/data/\\x1b[2J\\xe2\\x80\\xae"),
        ("back\\slash \"quote\"", "/data/back\\\\slash \"quote\""),
    ] {
        std::fs::copy(Environment::get().fixture("witness"), volume.join(name))?;
        let mark = stage.agent.mark();
        let output = stage
            .runtime
            .exec(&service.container, &[&format!("/data/{name}"), "/tmp/\n"])?;
        assert_eq!(output.status.code(), Some(137), "{name:?}: {output:?}");
        let alert = stage.expect_alert(mark, &service);
        assert_eq!(alert["behaviour"]["path"], shown, "{alert:#}");
        assert_eq!(alert["process"]["args"][1], "/tmp/\\x0a", "{alert:#}");
    }
    assert_eq!(stage.agent.stray_output(), None, "a line that is no JSON");
    assert!(stage.agent.alerts().iter().all(|alert| is_about(alert, id)));
    // Tables are for terminals: no control character reaches one.
    let table = stage.agent.done(&["alerts"])?;
    assert!(
        !table.contains('\u{1b}') && !table.contains('\u{202e}'),
        "{table:?}"
    );
    Ok(())
}

/// More and longer arguments than a record has room for are cut, and marked as cut.
#[test]
fn long_arguments_are_cut() -> anyhow::Result<()> {
    let stage = Stage::enforcing(&Options::named("arguments"))?;
    let service = stage.service("arguments", &[])?;
    let mark = stage.agent.mark();
    let long = "x".repeat(100_000);
    assert!(
        service
            .start(&["/bin/rotate", "/tmp/witness", &long])?
            .all(stage.stop)
    );
    let alert = stage.expect_alert(mark, &service);
    assert_eq!(alert["process"]["args_truncated"], true, "{alert:#}");
    assert_eq!(alert["process"]["args"][1], "/tmp/witness", "{alert:#}");
    Ok(())
}

/// A path longer than the kernel compares has a verdict of its own: it is killed, whatever it was while learning.
#[test]
fn a_path_that_is_too_long_never_conforms() -> anyhow::Result<()> {
    let stage = Stage::start(Layout::Hybrid, &Options::named("deep"))?;
    let deep = format!("/opt/{}program", "directory-of-some-length/".repeat(60));
    image::build_with(stage.runtime.as_ref(), "deep:1", "deep", |root| {
        let target = root.join(&deep[1..]);
        std::fs::create_dir_all(target.parent().unwrap_or(root))?;
        std::fs::copy(Environment::get().fixture("fetch"), target)?;
        Ok(())
    })?;
    let service = stage.runtime.service("deep", "deep:1", &[], &[])?;
    stage.agent.wait_until_resolved(&service.container.id)?;
    assert!(
        service.start(&[&deep, "/tmp/learning"])?.all_succeeded(),
        "learn kills nothing"
    );
    assert!(service.start(&["/bin/fetch"])?.all_succeeded());
    stage
        .agent
        .wait_until_learned("deep:1", &["/bin/service", "/bin/fetch"])?;
    stage.agent.set_mode("enforce", "deep:1")?;
    let mark = stage.agent.mark();
    let outcome = service.start(&[&deep, "/tmp/enforce"])?;
    assert!(
        outcome.all(stage.stop),
        "{outcome:?}; log:\n{}",
        stage.agent.log()
    );
    assert_eq!(stage.runtime.read(&service.container, "/tmp/enforce")?, None);
    let alert = stage.expect_alert(mark, &service);
    assert_eq!(alert["behaviour"]["path_too_long"], true, "{alert:#}");
    assert_eq!(alert["behaviour"]["layer"], "image", "{alert:#}");
    let path = alert["behaviour"]["path"].as_str().unwrap_or_default();
    assert!(path.ends_with("/program"), "{alert:#}");
    Ok(())
}

/// An exec from another thread than the first is the process's exec like any other.
#[test]
fn a_thread_hides_nothing() -> anyhow::Result<()> {
    let stage = Stage::enforcing(&Options::named("thread"))?;
    let service = stage.service("thread", &[])?;
    let allowed = service.start_many(20, &["/usr/bin/from_thread", "/bin/fetch", "/tmp/conforming"])?;
    assert!(
        allowed.all_succeeded(),
        "{allowed:?}; log:\n{}",
        stage.agent.log()
    );
    let mark = stage.agent.mark();
    let unknown = service.start_many(20, &["/usr/bin/from_thread", "/bin/rotate", "/tmp/witness"])?;
    assert!(
        unknown.all(stage.stop),
        "{unknown:?}; log:\n{}",
        stage.agent.log()
    );
    assert_eq!(stage.runtime.read(&service.container, "/tmp/witness")?, None);
    let alert = stage.expect_alert(mark, &service);
    assert_eq!(alert["process"]["state"], "main", "{alert:#}");
    assert_eq!(alert["action"]["confirmed"], true, "{alert:#}");
    Ok(())
}

/// Memory file systems of the container are no part of its image, and an unlinked file has no name to go by.
#[test]
fn nowhere_is_out_of_sight() -> anyhow::Result<()> {
    let stage = Stage::enforcing(&Options::named("places"))?;
    stage.agent.accept_applet(IMAGE, "/bin/busybox", "rm")?;
    let service = stage.service("places", &["--tmpfs=/run:exec", "--tmpfs=/dev/fast:exec"])?;
    let places = [
        ("/run/program", "volume"),
        ("/dev/fast/program", "volume"),
        ("/tmp/program", "upper"),
        ("/data/program", "upper"),
    ];
    for (program, layer) in places {
        Stage::drop_payload(&service, program)?;
        let mark = stage.agent.mark();
        let outcome = service.start(&[program, "/tmp/witness"])?;
        assert!(
            outcome.all(stage.stop),
            "{program}: {outcome:?}; log:\n{}",
            stage.agent.log()
        );
        let alert = stage.expect_alert(mark, &service);
        assert_eq!(alert["behaviour"]["layer"], layer, "{alert:#}");
        assert_eq!(alert["behaviour"]["path"], program, "{alert:#}");
    }
    // The shell is allowed; it keeps the dropped program open, has its name removed, and becomes it.
    let unlinked = "exec 3</tmp/program; /bin/rm /tmp/program; exec /proc/self/fd/3 /tmp/witness";
    let mark = stage.agent.mark();
    let outcome = service.start(&["/bin/sh", "-c", unlinked])?;
    // A shell that was refused says so by its status.
    assert!(
        outcome.all(stage.stop) || outcome.all_denied(),
        "{outcome:?}; log:\n{}",
        stage.agent.log()
    );
    let alert = stage.expect_alert(mark, &service);
    assert_eq!(alert["behaviour"]["layer"], "anonymous", "{alert:#}");
    assert_eq!(stage.runtime.read(&service.container, "/tmp/witness")?, None);
    Ok(())
}

/// A file that was found to have the image's content is drift again as soon as it is written to.
#[test]
fn what_was_verified_is_drift_after_a_write() -> anyhow::Result<()> {
    let stage = Stage::enforcing(&Options::named("verified"))?;
    let service = stage.service("verified", &[])?;
    assert!(
        service
            .start(&["/bin/chmod", "711", "/bin/report"])?
            .all_succeeded()
    );
    let first = service.start(&["/bin/report", "/tmp/first"])?;
    let mut later = first.clone();
    for _ in 0..50 {
        later = service.start(&["/bin/report", "/tmp/later"])?;
        if later.all_succeeded() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    assert!(
        later.all_succeeded(),
        "its content is the image's: {later:?}; log:\n{}",
        stage.agent.log()
    );
    assert!(
        service
            .start(&["/bin/cp", PAYLOAD, "/bin/report"])?
            .all_succeeded()
    );
    let changed = service.start_many(20, &["/bin/report", "/tmp/changed"])?;
    assert!(
        changed.all(stage.stop),
        "{changed:?}; log:\n{}",
        stage.agent.log()
    );
    assert_eq!(stage.runtime.read(&service.container, "/tmp/changed")?, None);
    let alert = stage.agent.wait_for_alert(0, ALERT_PATIENCE, |alert| {
        is_about(alert, &service.container.id) && alert["behaviour"]["note"] != "metadata_only"
    });
    let alert = alert.unwrap_or_else(|| panic!("no alert about the write; log:\n{}", stage.agent.log()));
    assert_eq!(alert["behaviour"]["path"], "/bin/report", "{alert:#}");
    Ok(())
}

/// The init program that Docker mounts into a container is drift until it is accepted, by one command and by its content.
#[test]
fn the_runtimes_init_is_accepted_by_one_command() -> anyhow::Result<()> {
    let init = ["/usr/bin/docker-init", "/usr/libexec/docker/docker-init"]
        .map(PathBuf::from)
        .into_iter()
        .find(|path| path.exists());
    let Some(init) = init else {
        println!("not on this machine: docker has no init program");
        return Ok(());
    };
    let stage = Stage::learned(Layout::Hybrid, &Options::named("init"))?;
    // The first program of a container gives it its role: the one that `--init` makes is learned by itself.
    let learning = stage
        .runtime
        .run("init-learning", IMAGE, &["--init"], &["/bin/fetch,/tmp/learning"])?;
    let drift = stage
        .agent
        .wait_for_alert(0, ALERT_PATIENCE, |alert| is_about(alert, &learning.id));
    let drift =
        drift.unwrap_or_else(|| panic!("no alert about {}; log:\n{}", init.display(), stage.agent.log()));
    assert_eq!(drift["kind"], "exec.drift", "{drift:#}");
    assert_eq!(drift["behaviour"]["layer"], "volume", "{drift:#}");
    assert_eq!(drift["behaviour"]["path"], "/sbin/docker-init", "{drift:#}");
    stage
        .agent
        .done(&["profile", "accept", IMAGE, "--volume", "/sbin/docker-init"])?;
    stage.agent.set_mode("enforce", IMAGE)?;
    let mark = stage.agent.mark();
    let enforced = stage
        .runtime
        .run("init-enforced", IMAGE, &["--init"], &["/bin/fetch,/tmp/enforced"])?;
    stage.agent.wait_until_resolved(&enforced.id)?;
    stage.runtime.restart(&enforced)?;
    let mut starts = 0;
    for _ in 0..100 {
        starts = stage
            .runtime
            .read(&enforced, "/tmp/enforced")?
            .unwrap_or_default()
            .lines()
            .count();
        if starts == 2 {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert_eq!(starts, 2, "log:\n{}", stage.agent.log());
    let alert = stage
        .agent
        .wait_for_alert(mark, std::time::Duration::from_secs(2), |alert| {
            is_about(alert, &enforced.id) && alert["action"]["taken"] != "none"
        });
    assert_eq!(alert, None);
    Ok(())
}
