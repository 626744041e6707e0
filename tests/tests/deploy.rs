//! The manifests in `deploy/kubernetes` and the chart in `deploy/helm`, held against the types of Kubernetes, which are generated from its own
//! schema, and against each other as Helm and Kustomize render them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context as _, bail, ensure};
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::rbac::v1::Role;
use serde_json::Value;
use tests::{manifest, support};

const DEPLOY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy");
const BASE: &str = "kubernetes/base";
/// The oldest Kubernetes that the chart is for.
const OLDEST: &str = "1.30.0";

/// A manifest comes through the type unchanged: no field is misspelt, out of place or of another type.
fn is_a<T: k8s_openapi::serde::de::DeserializeOwned + k8s_openapi::serde::Serialize>(
    value: &Value,
) -> anyhow::Result<()> {
    let typed: T = serde_json::from_value(value.clone())
        .with_context(|| format!("it is not what it says:\n{value:#}"))?;
    let back = serde_json::to_value(typed)?;
    ensure!(
        back == *value,
        "it has what Kubernetes does not know:\n{value:#}\nis read as\n{back:#}"
    );
    Ok(())
}

/// A manifest is what its kind says.
fn is_known(value: &Value) -> anyhow::Result<()> {
    match value["kind"].as_str().context("it has no kind")? {
        "Namespace" => is_a::<Namespace>(value),
        "ServiceAccount" => is_a::<ServiceAccount>(value),
        "Role" => is_a::<Role>(value),
        "ConfigMap" => is_a::<ConfigMap>(value),
        "NetworkPolicy" => is_a::<NetworkPolicy>(value),
        "DaemonSet" => is_a::<DaemonSet>(value),
        other => bail!("{other} is not looked at"),
    }
}

