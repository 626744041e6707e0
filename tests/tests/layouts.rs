//! Learn, enforce, kill: on each of the three cgroup layouts.

use std::time::Duration;

use tests::agent::Options;
use tests::runtime::{Kind, Layout};
use tests::stage::{Ground, IMAGE, Stage};

tests::on_every_runtime!(hybrid, pure_v2, v1_alone, systemd);

fn learn_enforce_kill(kind: Kind, layout: Layout, ids_from: &str) -> anyhow::Result<()> {
    let stage = Stage::learned(Ground { kind, layout }, &Options::named("layout"))?;
    stage.agent.set_mode("enforce", IMAGE)?;
    let status = stage.agent.json(&["status"])?;
    let hierarchy = status["cgroups"]["hierarchy"].as_str().unwrap_or_default();
    assert!(hierarchy.starts_with(ids_from), "{hierarchy}");

    let mark = stage.agent.mark();
    let service = stage.service("attacked", &[])?;
    tests::runtime::expect_in_its_cgroup(stage.runtime.as_ref(), &service.container)?;
    assert!(service.start(&["/bin/fetch", "/tmp/conforming"])?.all_succeeded());
    let again = stage.runtime.restart(&service.container)?;
    stage.agent.wait_until_resolved(&again.id)?;
    assert_eq!(
        stage.agent.wait_for_alert(mark, Duration::from_secs(2), |_| true),
        None,
        "{layout:?}"
    );
    service.detach();
    stage.runtime.remove(&again)?;

    let service = stage.service("attacked", &[])?;
    Stage::drop_payload(&service, "/tmp/dropped")?;
    for (program, kind) in [("/tmp/dropped", "exec.drift"), ("/bin/rotate", "exec.unknown")] {
        let mark = stage.agent.mark();
        let outcome = service.start(&[program, "/tmp/witness"])?;
        assert!(
            outcome.all(stage.stop),
            "{layout:?}: {program}: {outcome:?}; log:\n{}",
            stage.agent.log()
        );
        assert_eq!(
            stage.runtime.read(&service.container, "/tmp/witness")?,
            None,
            "{layout:?}: {program}"
        );
        let alert = stage.expect_alert(mark, &service);
        assert_eq!(alert["kind"], kind, "{layout:?}: {alert:#}");
        assert_eq!(alert["container"]["name"], "attacked", "{layout:?}: {alert:#}");
    }
    Ok(())
}

/// Version 1 controllers and version 2 beside them: ids are those of version 2, in which runtimes place containers too.
fn hybrid(kind: Kind) -> anyhow::Result<()> {
    learn_enforce_kill(kind, Layout::Hybrid, "/sys/fs/cgroup/unified")
}

/// Version 2 alone.
fn pure_v2(kind: Kind) -> anyhow::Result<()> {
    learn_enforce_kill(kind, Layout::PureV2, "/sys/fs/cgroup")
}

/// Version 1 alone: in version 2 every container has the host's own id, which must not be used.
fn v1_alone(kind: Kind) -> anyhow::Result<()> {
    learn_enforce_kill(kind, Layout::V1, "/sys/fs/cgroup/")
}

/// Version 2 alone, and systemd makes the containers' cgroups.
fn systemd(kind: Kind) -> anyhow::Result<()> {
    if !Layout::Systemd.is_here() {
        tests::support::not_on_this_kernel("cgroups made by systemd", "systemd is not there");
        return Ok(());
    }
    learn_enforce_kill(kind, Layout::Systemd, "/sys/fs/cgroup")
}
