//! The manifests in `deploy/kubernetes`, held against the types of Kubernetes, which are generated from its own schema.

use anyhow::{Context as _, ensure};
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, ServiceAccount};
use k8s_openapi::api::rbac::v1::Role;
use serde_json::Value;
use tests::manifest;

const BASE: &str = "kubernetes/base";

/// A manifest comes through the type unchanged: no field is misspelt, out of place or of another type.
fn is_a<T: k8s_openapi::serde::de::DeserializeOwned + k8s_openapi::serde::Serialize>(
    file: &str,
) -> anyhow::Result<Value> {
    let value = manifest::read(&format!("{BASE}/{file}"))?;
    let typed: T =
        serde_json::from_value(value.clone()).with_context(|| format!("{file} is not what it says"))?;
    let back = serde_json::to_value(typed)?;
    ensure!(
        back == value,
        "{file} has what Kubernetes does not know:\n{value:#}\nis read as\n{back:#}"
    );
    Ok(value)
}

#[test]
fn every_manifest_is_what_kubernetes_knows() -> anyhow::Result<()> {
    is_a::<Namespace>("namespace.yaml")?;
    is_a::<ServiceAccount>("service-account.yaml")?;
    is_a::<Role>("role.yaml")?;
    is_a::<ConfigMap>("config.yaml")?;
    is_a::<DaemonSet>("daemonset.yaml")?;
    let listed = manifest::read(&format!("{BASE}/kustomization.yaml"))?;
    let listed: Vec<_> = listed["resources"].as_array().context("no resources")?.clone();
    for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/kubernetes/base"))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        ensure!(
            name == "kustomization.yaml" || listed.iter().any(|file| *file == name),
            "{name} is not listed"
        );
    }
    Ok(())
}

/// A field that is misspelt is found: the comparison can fail.
#[test]
fn a_misspelt_field_is_found() -> anyhow::Result<()> {
    let mut value = manifest::read(&format!("{BASE}/daemonset.yaml"))?;
    value["spec"]["template"]["spec"]["hostPid"] = Value::Bool(true);
    let typed: DaemonSet = serde_json::from_value(value.clone())?;
    ensure!(serde_json::to_value(typed)? != value, "it is not found");
    Ok(())
}

#[test]
fn parts_belong_together() -> anyhow::Result<()> {
    let set = manifest::read(&format!("{BASE}/daemonset.yaml"))?;
    let pod = &set["spec"]["template"]["spec"];
    ensure!(set["spec"]["selector"]["matchLabels"] == set["spec"]["template"]["metadata"]["labels"]);
    let account = manifest::read(&format!("{BASE}/service-account.yaml"))?;
    ensure!(pod["serviceAccountName"] == account["metadata"]["name"]);
    let config = manifest::read(&format!("{BASE}/config.yaml"))?;
    let volumes = pod["volumes"].as_array().context("no volumes")?;
    ensure!(
        volumes
            .iter()
            .any(|volume| volume["configMap"]["name"] == config["metadata"]["name"])
    );
    // Written are the places that are meant to be, and no other.
    let mounts = pod["containers"][0]["volumeMounts"]
        .as_array()
        .context("no mounts")?;
    let written: Vec<_> = mounts
        .iter()
        .filter(|mount| mount["readOnly"] != true)
        .filter_map(|mount| mount["mountPath"].as_str())
        .collect();
    ensure!(
        written == ["/sys/fs/bpf", "/run/driftlock", "/var/lib/driftlock"],
        "{written:?}"
    );
    // The unit gives the same capabilities.
    let unit = std::fs::read_to_string(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../deploy/systemd/driftlock.service"
    ))?;
    let line = unit
        .lines()
        .find_map(|line| line.strip_prefix("CapabilityBoundingSet="))
        .context("no capabilities")?;
    let of_unit: std::collections::BTreeSet<_> = line
        .split(' ')
        .map(|name| name.trim_start_matches("CAP_"))
        .collect();
    let add = pod["containers"][0]["securityContext"]["capabilities"]["add"]
        .as_array()
        .context("no capabilities")?;
    let of_pod: std::collections::BTreeSet<_> = add.iter().filter_map(Value::as_str).collect();
    ensure!(of_unit == of_pod, "{of_unit:?} {of_pod:?}");
    Ok(())
}
