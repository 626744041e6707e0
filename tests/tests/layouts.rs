//! Learn, enforce, kill: on each of the three cgroup layouts.

use std::time::Duration;

use tests::agent::Options;
use tests::runtime::Layout;
use tests::stage::{IMAGE, Stage};

fn learn_enforce_kill(layout: Layout, name: &str, ids_from: &str) -> anyhow::Result<()> {
    let stage = Stage::learned(layout, &Options::named(name))?;
    stage.agent.set_mode("enforce", IMAGE)?;
    let status = stage.agent.json(&["status"])?;
    let hierarchy = status["cgroups"]["hierarchy"].as_str().unwrap_or_default();
    assert!(hierarchy.starts_with(ids_from), "{hierarchy}");

    let mark = stage.agent.mark();
    let service = stage.service("attacked", &[])?;
    assert!(service.start(&["/bin/fetch", "/tmp/conforming"])?.all_succeeded());
    stage.runtime.restart(&service.container)?;
    stage.agent.wait_until_resolved(&service.container.id)?;
    assert_eq!(
        stage.agent.wait_for_alert(mark, Duration::from_secs(2), |_| true),
        None,
        "{layout:?}"
    );
    let container = service.detach();
    stage.runtime.remove(&container)?;

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

/// Version 1 controllers and version 2 beside them: ids are those of version 2, in which Docker places containers too.
#[test]
fn hybrid() -> anyhow::Result<()> {
    learn_enforce_kill(Layout::Hybrid, "hybrid", "/sys/fs/cgroup/unified")
}

/// Version 2 alone.
#[test]
fn pure_v2() -> anyhow::Result<()> {
    learn_enforce_kill(Layout::PureV2, "v2", "/sys/fs/cgroup")
}

/// Version 1 alone: in version 2 every container has the host's own id, which must not be used.
#[test]
fn v1_alone() -> anyhow::Result<()> {
    learn_enforce_kill(Layout::V1, "v1", "/sys/fs/cgroup/")
}
