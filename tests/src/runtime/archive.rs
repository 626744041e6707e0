//! An image as an archive of the Open Container Initiative's image layout, which containerd and Podman load.
//!
//! Input: a root filesystem, a name and an entrypoint. Output: a tar file with one layer, and the digest of its configuration.
//! Failure: `tar`, `sha256sum`, or a file that cannot be written.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

/// Writes the archive of `root` to `target`; returns the config digest, `sha256:...`.
pub fn write(root: &Path, name: &str, entrypoint: &[&str], target: &Path) -> anyhow::Result<String> {
    let directory = tempfile::Builder::new()
        .prefix("archive-")
        .tempdir_in(target.parent().context("no directory")?)?;
    let layout = Layout {
        blobs: directory.path().join("blobs/sha256"),
    };
    std::fs::create_dir_all(&layout.blobs)?;
    let layer = directory.path().join("layer");
    tar(root, &layer)?;
    // Not compressed: the digest of the layer is that of its content, too.
    let layer = layout.add(&layer, "application/vnd.oci.image.layer.v1.tar")?;
    let config = layout.add_json(
        directory.path(),
        &json!({
            "architecture": "amd64",
            "os": "linux",
            "config": { "Entrypoint": entrypoint, "Env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"] },
            "rootfs": { "type": "layers", "diff_ids": [layer["digest"]] },
        }),
        "application/vnd.oci.image.config.v1+json",
    )?;
    let mut manifest = layout.add_json(
        directory.path(),
        &json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": config,
            "layers": [layer],
        }),
        "application/vnd.oci.image.manifest.v1+json",
    )?;
    // The first is containerd's, the second is the standard's.
    manifest["annotations"] = json!({
        "io.containerd.image.name": name,
        "org.opencontainers.image.ref.name": name,
    });
    let index = json!({ "schemaVersion": 2, "manifests": [manifest] });
    std::fs::write(directory.path().join("index.json"), index.to_string())?;
    std::fs::write(
        directory.path().join("oci-layout"),
        r#"{"imageLayoutVersion":"1.0.0"}"#,
    )?;
    tar(directory.path(), target)?;
    let digest = config["digest"].as_str().context("no digest")?;
    Ok(digest.to_owned())
}

struct Layout {
    blobs: PathBuf,
}

impl Layout {
    /// Takes a file as a blob and describes it.
    fn add(&self, file: &Path, media_type: &str) -> anyhow::Result<Value> {
        let sum = Command::new("sha256sum")
            .arg(file)
            .output()
            .context("cannot run sha256sum")?;
        ensure!(sum.status.success(), "sha256sum failed");
        let sum = String::from_utf8(sum.stdout)?;
        let digest = sum.split(' ').next().context("no digest")?;
        let size = std::fs::metadata(file)?.len();
        std::fs::rename(file, self.blobs.join(digest))?;
        Ok(json!({ "mediaType": media_type, "digest": format!("sha256:{digest}"), "size": size }))
    }

    fn add_json(&self, directory: &Path, document: &Value, media_type: &str) -> anyhow::Result<Value> {
        let file = directory.join("document");
        std::fs::write(&file, document.to_string())?;
        self.add(&file, media_type)
    }
}

fn tar(directory: &Path, target: &Path) -> anyhow::Result<()> {
    let status = Command::new("tar")
        .args(["--numeric-owner", "--owner=0", "--group=0", "-c", "-f"])
        .arg(target)
        .arg("-C")
        .arg(directory)
        .arg(".")
        .status()
        .context("cannot run tar")?;
    ensure!(status.success(), "tar failed");
    Ok(())
}
