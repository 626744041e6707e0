//! `cargo xtask image`: the agent as a container image, without a daemon ([ADR 28](../../../docs/adr/0028-the-image-holds-the-binary-and-its-libraries.md)).
//!
//! Input: the binary. Output: one archive that is a layout of the Open Container Initiative and what `docker load` reads, in one: `docker load`,
//! `podman load`, `ctr images import` and skopeo take it. The same binary and libraries give the same digest. Failure: see [`super`].
//!
//! The image holds the binary, the libraries that it is linked with, as they are on the machine that builds, and nothing that could be
//! executed beside it: no shell, no package manager.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::{Arguments, copy, empty, put, sha256, tar};
use crate::process;

/// The image's name; the tag is the version.
const NAME: &str = "driftlock";
/// Where the image's blobs are in the archive.
const BLOBS: &str = "blobs/sha256";

/// Makes the image; says where it is, and its digest.
pub fn run(arguments: &Arguments) -> Result<()> {
    let binary = arguments.binary()?;
    let output = arguments.output("driftlock-image.tar")?;
    let digest = make(&binary, &output)?;
    let mebibytes = std::fs::metadata(&output)?.len().div_ceil(1 << 20);
    eprintln!("image: {}, {mebibytes} MiB, {digest}", output.display());
    Ok(())
}

/// Makes the image of a binary; its config digest.
pub fn make(binary: &Path, output: &Path) -> Result<String> {
    let root = empty("image-root")?;
    lay_out(&root, binary)?;
    let layout = empty("image")?;
    let digest = describe(&root, &layout)?;
    tar(&layout, output)?;
    Ok(digest)
}

/// The root filesystem.
fn lay_out(root: &Path, binary: &Path) -> Result<()> {
    copy(root, "usr/bin/driftlock", binary, 0o755)?;
    for library in libraries(binary)? {
        let path = library.strip_prefix("/").context("a library without a place")?;
        copy(root, &path.to_string_lossy(), &library, 0o755)?;
    }
    put(root, "etc/passwd", b"root:x:0:0:root:/:/sbin/nologin\n", 0o644)?;
    put(root, "etc/group", b"root:x:0:\n", 0o644)?;
    for directory in [
        "etc/driftlock",
        "proc",
        "run/driftlock",
        "sys",
        "tmp",
        "var/lib/driftlock",
    ] {
        std::fs::create_dir_all(root.join(directory))?;
    }
    Ok(())
}

/// The libraries that a program is linked with, and what loads them, where the program looks for them.
fn libraries(binary: &Path) -> Result<Vec<PathBuf>> {
    let text = process::capture(Command::new("ldd").arg(binary))?;
    let found = places(&text);
    ensure!(!found.is_empty(), "{} is linked with nothing", binary.display());
    Ok(found)
}

/// The places in what `ldd` prints: `name => place (address)`, or `place (address)`; the kernel's own has none.
fn places(text: &str) -> Vec<PathBuf> {
    text.lines()
        .filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')))
        .map(PathBuf::from)
        .collect()
}

/// Writes the layout of an image with this root filesystem; its config digest.
fn describe(root: &Path, layout: &Path) -> Result<String> {
    let blobs = layout.join(BLOBS);
    std::fs::create_dir_all(&blobs)?;
    let version = env!("CARGO_PKG_VERSION");
    let layer = blobs.join("layer");
    tar(root, &layer)?;
    let content = sha256(&layer)?;
    // Without the file's name and time, it is the same each time.
    process::hide(
        "compress",
        Command::new("gzip").args(["-9", "-n", "-f"]).arg(&layer),
    )?;
    let layer = add(
        &blobs,
        &blobs.join("layer.gz"),
        "application/vnd.oci.image.layer.v1.tar+gzip",
    )?;
    let config = add_json(
        &blobs,
        &json!({
            "architecture": architecture(),
            "os": "linux",
            "config": {
                "Entrypoint": ["/usr/bin/driftlock"],
                "Cmd": ["run"],
                "Env": ["PATH=/usr/bin"],
                "Labels": {
                    "org.opencontainers.image.title": NAME,
                    "org.opencontainers.image.version": version,
                    "org.opencontainers.image.licenses": "Apache-2.0 OR MIT",
                },
            },
            "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{content}")] },
        }),
        "application/vnd.oci.image.config.v1+json",
    )?;
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": config,
        "layers": [layer],
    });
    let mut manifest = add_json(&blobs, &manifest, "application/vnd.oci.image.manifest.v1+json")?;
    let name = format!("{NAME}:{version}");
    // The first is containerd's, the second the standard's.
    manifest["annotations"] = json!({
        "io.containerd.image.name": format!("docker.io/library/{name}"),
        "org.opencontainers.image.ref.name": name,
    });
    let write = |file: &str, value: &Value| std::fs::write(layout.join(file), value.to_string());
    write(
        "index.json",
        &json!({ "schemaVersion": 2, "manifests": [manifest] }),
    )?;
    write("oci-layout", &json!({ "imageLayoutVersion": "1.0.0" }))?;
    // What `docker load` reads where it knows no layouts (before Docker 25).
    let place = |blob: &Value| -> Result<String> {
        let digest = blob["digest"]
            .as_str()
            .and_then(|digest| digest.strip_prefix("sha256:"));
        Ok(format!("{BLOBS}/{}", digest.context("a blob without a digest")?))
    };
    write(
        "manifest.json",
        &json!([{ "Config": place(&config)?, "RepoTags": [name], "Layers": [place(&layer)?] }]),
    )?;
    let digest = config["digest"].as_str().context("no digest")?;
    Ok(digest.to_owned())
}

/// Takes a file among the blobs, under its digest.
fn add(blobs: &Path, file: &Path, media_type: &str) -> Result<Value> {
    let digest = sha256(file)?;
    let size = std::fs::metadata(file)?.len();
    std::fs::rename(file, blobs.join(&digest))?;
    Ok(json!({ "mediaType": media_type, "digest": format!("sha256:{digest}"), "size": size }))
}

fn add_json(blobs: &Path, value: &Value, media_type: &str) -> Result<Value> {
    let file = blobs.join("json");
    std::fs::write(&file, value.to_string())?;
    add(blobs, &file, media_type)
}

/// The architecture in the words of images.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_taken_from_where_the_program_looks_for_them() {
        let text = "\tlinux-vdso.so.1 (0x00007f)\n\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00)\n\t/lib64/ld-linux-x86-64.so.2 (0x0)\n";
        let wanted = ["/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2"];
        assert_eq!(places(text), wanted.map(PathBuf::from));
    }

    #[test]
    fn the_same_root_gives_the_same_digest() {
        let directory = tempfile::tempdir().expect("a directory");
        let digest = |name: &str| {
            let (root, layout) = (directory.path().join("root"), directory.path().join(name));
            put(&root, "usr/bin/driftlock", b"program", 0o755).expect("written");
            describe(&root, &layout).expect("described")
        };
        let first = digest("first");
        std::thread::sleep(std::time::Duration::from_millis(1100));
        assert_eq!(first, digest("second"));
        let blobs = directory.path().join("first").join(BLOBS);
        assert_eq!(std::fs::read_dir(blobs).expect("blobs").count(), 3);
    }
}
