//! The containers of an ordinary user (rootless Podman), out of the storage in the user's home.
//!
//! Input: the user's id and a container's. Output: [`ContainerInfo`], of which the user could have written every word. So the
//! image's digest is marked as claimed by that user, and there are neither names of images nor a pod: what they are
//! is believed nowhere. Failure: [`UserStorageError`].
//!
//! The user decides what is behind the paths, a filesystem that never answers included. So a thread of its own reads, for
//! which nobody waits longer than [`WITHIN`]; at most [`THREADS_MAX`] such threads hang at once.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use nix::unistd::{Uid, User};
use tokio::sync::oneshot;

use super::data_root::DataRoot;
use super::error::RuntimeError;
use super::id::ContainerId;
use super::info::{ContainerInfo, ImageIdentity, Runtime};
use super::podman::storage;

/// Where a user's storage is, in the home directory.
const STORAGE: &str = ".local/share/containers/storage";
/// How long a thread is waited for.
pub const WITHIN: Duration = Duration::from_secs(3);
/// Most threads that read at once.
const THREADS_MAX: usize = 4;

static THREADS: AtomicUsize = AtomicUsize::new(0);

/// Why an ordinary user's storage could not be read.
#[derive(Debug, thiserror::Error)]
pub enum UserStorageError {
    /// Nobody has this id.
    #[error("there is no user with id {user}")]
    NoUser {
        /// The id.
        user: u32,
    },
    /// A file could not be read.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// The files did not come in time.
    #[error("the storage of the user with id {user} cannot be read within {} s", WITHIN.as_secs())]
    Late {
        /// The user.
        user: u32,
    },
    /// Too many threads hang in users' files.
    #[error("{THREADS_MAX} reads of users' storages hang already")]
    TooMany,
}

/// The container with this id in a user's storage; `None` if there is none.
pub async fn container(user: u32, id: ContainerId) -> Result<Option<ContainerInfo>, UserStorageError> {
    let counted = THREADS.fetch_update(Ordering::AcqRel, Ordering::Acquire, |threads| {
        (threads < THREADS_MAX).then_some(threads + 1)
    });
    if counted.is_err() {
        return Err(UserStorageError::TooMany);
    }
    let (answer, answered) = oneshot::channel();
    let started = std::thread::Builder::new()
        .name("user storage".to_owned())
        .spawn(move || {
            let found = read(user, &id);
            THREADS.fetch_sub(1, Ordering::AcqRel);
            // Nobody waits any more if it took too long.
            let _ = answer.send(found);
        });
    if started.is_err() {
        THREADS.fetch_sub(1, Ordering::AcqRel);
        return Err(UserStorageError::TooMany);
    }
    match tokio::time::timeout(WITHIN, answered).await {
        Ok(Ok(found)) => found,
        Ok(Err(_)) | Err(_) => Err(UserStorageError::Late { user }),
    }
}

fn read(user: u32, id: &ContainerId) -> Result<Option<ContainerInfo>, UserStorageError> {
    let home = User::from_uid(Uid::from_raw(user))
        .ok()
        .flatten()
        .ok_or(UserStorageError::NoUser { user })?
        .dir;
    Ok(read_below(&home.join(STORAGE), user, id)?)
}

fn read_below(directory: &Path, user: u32, id: &ContainerId) -> Result<Option<ContainerInfo>, RuntimeError> {
    let root = DataRoot {
        user: Some(user),
        ..DataRoot::in_own_namespace(directory)
    };
    let found = storage::container(&root, id)?;
    Ok(found.map(|info| ContainerInfo {
        runtime: Runtime::Podman,
        image: ImageIdentity {
            digest: info.image.digest,
            claimed_by: Some(user),
            ..ImageIdentity::default()
        },
        labels: std::collections::BTreeMap::new(),
        pod: None,
        is_sandbox: false,
        ..info
    }))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt as _, chown};

    use super::*;

    const ID: &str = "0cdbc918a9cca37c442dc2f63c4c49c806b8b1a6ecd622ccef3ea3de3e77b496";

    #[test]
    fn believes_neither_names_nor_pods_of_a_user() {
        let home = tempfile::tempdir().expect("directory");
        let own = std::fs::metadata(home.path()).expect("owner").uid();
        let image = "a".repeat(64);
        let files = [
            (
                "overlay-containers/containers.json".to_owned(),
                serde_json::json!([{"id": ID, "names": ["web"], "image": image,
                    "metadata": "{\"image-name\":\"registry.example/trusted:1\"}"}]),
            ),
            (
                "overlay-images/images.json".to_owned(),
                serde_json::json!([{"id": image, "names": ["registry.example/trusted:1"]}]),
            ),
            (
                format!("overlay-containers/{ID}/userdata/config.json"),
                serde_json::json!({"process": {"args": ["/bin/sh"]}, "annotations": {
                    "io.container.manager": "cri-o",
                    "io.kubernetes.cri-o.Labels": "{\"io.kubernetes.pod.name\":\"a\",\"io.kubernetes.pod.namespace\":\"b\"}",
                    "io.kubernetes.cri-o.Annotations": "{\"driftlock.dev/mode\":\"learn\"}"}}),
            ),
        ];
        for (name, content) in &files {
            let path = home.path().join(name);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("directory");
            std::fs::write(path, content.to_string()).expect("write");
        }
        let id = ID.parse().expect("an id");
        let info = read_below(home.path(), own, &id)
            .expect("readable")
            .expect("there");
        assert_eq!(info.runtime, Runtime::Podman);
        assert_eq!(
            (info.image.claimed_by, info.image.proven_digest()),
            (Some(own), None)
        );
        assert!(info.image.digest.is_some());
        assert_eq!((info.image.reference, info.image.references.len()), (None, 0));
        assert_eq!((info.pod, info.labels.len()), (None, 0));
        // A file of somebody else's in the user's storage is not read.
        let list = home.path().join("overlay-containers/containers.json");
        if own == 0 && chown(&list, Some(1234), None).is_ok() {
            let error = read_below(home.path(), own, &id).expect_err("another's");
            assert!(
                matches!(error, RuntimeError::Untrusted { owner: 1234, .. }),
                "{error}"
            );
        }
    }

    #[tokio::test]
    async fn a_user_that_is_none_is_an_error() {
        let id = ID.parse().expect("an id");
        let error = container(4_000_000_000, id).await.expect_err("nobody");
        assert!(matches!(error, UserStorageError::NoUser { .. }), "{error}");
    }
}
