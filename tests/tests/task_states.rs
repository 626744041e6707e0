//! Whose process it is stays known: past the death of its parent, and out of the container's cgroup.

use tests::agent::Options;
use tests::elsewhere::Elsewhere;
use tests::runtime::Kind;
use tests::stage::{ALERT_PATIENCE, IMAGE, Stage, is_about};

tests::on_every_runtime!(an_orphan_of_an_exec_is_still_from_outside);

/// What an exec from outside leaves in the background is still from outside when the container's first process has
/// become its parent.
fn an_orphan_of_an_exec_is_still_from_outside(kind: Kind) -> anyhow::Result<()> {
    let stage = Stage::learned(kind, &Options::named("orphan"))?;
    stage.agent.set_mode("monitor", IMAGE)?;
    let service = stage.service("orphan", &[])?;
    let id = service.container.id.as_str();
    let mark = stage.agent.mark();
    let waits =
        "(until [ -e /tmp/go ]; do sleep 0.1; done; /bin/rotate /tmp/orphan) </dev/null >/dev/null 2>&1 &";
    let entered = stage
        .runtime
        .exec(&service.container, &["/bin/sh", "-c", waits])?;
    assert!(entered.status.success(), "{entered:?}");
    assert!(
        service
            .start(&["/bin/cp", "/etc/passwd", "/tmp/go"])?
            .all_succeeded()
    );
    let alert = stage.agent.wait_for_alert(mark, ALERT_PATIENCE, |alert| {
        is_about(alert, id) && alert["behaviour"]["path"] == "/bin/rotate"
    });
    let alert = alert.unwrap_or_else(|| panic!("no alert; log:\n{}", stage.agent.log()));
    assert_eq!(alert["process"]["state"], "exec_in", "{alert:#}");
    assert_eq!(alert["kind"], "exec.into", "{alert:#}");
    Ok(())
}

/// A process that leaves the container's cgroup is reported, and what it starts is judged as before.
#[test]
fn a_process_that_leaves_its_cgroup_stays_tracked() -> anyhow::Result<()> {
    let stage = Stage::enforcing(&Options::named("leaving"))?;
    let service = stage.service("leaving", &[])?;
    let mark = stage.agent.mark();
    let elsewhere = Elsewhere::create()?;
    let process = stage.runtime.process(&service.container)?.to_string();
    elsewhere.take(&process)?;
    let left = stage.expect_alert(mark, &service);
    assert_eq!(left["kind"], "exec.left_cgroup", "{left:#}");
    assert!(service.start(&["/bin/fetch", "/tmp/conforming"])?.all_succeeded());
    Stage::drop_payload(&service, "/tmp/dropped")?;
    for program in ["/tmp/dropped", "/bin/rotate"] {
        let outcome = service.start(&[program, "/tmp/witness"])?;
        assert!(
            outcome.all(stage.stop),
            "{program}: {outcome:?}; log:\n{}",
            stage.agent.log()
        );
    }
    assert_eq!(stage.runtime.read(&service.container, "/tmp/witness")?, None);
    let alert = stage.agent.wait_for_alert(mark, ALERT_PATIENCE, |alert| {
        is_about(alert, &service.container.id) && alert["kind"] == "exec.drift"
    });
    assert!(alert.is_some(), "no alert; log:\n{}", stage.agent.log());
    stage.runtime.remove(&service.container)
}
