//! A storage of the `containers/storage` library, as Podman and CRI-O use it: `DRIVER-containers/containers.json`,
//! `DRIVER-images/images.json`, and the bundle in `DRIVER-containers/ID/userdata`.
//!
//! Input: files that the runtime wrote; names, arguments and annotations in them are a user's choice. Output:
//! [`ContainerInfo`]. Failure: [`RuntimeError`]. The library writes each file beside its place and renames it.
//!
//! In such a storage an image's id is the digest of its config, without `sha256:`.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Deserialize;

use crate::container::containerd::bundle::Spec;
use crate::container::crio;
use crate::container::data_root::DataRoot;
use crate::container::error::RuntimeError;
use crate::container::id::ContainerId;
use crate::container::info::{ContainerInfo, ImageIdentity, Runtime, Storage};
use crate::image::{ImageDigest, without_tag};
use crate::text::ByteText;

/// Drivers of the library; a storage is of one, seldom of several.
const DRIVERS: &[&str] = &["overlay", "vfs", "btrfs", "zfs", "aufs", "devmapper"];
/// The lists of containers: those that are kept, and those that need not survive (Podman 4.5 and later).
const LISTS: &[&str] = &["containers.json", "volatile-containers.json"];
/// Most bytes read of a list.
const LIST_BYTES: u64 = 64 * 1024 * 1024;
/// Most bytes read of a bundle's `config.json`.
const CONFIG_BYTES: u64 = 8 * 1024 * 1024;

/// What of a container's entry is used.
#[derive(Debug, Deserialize)]
struct Container {
    id: String,
    #[serde(default)]
    names: Vec<String>,
    image: String,
    #[serde(default)]
    created: Option<String>,
    /// A JSON document of its own, the runtime's.
    #[serde(default)]
    metadata: String,
}

/// What of the metadata is used.
#[derive(Debug, Default, Deserialize)]
struct Metadata {
    /// The image as it was named when the container was made.
    #[serde(default, rename = "image-name")]
    image_name: String,
}

/// What of an image's entry is used.
#[derive(Debug, Deserialize)]
struct Image {
    id: String,
    /// The manifest's digest.
    #[serde(default)]
    digest: Option<String>,
    #[serde(default)]
    names: Option<Vec<String>>,
}

/// Whether a directory is a storage.
#[must_use]
pub fn is_storage(root: &DataRoot) -> bool {
    DRIVERS.iter().any(|driver| containers(root, driver).is_dir())
}

/// Reads one container's description, without its first process; `None` if this storage has no such container.
pub fn container(root: &DataRoot, id: &ContainerId) -> Result<Option<ContainerInfo>, RuntimeError> {
    for driver in DRIVERS {
        let directory = containers(root, driver);
        if !directory.join(id.as_str()).is_dir() {
            continue;
        }
        for list in LISTS {
            let entries: Vec<Container> = match root.read_json(&directory.join(list), LIST_BYTES) {
                Err(RuntimeError::Read(error)) if error.is_absent() => continue,
                result => result?,
            };
            if let Some(entry) = entries.into_iter().find(|entry| entry.id == id.as_str()) {
                return describe(root, driver, id, &entry).map(Some);
            }
        }
    }
    Ok(None)
}

fn containers(root: &DataRoot, driver: &str) -> PathBuf {
    root.directory.join(format!("{driver}-containers"))
}

fn describe(
    root: &DataRoot,
    driver: &str,
    id: &ContainerId,
    entry: &Container,
) -> Result<ContainerInfo, RuntimeError> {
    let all = containers(root, driver);
    let malformed = |problem: String| RuntimeError::Malformed {
        path: all.clone(),
        problem,
    };
    // A pod of CRI-O's may have no image of its own, nor has a container that runs from a directory.
    let digest: Option<ImageDigest> = match entry.image.as_str() {
        "" => None,
        image => Some(
            format!("sha256:{image}")
                .parse()
                .map_err(|error: crate::image::DigestError| malformed(error.to_string()))?,
        ),
    };
    let spec: Spec = root.read_json(&bundle(&all, id.as_str()), CONFIG_BYTES)?;
    let (role, args) = spec.command();
    let annotations = spec.annotations.unwrap_or_default();
    let mut info = ContainerInfo {
        id: *id,
        runtime: Runtime::Podman,
        name: entry
            .names
            .first()
            .map_or_else(|| id.short().into(), |name| name.as_str().into()),
        image: image(root, driver, digest, entry)?,
        labels: std::collections::BTreeMap::new(),
        role,
        args,
        init_pid: None,
        running: false,
        created: entry
            .created
            .as_deref()
            .and_then(|time| time.parse::<Timestamp>().ok()),
        started: None,
        storage: Storage {
            prefix: root.prefix.clone(),
            data_root: root.daemon_directory.clone(),
            driver: driver.to_owned(),
        },
        pod: None,
        is_sandbox: false,
        isolation: None,
    };
    if crio::is_its(&annotations) {
        let pods = crio::sandbox(&annotations)
            // The pod's own container, if it is still there.
            .and_then(|sandbox| {
                root.read_json::<Spec>(&bundle(&all, sandbox.as_str()), CONFIG_BYTES)
                    .ok()
            })
            .and_then(|spec| spec.annotations)
            .unwrap_or_default();
        crio::describe(&mut info, &annotations, &pods);
    }
    Ok(info)
}

fn bundle(containers: &Path, id: &str) -> PathBuf {
    containers.join(id).join("userdata/config.json")
}

/// The names that an image has.
fn image(
    root: &DataRoot,
    driver: &str,
    digest: Option<ImageDigest>,
    entry: &Container,
) -> Result<ImageIdentity, RuntimeError> {
    let path = root
        .directory
        .join(format!("{driver}-images"))
        .join("images.json");
    let images: Vec<Image> = match root.read_json(&path, LIST_BYTES) {
        Err(RuntimeError::Read(error)) if error.is_absent() => Vec::new(),
        result => result?,
    };
    let (mut references, mut manifests) = (Vec::new(), Vec::new());
    if let Some(image) = images.into_iter().find(|image| image.id == entry.image) {
        for name in image.names.iter().flatten() {
            if name.contains('@') {
                manifests.push(ByteText::from(name.as_str()));
                continue;
            }
            references.push(ByteText::from(name.as_str()));
            if let Some(digest) = &image.digest {
                manifests.push(format!("{}@{digest}", without_tag(name)).as_str().into());
            }
        }
    }
    references.sort_unstable();
    manifests.sort_unstable();
    manifests.dedup();
    let metadata: Metadata = serde_json::from_str(&entry.metadata).unwrap_or_default();
    let is_name = !metadata.image_name.is_empty() && !entry.image.starts_with(&metadata.image_name);
    Ok(ImageIdentity {
        digest,
        reference: is_name.then(|| metadata.image_name.as_str().into()),
        references,
        manifests,
        ..ImageIdentity::default()
    })
}
