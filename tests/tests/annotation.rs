//! A pod may ask for a mode by its annotations: for a stricter one within what the node allows, and never for less than the
//! node demands.

use tests::agent::Options;
use tests::runtime::{Kind, POD_NAMESPACE};
use tests::service::Service;
use tests::stage::{IMAGE, Stage};
use tests::support;

/// A stage whose image is learned and in this mode; `None` where there are no pods.
fn stage(
    name: &str,
    mode: Option<&str>,
    policies: Vec<(&'static str, &'static str)>,
) -> anyhow::Result<Option<Stage>> {
    if !Kind::Containerd.is_here() {
        support::not_on_this_kernel("containerd", "the runtime is not there");
        return Ok(None);
    }
    let options = Options {
        policies,
        ..Options::named(name)
    };
    let stage = Stage::learned(Kind::Containerd, &options)?;
    if let Some(mode) = mode {
        stage.agent.set_mode(mode, IMAGE)?;
    }
    Ok(Some(stage))
}

/// The mode of a container in a domain, and where it comes from.
fn mode(stage: &Stage, service: &Service, domain: &str) -> anyhow::Result<(String, String)> {
    let described = stage.agent.wait_until_resolved(&service.container.id)?;
    let modes = described["modes"].as_array().into_iter().flatten();
    let found = modes.into_iter().find(|mode| mode["domain"] == domain);
    let text = |field: &str| {
        let value = found.and_then(|mode| mode[field].as_str());
        value.unwrap_or_default().to_owned()
    };
    Ok((text("mode"), text("source")))
}

/// Whether what drifted runs.
fn drift_runs(stage: &Stage, service: &Service) -> anyhow::Result<bool> {
    Stage::drop_payload(service, "/tmp/dropped")?;
    let outcomes = service.start(&["/tmp/dropped", "/tmp/witness"])?;
    assert!(
        outcomes.all_succeeded() || outcomes.all(stage.stop_at_root),
        "{outcomes:?}"
    );
    Ok(outcomes.all_succeeded())
}

fn pair(mode: &str, source: &str) -> (String, String) {
    (mode.to_owned(), source.to_owned())
}

/// By default a pod may ask to be monitored, in all domains or in one, and not to be enforced upon; `doctor` says so.
#[test]
fn a_pod_may_ask_for_more_than_the_default() -> anyhow::Result<()> {
    let Some(stage) = stage("more", None, vec![])? else {
        return Ok(());
    };
    let asks = "--annotation=driftlock.dev/mode=monitor";
    let monitored = stage.service(
        "monitored",
        &[asks, "--annotation=driftlock.dev/mode.library=learn"],
    )?;
    assert_eq!(mode(&stage, &monitored, "exec")?, pair("monitor", "annotation"));
    assert_eq!(mode(&stage, &monitored, "library")?, pair("learn", "default"));

    let refused = stage.service("refused", &["--annotation=driftlock.dev/mode=enforce"])?;
    assert_eq!(mode(&stage, &refused, "exec")?, pair("monitor", "annotation"));
    assert!(drift_runs(&stage, &refused)?);
    let doctor = stage.agent.json(&["doctor"])?.to_string();
    assert!(
        doctor.contains("driftlock.dev/mode asks for enforce, the node allows at most monitor"),
        "{doctor}"
    );
    Ok(())
}

/// Where the node allows it, a pod's own word is enough to be enforced upon.
#[test]
fn a_pod_is_enforced_upon_where_the_node_allows_it() -> anyhow::Result<()> {
    let policies = vec![("pod_annotations", "{ strictest: enforce }")];
    let Some(stage) = stage("allowed", None, policies)? else {
        return Ok(());
    };
    let enforced = stage.service("enforced", &["--annotation=driftlock.dev/mode=enforce"])?;
    assert_eq!(mode(&stage, &enforced, "exec")?, pair("enforce", "annotation"));
    assert!(!drift_runs(&stage, &enforced)?);
    let plain = stage.service("plain", &[])?;
    assert_eq!(mode(&stage, &plain, "exec")?, pair("learn", "default"));
    assert!(drift_runs(&stage, &plain)?);
    Ok(())
}

/// What an operator set for the image holds, whatever the pod says and however much the node lets pods weaken its default.
#[test]
fn a_pod_cannot_weaken_what_the_node_demands() -> anyhow::Result<()> {
    let policies = vec![("pod_annotations", "{ weakest: learn }")];
    let Some(stage) = stage("demanded", Some("enforce"), policies)? else {
        return Ok(());
    };
    for (name, annotation) in [
        ("learning", "--annotation=driftlock.dev/mode=learn"),
        ("exec", "--annotation=driftlock.dev/mode.exec=monitor"),
        ("nonsense", "--annotation=driftlock.dev/mode=off"),
    ] {
        let service = stage.service(name, &[annotation])?;
        assert_eq!(mode(&stage, &service, "exec")?.0, "enforce", "{annotation}");
        assert!(!drift_runs(&stage, &service)?, "{annotation}");
    }
    Ok(())
}

/// In the namespaces that the node protects nothing is enforced.
#[test]
fn a_protected_namespace_is_not_enforced_upon() -> anyhow::Result<()> {
    assert_eq!(POD_NAMESPACE, "shop");
    let Some(stage) = stage(
        "protected",
        Some("enforce"),
        vec![("protected_namespaces", "[shop]")],
    )?
    else {
        return Ok(());
    };
    let service = stage.service("protected", &[])?;
    assert_eq!(mode(&stage, &service, "exec")?, pair("monitor", "protected"));
    assert!(drift_runs(&stage, &service)?);
    Ok(())
}
