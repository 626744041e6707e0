//! What runs in a pod is told with the pod: alerts and the list of containers name it, as Kubernetes' own tools do.

use serde_json::Value;
use tests::agent::Options;
use tests::runtime::{Kind, POD_NAMESPACE};
use tests::stage::{IMAGE, Stage};
use tests::support;

/// An alert about a container of a pod carries the pod's name, namespace, labels, and the image's digest.
#[test]
fn an_alert_names_the_pod() -> anyhow::Result<()> {
    if !Kind::Containerd.is_here() {
        support::not_on_this_kernel("containerd", "the runtime is not there");
        return Ok(());
    }
    let stage = Stage::enforcing_on(Kind::Containerd, &Options::named("pod"))?;
    let options = ["--label=app=checkout", "--label=tier=backend"];
    let service = stage.service("web", &options)?;
    let described = stage.agent.wait_until_resolved(&service.container.id)?;
    assert_eq!(described["pod"], "web-pod", "{described:#}");
    assert_eq!(described["namespace"], POD_NAMESPACE, "{described:#}");
    assert_eq!(described["digest"], stage.digest.as_str(), "{described:#}");

    let mark = stage.agent.mark();
    Stage::drop_payload(&service, "/tmp/dropped")?;
    assert!(service.start(&["/tmp/dropped", "/tmp/witness"])?.all(stage.stop));
    let alert = stage.expect_alert(mark, &service);
    let container = &alert["container"];
    assert_eq!(alert["kind"], "exec.drift", "{alert:#}");
    assert_eq!(container["name"], "web", "{alert:#}");
    assert_eq!(container["runtime"], "containerd", "{alert:#}");
    assert_eq!(container["pod"], "web-pod", "{alert:#}");
    assert_eq!(container["namespace"], POD_NAMESPACE, "{alert:#}");
    let uid = container["pod_uid"].as_str().unwrap_or_default();
    assert_eq!(
        uid.len(),
        "00000000-0000-4000-8000-000000000000".len(),
        "{alert:#}"
    );
    assert_eq!(container["pod_labels"]["app"], "checkout", "{alert:#}");
    assert_eq!(container["pod_labels"]["tier"], "backend", "{alert:#}");
    assert_eq!(container["labels"]["io.kubernetes.pod.uid"], uid, "{alert:#}");
    let image = &container["image"];
    assert_eq!(image["config_digest"], stage.digest.as_str(), "{alert:#}");
    assert_eq!(image["reference"], IMAGE, "{alert:#}");
    Ok(())
}

/// The process that holds a pod's namespaces runs nothing of the user's: there is no alert about it, and it is not taken for
/// a container that nobody can tell the image of.
#[test]
fn the_pause_container_is_left_alone() -> anyhow::Result<()> {
    if !Kind::Containerd.is_here() {
        support::not_on_this_kernel("containerd", "the runtime is not there");
        return Ok(());
    }
    let stage = Stage::start(Kind::Containerd, &Options::named("pause"))?;
    let mark = stage.agent.mark();
    let service = stage.service("paused", &[])?;
    // Longer than what the agent allows itself for finding out an image.
    let alert = stage
        .agent
        .wait_for_alert(mark, std::time::Duration::from_secs(12), |_| true);
    assert_eq!(alert, None);
    let containers = stage.agent.json(&["containers"])?;
    let listed: Vec<&Value> = containers.as_array().into_iter().flatten().collect();
    assert!(
        listed
            .iter()
            .any(|one| one["id"] == service.container.id.as_str()),
        "{containers:#}"
    );
    assert!(
        !listed.iter().any(|one| one["state"] == "pending"),
        "{containers:#}"
    );
    Ok(())
}
