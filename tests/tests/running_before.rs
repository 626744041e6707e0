//! Containers that ran before the agent started are its containers too.

use tests::agent::Options;
use tests::runtime::Kind;
use tests::stage::{ALERT_PATIENCE, IMAGE, Stage, is_about};

tests::on_every_runtime!(
    a_running_container_is_enforced_upon,
    what_entered_before_is_known_by_its_parent
);

/// A container that runs when the agent starts is enforced upon, and its own processes are not taken for intruders.
fn a_running_container_is_enforced_upon(kind: Kind) -> anyhow::Result<()> {
    let options = Options {
        policies: vec![("exec_into", "deny")],
        ..Options::named("running")
    };
    let mut stage = Stage::enforcing_on(kind, &options)?;
    stage.agent.stop()?;
    let service = stage.runtime.service("running", IMAGE, &[], &[])?;
    stage.agent = tests::agent::Agent::start(stage.runtime.as_ref(), &options)?;
    stage.agent.wait_until_resolved(&service.container.id)?;
    let mark = stage.agent.mark();
    assert!(
        service
            .start_many(20, &["/bin/fetch", "/tmp/conforming"])?
            .all_succeeded(),
        "{}",
        stage.agent.log()
    );
    assert_eq!(
        stage
            .agent
            .wait_for_alert(mark, std::time::Duration::from_secs(2), |_| true),
        None
    );
    Stage::drop_payload(&service, "/tmp/dropped")?;
    assert!(service.start(&["/tmp/dropped", "/tmp/witness"])?.all(stage.stop));
    assert_eq!(stage.runtime.read(&service.container, "/tmp/witness")?, None);
    let alert = stage.expect_alert(mark, &service);
    assert_eq!(alert["kind"], "exec.drift", "{alert:#}");
    assert_eq!(alert["process"]["state"], "main", "{alert:#}");
    Ok(())
}

/// What entered from outside before the agent started is known by its parent; what has lost that parent meanwhile is
/// told as unclassified.
fn what_entered_before_is_known_by_its_parent(kind: Kind) -> anyhow::Result<()> {
    let mut stage = Stage::learned(kind, &Options::named("entered"))?;
    stage.agent.set_mode("monitor", IMAGE)?;
    stage.agent.stop()?;
    let service = stage.runtime.service("entered", IMAGE, &[], &[])?;
    let id = service.container.id.as_str();
    let wait = |program: &str| format!("until [ -e /tmp/go ]; do sleep 0.1; done; {program}");
    // The first keeps its parent outside; the second is left to the container's first process.
    let entered = ["/bin/sh", "-c", &wait("/bin/rotate /tmp/entered; true")];
    stage.runtime.exec_detached(&service.container, &entered)?;
    let orphan = format!(
        "({}) </dev/null >/dev/null 2>&1 &",
        wait("/bin/rotate /tmp/orphan; true")
    );
    let left = stage
        .runtime
        .exec(&service.container, &["/bin/sh", "-c", &orphan])?;
    assert!(left.status.success(), "{left:?}");
    stage.agent = tests::agent::Agent::start(stage.runtime.as_ref(), &Options::named("entered"))?;
    stage.agent.wait_until_resolved(id)?;
    let mark = stage.agent.mark();
    assert!(
        service
            .start(&["/bin/cp", "/etc/passwd", "/tmp/go"])?
            .all_succeeded()
    );
    for (argument, state) in [("/tmp/entered", "exec_in"), ("/tmp/orphan", "unclassified")] {
        let alert = stage.agent.wait_for_alert(mark, ALERT_PATIENCE, |alert| {
            is_about(alert, id) && alert["process"]["args"][1] == argument
        });
        let alert = alert.unwrap_or_else(|| panic!("no alert about {argument}; log:\n{}", stage.agent.log()));
        assert_eq!(alert["process"]["state"], state, "{alert:#}");
        assert_eq!(alert["behaviour"]["path"], "/bin/rotate", "{alert:#}");
    }
    Ok(())
}
