//! The directories of a cgroup hierarchy: which are containers, and what is nested in them.
//!
//! Input: a [`CgroupLayout`]. Output: [`Listing`]s, which say when a bound cut them short. Failure: [`ReadError`] for
//! the directory that was asked for; directories below that vanish meanwhile are left out.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use agent_common::container::{CONTAINERS_MAX, NESTED_CGROUPS_MAX};

use super::id::{ContainerId, container_id_in};
use super::layout::CgroupLayout;
use super::read::{ReadError, read_bounded};

/// Most directories that one listing of containers visits. Beyond it the listing is cut short.
const DIRECTORIES_MAX: usize = 4 * CONTAINERS_MAX as usize;
/// Most bytes read of one `cgroup.procs`: 32,768 processes. A container with more gives an error.
const PROCS_BYTES: u64 = 8 * 32 * 1024;

/// A cgroup directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cgroup {
    /// The kernel's id, the key of `CONTAINERS`.
    pub id: u64,
    /// Path from the root of the hierarchy, with a leading `/`.
    pub path: Vec<u8>,
}

/// A container's own cgroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerCgroup {
    /// The cgroup.
    pub cgroup: Cgroup,
    /// Which container.
    pub container: ContainerId,
}

/// What a walk found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing<T> {
    /// In the order of the walk: a parent before its children.
    pub found: Vec<T>,
    /// There is more than the bound allows to visit.
    pub truncated: bool,
}

/// Kernel's id of a cgroup directory: the inode number, which for kernfs on 64-bit machines is the node's id (Linux
/// 5.5 and later).
pub fn kernel_id(directory: &Path) -> Result<u64, ReadError> {
    std::fs::metadata(directory)
        .map(|metadata| metadata.ino())
        .map_err(ReadError::of("stat", directory))
}

/// The processes in a cgroup itself, by their ids on the host.
pub fn processes(directory: &Path) -> Result<Vec<u32>, ReadError> {
    let content = read_bounded(&directory.join("cgroup.procs"), PROCS_BYTES)?;
    Ok(content
        .split(|byte| *byte == b'\n')
        .filter_map(|line| std::str::from_utf8(line).ok()?.parse().ok())
        .collect())
}

// === impl CgroupLayout ===

impl CgroupLayout {
    /// The directory of a cgroup, given its path from the root of the hierarchy.
    #[must_use]
    pub fn directory(&self, path: &[u8]) -> PathBuf {
        let relative = path.strip_prefix(b"/").unwrap_or(path);
        self.mount().join(OsStr::from_bytes(relative))
    }

    /// The cgroups of all containers that exist. A container inside a container is not one of them.
    pub fn containers(&self) -> Result<Listing<ContainerCgroup>, ReadError> {
        let mut found = Vec::new();
        let truncated = walk(self.mount(), b"", DIRECTORIES_MAX, |name, cgroup| {
            let container = container_id_in(name);
            if let Some(container) = container {
                found.push(ContainerCgroup { cgroup, container });
            }
            container.is_none()
        })?;
        Ok(Listing { found, truncated })
    }

    /// The directories below a container's cgroup, at most as many as the kernel programs keep for one container.
    pub fn nested(&self, path: &[u8]) -> Result<Listing<Cgroup>, ReadError> {
        let mut found = Vec::new();
        let bound = usize::try_from(NESTED_CGROUPS_MAX).unwrap_or(usize::MAX);
        let truncated = walk(&self.directory(path), path, bound, |_, cgroup| {
            found.push(cgroup);
            true
        })?;
        Ok(Listing { found, truncated })
    }
}

/// Visits the directories below `top`, a parent before its children, breadth first, so that a container with a deep
/// tree does not hide what stands beside it. `visit` says whether to go on below. Returns whether `bound` cut it short.
fn walk(
    top: &Path,
    top_path: &[u8],
    bound: usize,
    mut visit: impl FnMut(&[u8], Cgroup) -> bool,
) -> Result<bool, ReadError> {
    let mut waiting = std::collections::VecDeque::from([(top.to_owned(), top_path.to_vec())]);
    let mut visited = 0;
    let mut is_top = true;
    while let Some((directory, path)) = waiting.pop_front() {
        let entries = match std::fs::read_dir(&directory).map_err(ReadError::of("list", &directory)) {
            Ok(entries) => entries,
            Err(error) if is_top => return Err(error),
            Err(_) => continue,
        };
        is_top = false;
        for entry in entries.filter_map(Result::ok) {
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            // The inode number of a listing would be that of the directory under a mount point.
            let Ok(id) = kernel_id(&entry.path()) else {
                continue;
            };
            if visited == bound {
                return Ok(true);
            }
            visited += 1;
            let name = entry.file_name();
            let path = [path.as_slice(), b"/", name.as_bytes()].concat();
            if visit(
                name.as_bytes(),
                Cgroup {
                    id,
                    path: path.clone(),
                },
            ) {
                waiting.push_back((entry.path(), path));
            }
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "10ee6a25f319dcd43ef2828bbd9d0df52ce1e524482cb5a7879680a5d7645828";

    fn layout(mount: &Path) -> CgroupLayout {
        CgroupLayout::V2 {
            mount: mount.to_owned(),
        }
    }

    #[test]
    fn lists_containers_and_what_is_nested() {
        let root = tempfile::tempdir().expect("directory");
        let scope = format!("system.slice/docker-{ID}.scope");
        let inner = "f".repeat(64);
        std::fs::create_dir_all(root.path().join(&scope).join("docker").join(&inner)).expect("tree");
        std::fs::create_dir_all(root.path().join("user.slice")).expect("tree");
        std::fs::write(root.path().join(&scope).join("cgroup.procs"), "12\n4000000\n").expect("procs");

        let containers = layout(root.path()).containers().expect("listing");
        assert!(!containers.truncated);
        let [container] = containers.found.as_slice() else {
            panic!("{containers:?}")
        };
        assert_eq!(container.container.as_str(), ID);
        assert_eq!(container.cgroup.path, format!("/{scope}").as_bytes());
        let directory = layout(root.path()).directory(&container.cgroup.path);
        assert_eq!(directory, root.path().join(&scope));
        assert_eq!(kernel_id(&directory).expect("id"), container.cgroup.id);
        assert_eq!(processes(&directory).expect("processes"), [12, 4_000_000]);

        let nested = layout(root.path())
            .nested(&container.cgroup.path)
            .expect("nested");
        let paths: Vec<Vec<u8>> = nested.found.into_iter().map(|cgroup| cgroup.path).collect();
        assert_eq!(
            paths,
            [
                format!("/{scope}/docker").into_bytes(),
                format!("/{scope}/docker/{inner}").into_bytes()
            ]
        );
    }

    #[test]
    fn says_when_there_is_more_than_it_visits() {
        let root = tempfile::tempdir().expect("directory");
        let container = root.path().join(ID);
        for index in 0..=NESTED_CGROUPS_MAX {
            std::fs::create_dir_all(container.join(index.to_string())).expect("tree");
        }
        let nested = layout(root.path())
            .nested(format!("/{ID}").as_bytes())
            .expect("nested");
        assert!(nested.truncated);
        assert_eq!(nested.found.len() as u64, NESTED_CGROUPS_MAX);
        assert!(!layout(root.path()).containers().expect("listing").truncated);
        assert!(
            layout(root.path())
                .nested(b"/none")
                .expect_err("none")
                .is_absent()
        );
    }
}
