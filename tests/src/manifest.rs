//! The `DaemonSet` in `deploy/kubernetes/base`, as a container runtime runs its container.
//!
//! Input: the manifest. Output: the words for `podman run` that give the container what the manifest says: capabilities, mounts, the host's
//! processes, a root filesystem that is read-only. Failure: what the manifest has and is not understood here.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;

/// Of what the manifest gives, the one that root lacks on some machines of containers' own, by name and number.
const RARE: (&str, u32) = ("SYS_RESOURCE", 24);

/// The words for one container of a pod's specification. `host` gives the directory in the place of one of the node's, and of a
/// configuration (by its name).
pub fn run_options(pod: &Value, host: impl Fn(&str) -> PathBuf) -> anyhow::Result<Vec<String>> {
    let container = &pod["containers"][0];
    let security = &container["securityContext"];
    let mut words = vec!["--network=none".to_owned()];
    if pod["hostPID"] == true {
        words.push("--pid=host".to_owned());
    }
    ensure!(security["privileged"] != true, "it is privileged");
    for (list, option) in [("drop", "--cap-drop"), ("add", "--cap-add")] {
        for name in security["capabilities"][list]
            .as_array()
            .context("no capabilities")?
        {
            let name = name.as_str().context("no name")?;
            // Nobody can give what nobody has; the agent does without.
            if name != RARE.0 || root_has(RARE.1)? {
                words.push(format!("{option}={name}"));
            }
        }
    }
    if security["readOnlyRootFilesystem"] == true {
        words.push("--read-only".to_owned());
    }
    if let Some(user) = security["runAsUser"].as_u64() {
        words.push(format!("--user={user}"));
    }
    // The runtime's own filter is its default.
    ensure!(
        security["seccompProfile"]["type"] == "RuntimeDefault",
        "another filter"
    );
    if security["appArmorProfile"]["type"] == "Unconfined" {
        words.push("--security-opt=apparmor=unconfined".to_owned());
    }
    for mount in container["volumeMounts"].as_array().context("no mounts")? {
        let volumes = pod["volumes"].as_array().context("no volumes")?;
        let volume = volumes.iter().find(|volume| volume["name"] == mount["name"]);
        let source = source(volume.context("a mount without a volume")?, &host)?;
        let target = mount["mountPath"].as_str().context("no target")?;
        let mut options = vec![];
        if mount["readOnly"] == true {
            options.push("ro");
        }
        match mount["mountPropagation"].as_str() {
            None => {}
            Some("HostToContainer") => options.push("rslave"),
            Some(other) => bail!("propagation {other}"),
        }
        words.push(
            format!("--volume={}:{target}:{}", source.display(), options.join(","))
                .trim_end_matches(':')
                .to_owned(),
        );
    }
    Ok(words)
}

/// Whether this machine's root can have a capability at all.
fn root_has(number: u32) -> anyhow::Result<bool> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let set = status.lines().find_map(|line| line.strip_prefix("CapBnd:"));
    let set = u64::from_str_radix(set.context("no bounding set")?.trim(), 16)?;
    Ok(set & (1 << number) != 0)
}

fn source(volume: &Value, host: impl Fn(&str) -> PathBuf) -> anyhow::Result<PathBuf> {
    let path = volume["hostPath"]["path"].as_str();
    let config = volume["configMap"]["name"].as_str();
    let source = host(path.or(config).context("a volume of another kind")?);
    match volume["hostPath"]["type"].as_str() {
        Some("Directory") => ensure!(source.is_dir(), "{} is no directory", source.display()),
        Some("DirectoryOrCreate") => std::fs::create_dir_all(&source)?,
        _ => {}
    }
    Ok(source)
}

/// A manifest of `deploy`, as a value.
pub fn read(path: &str) -> anyhow::Result<Value> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(path);
    let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    serde_saphyr::from_str(&text).with_context(|| format!("{} is no YAML", file.display()))
}