#[test]
fn every_manifest_is_what_kubernetes_knows() -> anyhow::Result<()> {
    let listed = manifest::read(&format!("{BASE}/kustomization.yaml"))?;
    let listed: Vec<_> = listed["resources"].as_array().context("no resources")?.clone();
    for file in &listed {
        let file = file.as_str().context("no name")?;
        is_known(&manifest::read(&format!("{BASE}/{file}"))?).context(file.to_owned())?;
    }
    for entry in std::fs::read_dir(Path::new(DEPLOY).join(BASE))? {
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
    ensure!(is_known(&value).is_err(), "it is not found");
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
    // What is shipped is of one version.
    let chart = manifest::read("helm/driftlock/Chart.yaml")?;
    let kustomization = manifest::read(&format!("{BASE}/kustomization.yaml"))?;
    for version in [
        &chart["version"],
        &chart["appVersion"],
        &kustomization["images"][0]["newTag"],
    ] {
        ensure!(version == env!("CARGO_PKG_VERSION"), "{version}");
    }
    Ok(())
}

/// The probes, the port, the annotations and the policy say where the agent's configuration has it listen.
#[test]
fn metrics_are_asked_for_where_the_agent_listens() -> anyhow::Result<()> {
    let config = manifest::read(&format!("{BASE}/config.yaml"))?;
    let config: Value = serde_saphyr::from_str(config["data"]["config.yaml"].as_str().context("no text")?)?;
    let listen: std::net::SocketAddr = config["metrics"]["listen"]
        .as_str()
        .context("no address")?
        .parse()?;
    ensure!(!listen.ip().is_loopback(), "nobody reaches {listen}");
    let set = manifest::read(&format!("{BASE}/daemonset.yaml"))?;
    let template = &set["spec"]["template"];
    // In the node's network it would be the node's port.
    ensure!(template["spec"]["hostNetwork"].is_null());
    let annotations = &template["metadata"]["annotations"];
    ensure!(
        annotations["prometheus.io/port"].as_str() == Some(&listen.port().to_string()),
        "{annotations:#}"
    );
    let container = &template["spec"]["containers"][0];
    let port = &container["ports"][0];
    ensure!(
        port["containerPort"] == listen.port() && port["name"] == "metrics",
        "{port:#}"
    );
    for (probe, path) in [
        ("startupProbe", "/readyz"),
        ("livenessProbe", "/healthz"),
        ("readinessProbe", "/readyz"),
    ] {
        let get = &container[probe]["httpGet"];
        ensure!(
            get["path"] == path && get["port"] == "metrics",
            "{probe}: {get:#}"
        );
    }
    let policy = manifest::read(&format!("{BASE}/network-policy.yaml"))?;
    ensure!(policy["spec"]["podSelector"] == set["spec"]["selector"]);
    let from = &policy["spec"]["ingress"][0];
    ensure!(
        from["ports"][0]["port"] == "metrics" && from["from"][0].is_object(),
        "{from:#}"
    );
    Ok(())
}

/// Of what a cluster's discovery finds the job takes the agents' ports, and names each by its node. Debian's Prometheus does not know how to ask
/// Kubernetes: what it would be told is written in that place.
#[test]
fn the_job_for_prometheus_takes_the_agents_and_names_their_nodes() -> anyhow::Result<()> {
    let mut config = manifest::read("prometheus/scrape.yaml")?;
    let job = config["scrape_configs"][0].as_object_mut().context("no job")?;
    let discovery = job.remove("kubernetes_sd_configs").context("no discovery")?;
    ensure!(discovery[0]["role"] == "pod", "{discovery}");
    let pod = |address: &str, app: &str, port: &str| {
        serde_json::json!({ "targets": [address], "labels": {
            "__meta_kubernetes_pod_label_app_kubernetes_io_name": app,
            "__meta_kubernetes_pod_container_port_name": port,
            "__meta_kubernetes_pod_node_name": "node-1",
        }})
    };
    let found = [
        pod("10.0.0.1:9464", "driftlock", "metrics"),
        pod("10.0.0.2:9464", "another", "metrics"),
        pod("10.0.0.3:80", "driftlock", "web"),
    ];
    job.insert("static_configs".to_owned(), found.to_vec().into());
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("prometheus.json");
    std::fs::write(&file, config.to_string())?;
    let output = Command::new("promtool")
        // It waits for as long for more to be found.
        .args(["check", "service-discovery", "--timeout=2s"])
        .arg(&file)
        .arg("driftlock")
        .output()
        .context("promtool is not there")?;
    ensure!(output.status.success(), "{}", text(&output));
    let targets: Vec<Value> = serde_json::from_slice(&output.stdout)?;
    let taken: Vec<_> = targets
        .iter()
        .filter(|target| target["labels"]["instance"].is_string())
        .map(|target| (&target["labels"]["__address__"], &target["labels"]["instance"]))
        .collect();
    ensure!(
        taken.len() == 1 && taken[0].0 == "10.0.0.1:9464" && taken[0].1 == "node-1",
        "{targets:#?}"
    );
    Ok(())
}

/// A program that `cargo xtask setup` built, if it could.
fn tool(variable: &str, what: &str) -> Option<PathBuf> {
    let tool = std::env::var_os(variable).map(PathBuf::from);
    if tool.is_none() {
        support::not_on_this_kernel(
            what,
            &format!("{variable} is not set; `cargo xtask setup` says why"),
        );
    }
    tool
}

/// What a command printed.
fn text(output: &Output) -> String {
    [
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    ]
    .concat()
}

/// Manifests by kind and name.
type Rendered = BTreeMap<(String, String), Value>;

/// What a command renders. Each is what Kubernetes knows.
fn rendered(command: &mut Command) -> anyhow::Result<Rendered> {
    let output = command.output()?;
    ensure!(output.status.success(), "{command:?}: {}", text(&output));
    let documents: Vec<Value> = serde_saphyr::from_multiple(std::str::from_utf8(&output.stdout)?)?;
    let name = |of: &Value| of.as_str().unwrap_or_default().to_owned();
    let mut rendered = Rendered::new();
    for mut document in documents {
        let key = (name(&document["kind"]), name(&document["metadata"]["name"]));
        is_known(&document).with_context(|| format!("{command:?} renders {key:?}"))?;
        // How it is written does not matter.
        if let Some(config) = document["data"]["config.yaml"].as_str() {
            document["data"]["config.yaml"] = serde_saphyr::from_str(config)?;
        }
        ensure!(
            rendered.insert(key.clone(), document).is_none(),
            "{key:?} comes twice"
        );
    }
    Ok(rendered)
}

/// The chart with further words for Helm.
fn chart(helm: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(helm);
    command
        .args([
            "template",
            "driftlock",
            "--namespace",
            "driftlock",
            "--kube-version",
            OLDEST,
        ])
        .args(words)
        .arg(Path::new(DEPLOY).join("helm/driftlock"));
    command
}

#[test]
fn the_chart_renders_to_what_the_base_does() -> anyhow::Result<()> {
    let what = "whether the chart is as the base";
    let (Some(helm), Some(kustomize)) = (tool("DRIFTLOCK_HELM", what), tool("DRIFTLOCK_KUSTOMIZE", what))
    else {
        return Ok(());
    };
    let mut base = rendered(
        Command::new(kustomize)
            .arg("build")
            .arg(Path::new(DEPLOY).join(BASE)),
    )?;
    // Helm makes the namespace itself.
    base.remove(&("Namespace".to_owned(), "driftlock".to_owned()))
        .context("no namespace")?;
    let of_chart = rendered(&mut chart(&helm, &[]))?;
    ensure!(
        base.keys().eq(of_chart.keys()),
        "{:?}\n{:?}",
        base.keys(),
        of_chart.keys()
    );
    for (key, manifest) in &base {
        ensure!(
            of_chart[key] == *manifest,
            "{key:?}: the base has\n{manifest:#}\nand the chart\n{:#}",
            of_chart[key]
        );
    }
    Ok(())
}

#[test]
fn the_chart_passes_helms_own_check() -> anyhow::Result<()> {
    let Some(helm) = tool("DRIFTLOCK_HELM", "helm lint") else {
        return Ok(());
    };
    let lint = |words: &[&str]| {
        Command::new(&helm)
            .args(["lint", "--strict", "--kube-version", OLDEST])
            .args(words)
            .arg(Path::new(DEPLOY).join("helm/driftlock"))
            .output()
    };
    let output = lint(&[])?;
    ensure!(output.status.success(), "{}", text(&output));
    ensure!(
        !lint(&["--set", "image=driftlock"])?.status.success(),
        "values that fit no template pass, too"
    );
    Ok(())
}

#[test]
fn values_reach_the_manifests() -> anyhow::Result<()> {
    let Some(helm) = tool("DRIFTLOCK_HELM", "values of the chart") else {
        return Ok(());
    };
    let render = |words: &[&str]| -> anyhow::Result<(Value, Value, Value)> {
        let mut all = rendered(&mut chart(&helm, words))?;
        let mut take = |kind: &str| {
            all.remove(&(kind.to_owned(), "driftlock".to_owned()))
                .with_context(|| format!("no {kind}"))
        };
        Ok((take("DaemonSet")?, take("ConfigMap")?, take("NetworkPolicy")?))
    };

    let (set, ..) = render(&[
        "--set",
        "image.repository=registry.example/driftlock,image.tag=1.2.3,imagePullSecrets[0].name=pull",
    ])?;
    let pod = &set["spec"]["template"]["spec"];
    ensure!(
        pod["containers"][0]["image"] == "registry.example/driftlock:1.2.3",
        "{pod:#}"
    );
    ensure!(pod["imagePullSecrets"][0]["name"] == "pull", "{pod:#}");

    let (set, ..) = render(&[
        "--set-json",
        r#"tolerations=[],nodeSelector={"pool":"untrusted"},resources={"limits":{"memory":"1Gi"}}"#,
        "--set",
        "updateStrategy.rollingUpdate.maxUnavailable=1,priorityClassName=high",
    ])?;
    let pod = &set["spec"]["template"]["spec"];
    ensure!(pod["tolerations"] == serde_json::json!([]), "{pod:#}");
    ensure!(
        pod["nodeSelector"]["pool"] == "untrusted" && pod["priorityClassName"] == "high",
        "{pod:#}"
    );
    ensure!(
        pod["containers"][0]["resources"]["limits"]["memory"] == "1Gi",
        "{pod:#}"
    );
    ensure!(set["spec"]["updateStrategy"]["rollingUpdate"]["maxUnavailable"] == 1);

    let (set, config, policy) = render(&[
        "--set-json",
        r#"config.sinks=[{"nats":{"url":"tls://bus.example:4222","subject":"alerts"}}]"#,
        "--set",
        "config.metrics.listen=10.1.2.3:8080,metricsReaders=null",
    ])?;
    ensure!(
        config["data"]["config.yaml"]["sinks"][0]["nats"]["subject"] == "alerts",
        "{config:#}"
    );
    let template = &set["spec"]["template"];
    ensure!(
        template["metadata"]["annotations"]["prometheus.io/port"] == "8080",
        "{template:#}"
    );
    ensure!(
        template["spec"]["containers"][0]["ports"][0]["containerPort"] == 8080,
        "{template:#}"
    );
    ensure!(
        policy["spec"]["ingress"].is_null(),
        "nobody is to be let in: {policy:#}"
    );

    // Where the kubelet does not reach the agent it asks by a program in the container.
    for unreachable in ["config.metrics=null", "config.metrics.listen=127.0.0.1:9464"] {
        let (set, _, policy) = render(&["--set", unreachable])?;
        let template = &set["spec"]["template"];
        let container = &template["spec"]["containers"][0];
        for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
            let probe = &container[probe];
            ensure!(
                probe["exec"]["command"][0] == "driftlock" && probe["httpGet"].is_null(),
                "{unreachable}: {probe:#}"
            );
        }
        ensure!(container["ports"].is_null(), "{unreachable}: {container:#}");
        ensure!(
            template["metadata"]["annotations"]["prometheus.io/scrape"].is_null(),
            "{unreachable}: {template:#}"
        );
        ensure!(policy["spec"]["ingress"].is_null(), "{unreachable}: {policy:#}");
    }
    Ok(())
}
