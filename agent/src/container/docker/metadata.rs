//! The files in a data directory: `containers/ID/config.v2.json` and `image/DRIVER/repositories.json`.
//!
//! Input: files that the daemon wrote; names, labels, arguments and references in them are a user's choice, their size
//! too. Output: [`ContainerInfo`]. Failure: [`RuntimeError`].

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;

use crate::container::data_root::DataRoot;
use crate::container::error::RuntimeError;
use crate::container::id::ContainerId;
use crate::container::info::{ContainerInfo, ImageIdentity, Runtime, Storage};
use crate::container::read::ReadError;
use crate::image::ImageDigest;
use crate::text::ByteText;

/// Most bytes read of a container's description. Environment and arguments are in it, which the kernel bounds at
/// about 6 MiB; a larger file is an error.
const CONFIG_BYTES: u64 = 8 * 1024 * 1024;
/// Most bytes read of the list of references: some 200,000 of them.
const REPOSITORIES_BYTES: u64 = 64 * 1024 * 1024;
/// Most containers listed of one daemon, running or not; the kernel tracks at most 4,096 that run.
const CONTAINERS_MAX: usize = 65_536;

/// Storage drivers of Docker's own image store, in which an image's id is the digest of its config.
const DRIVERS: &[&str] = &[
    "overlay2",
    "overlay",
    "fuse-overlayfs",
    "aufs",
    "btrfs",
    "zfs",
    "vfs",
    "devicemapper",
];

/// What of `config.v2.json` is used.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Description {
    state: State,
    #[serde(rename = "ID")]
    id: String,
    name: String,
    image: String,
    path: String,
    #[serde(default)]
    args: Option<Vec<String>>,
    driver: String,
    created: Option<String>,
    config: Wanted,
}

/// How the container stands.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct State {
    running: bool,
    pid: i64,
    started_at: Option<String>,
}

/// What the user asked for.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Wanted {
    image: String,
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
}

/// `repositories.json`: repository, to reference, to image id.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Repositories {
    #[serde(default)]
    repositories: BTreeMap<String, BTreeMap<String, String>>,
}

/// Reads one container's description; `None` if this data directory has no such container.
pub fn container(root: &DataRoot, id: &ContainerId) -> Result<Option<ContainerInfo>, RuntimeError> {
    let path = root
        .directory
        .join("containers")
        .join(id.as_str())
        .join("config.v2.json");
    let description: Description = match root.read_json(&path, CONFIG_BYTES) {
        Err(RuntimeError::Read(error)) if error.is_absent() => return Ok(None),
        result => result?,
    };
    let malformed = |problem: String| RuntimeError::Malformed {
        path: path.clone(),
        problem,
    };
    if description.id != id.as_str() {
        return Err(malformed("it describes another container".to_owned()));
    }
    if description.driver.contains('/') {
        return Err(malformed("Driver: no name".to_owned()));
    }
    let digest: ImageDigest = description
        .image
        .parse()
        .map_err(|error| malformed(format!("Image: {error}")))?;
    let image = if DRIVERS.contains(&description.driver.as_str()) {
        image(root, &description.driver, digest, &description.config.image)?
    } else {
        // Images are kept by containerd, which names them by their manifest.
        ImageIdentity {
            reference: (!is_id_of(&description.config.image, &digest))
                .then(|| text(&description.config.image)),
            target: Some(digest),
            ..ImageIdentity::default()
        }
    };
    let init_pid = u32::try_from(description.state.pid)
        .ok()
        .filter(|pid| description.state.running && *pid > 0);
    Ok(Some(ContainerInfo {
        id: *id,
        runtime: Runtime::Docker,
        name: text(description.name.strip_prefix('/').unwrap_or(&description.name)),
        image,
        labels: description
            .config
            .labels
            .into_iter()
            .flatten()
            .map(|(name, value)| (text(&name), text(&value)))
            .collect(),
        role: text(&description.path),
        args: description
            .args
            .into_iter()
            .flatten()
            .map(|argument| text(&argument))
            .collect(),
        init_pid,
        running: description.state.running,
        pod: None,
        is_sandbox: false,
        isolation: None,
        created: description.created.as_deref().and_then(timestamp),
        started: description.state.started_at.as_deref().and_then(timestamp),
        storage: Storage {
            prefix: root.prefix.clone(),
            data_root: root.daemon_directory.clone(),
            driver: description.driver,
        },
    }))
}

/// The ids of all containers of a data directory, running or not.
pub fn container_ids(root: &DataRoot) -> Result<Vec<ContainerId>, ReadError> {
    let directory = root.directory.join("containers");
    let entries = std::fs::read_dir(&directory).map_err(ReadError::of("list", &directory))?;
    let ids: Vec<ContainerId> = entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .take(CONTAINERS_MAX + 1)
        .collect();
    if ids.len() > CONTAINERS_MAX {
        let problem = std::io::Error::other(format!("more than {CONTAINERS_MAX} containers"));
        return Err(ReadError::of("list", &directory)(problem));
    }
    Ok(ids)
}

/// The names that an image has. Without the list of references (none was ever given) there are none.
fn image(
    root: &DataRoot,
    driver: &str,
    digest: ImageDigest,
    given: &str,
) -> Result<ImageIdentity, RuntimeError> {
    let path = root
        .directory
        .join("image")
        .join(driver)
        .join("repositories.json");
    let repositories: Repositories = match root.read_json(&path, REPOSITORIES_BYTES) {
        Err(RuntimeError::Read(error)) if error.is_absent() => Repositories::default(),
        result => result?,
    };
    let mut names: Vec<&String> = repositories
        .repositories
        .values()
        .flatten()
        .filter_map(|(reference, image)| (image == digest.as_str()).then_some(reference))
        .collect();
    names.sort_unstable();
    let (manifests, references): (Vec<&String>, Vec<&String>) =
        names.into_iter().partition(|reference| reference.contains('@'));
    let texts = |names: Vec<&String>| names.into_iter().map(|name| text(name)).collect();
    Ok(ImageIdentity {
        reference: (!is_id_of(given, &digest)).then(|| text(given)),
        references: texts(references),
        manifests: texts(manifests),
        digest: Some(digest),
        ..ImageIdentity::default()
    })
}

/// Whether an image was named by its id: the digest, or at least the first twelve digits of it, as tables show them.
/// Fewer may as well be a name.
fn is_id_of(given: &str, digest: &ImageDigest) -> bool {
    let digits = digest.as_str().strip_prefix("sha256:").unwrap_or_default();
    given.is_empty() || digest.as_str() == given || (given.len() >= 12 && digits.starts_with(given))
}

fn text(text: &str) -> ByteText {
    ByteText::from(text)
}

/// A time; `None` for the zero that stands for "never", and for what is no time.
fn timestamp(text: &str) -> Option<Timestamp> {
    let time: Timestamp = text.parse().ok()?;
    (time > Timestamp::UNIX_EPOCH).then_some(time)
}
