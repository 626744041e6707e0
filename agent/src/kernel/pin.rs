//! What outlives the agent: maps, programs and links, pinned in a BPF file system.
//!
//! Input: the directory that the configuration names. Output: where each object is pinned, and the lock that keeps a second
//! agent away. Failure: a directory that is on no BPF file system, is in use, or holds what an agent with another ABI left;
//! the latter stays in force as it is.
//!
//! Layout: `abi-N/NAME` for a map, `abi-N/programs/NAME`, `abi-N/links/NAME`. A hook is attached as long as its link is pinned. A link
//! is replaced so that at each moment one of the two is attached: the new one is attached and pinned under `NAME-new`, the
//! old one's pin goes, the new one's gets its name. For that moment both programs run, on the same maps.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use agent_common::ABI_VERSION;
use aya::pin::PinError as AyaPinError;
use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::loaded_programs;
use rustix::fs::{FlockOperation, flock, statfs};
use rustix::io::Errno;

/// `BPF_FS_MAGIC` (include/uapi/linux/magic.h).
const BPF_FS_MAGIC: u64 = 0xcafe_4a11;
/// Where systemd, and most container images of agents, mount it.
const USUAL_MOUNT: &str = "/sys/fs/bpf";
/// Directories of an ABI begin with this.
const ABI_PREFIX: &str = "abi-";
const LINKS: &str = "links";
const PROGRAMS: &str = "programs";
/// How long the kernel may take to detach what was removed.
const DETACHED_WITHIN: Duration = Duration::from_secs(5);
const DETACH_PAUSE: Duration = Duration::from_millis(20);
/// What a link's pin ends with until the link before it is gone. (A BPF file system takes no name with a dot.)
const NEW: &str = "-new";

/// The agent's directory in a BPF file system, locked for this process.
#[derive(Debug)]
pub struct PinDirectory {
    root: PathBuf,
    directory: PathBuf,
    is_inherited: bool,
    /// The lock goes with it.
    _lock: File,
}

/// Nothing can be pinned, or nothing may be.
#[derive(Debug, thiserror::Error)]
pub enum PinError {
    /// It is an ordinary directory.
    #[error("{path} is on no BPF file system; mount one: `mount -t bpf bpf {mount}`")]
    NotBpf {
        /// Which directory.
        path: PathBuf,
        /// Where one would be mounted.
        mount: PathBuf,
    },
    /// Another agent works with it.
    #[error("{path} is in use by another agent")]
    InUse {
        /// Which directory.
        path: PathBuf,
    },
    /// What is in force was left by an agent whose maps mean something else.
    #[error(
        "what is in force was left by an agent with ABI {found}, this one has ABI {ABI_VERSION} and cannot take over; it stays in \
         force. To replace it: `driftlock teardown --bpffs {path}`, then start this agent; nothing is enforced between the two"
    )]
    OtherAbi {
        /// Which directory.
        path: PathBuf,
        /// The ABI that the directory's name tells.
        found: String,
    },
    /// A file operation failed.
    #[error("cannot {operation} {path}")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The kernel does not pin it.
    #[error("cannot pin {path}")]
    Pin {
        /// Where.
        path: PathBuf,
        /// Why not.
        source: Box<AyaPinError>,
    },
}

type Result<T> = std::result::Result<T, PinError>;

fn failed(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> PinError {
    let path = path.to_owned();
    move |source| PinError::Io {
        operation,
        path,
        source,
    }
}

impl PinDirectory {
    /// Opens and locks `root`, which is made if it is not there. What an agent of the same ABI left is kept, to be taken over;
    /// what one left that never attached anything is removed.
    pub fn open(root: &Path) -> Result<Self> {
        let lock = Self::lock(root)?;
        for name in names(root)? {
            if let Some(found) = name.strip_prefix(ABI_PREFIX)
                && found != ABI_VERSION.to_string()
                && !names(&root.join(&name).join(LINKS))
                    .unwrap_or_default()
                    .is_empty()
            {
                return Err(PinError::OtherAbi {
                    path: root.to_owned(),
                    found: found.to_owned(),
                });
            }
        }
        let mut pins = Self {
            directory: root.join(format!("{ABI_PREFIX}{ABI_VERSION}")),
            root: root.to_owned(),
            is_inherited: false,
            _lock: lock,
        };
        pins.finish_replacements()?;
        pins.is_inherited = !names(&pins.directory.join(LINKS)).unwrap_or_default().is_empty();
        if !pins.is_inherited {
            pins.clear()?;
        }
        for directory in [&pins.directory.join(LINKS), &pins.directory.join(PROGRAMS)] {
            create(directory)?;
        }
        Ok(pins)
    }

    /// Makes `root` and locks it. The lock ends with the file that is returned.
    fn lock(root: &Path) -> Result<File> {
        let is_bpf =
            |path: &Path| statfs(path).is_ok_and(|found| found.f_type.cast_unsigned() == BPF_FS_MAGIC);
        if !root.exists() && root.starts_with(USUAL_MOUNT) && !is_bpf(Path::new(USUAL_MOUNT)) {
            // What systemd does at boot. If it fails, the check below says what to do.
            let _ = rustix::mount::mount(
                "bpf",
                USUAL_MOUNT,
                "bpf",
                rustix::mount::MountFlags::NOSUID
                    | rustix::mount::MountFlags::NODEV
                    | rustix::mount::MountFlags::NOEXEC,
                c"mode=700",
            );
        }
        let mount = root
            .ancestors()
            .skip(1)
            .find(|path| path.exists())
            .unwrap_or(Path::new("/"));
        if !is_bpf(mount) && !is_bpf(root) {
            return Err(PinError::NotBpf {
                path: root.to_owned(),
                mount: mount.to_owned(),
            });
        }
        create(root)?;
        let lock = File::open(root).map_err(failed("open", root))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(lock),
            Err(Errno::WOULDBLOCK) => Err(PinError::InUse {
                path: root.to_owned(),
            }),
            Err(error) => Err(failed("lock", root)(error.into())),
        }
    }

    /// Whether an agent before this one left its programs attached.
    #[must_use]
    pub fn is_inherited(&self) -> bool {
        self.is_inherited
    }

    /// Where the objects are.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Where a map is pinned.
    #[must_use]
    pub fn map(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Where a program is pinned. An earlier one's pin is removed; its link holds it.
    pub fn program(&self, name: &str) -> Result<PathBuf> {
        let path = self.directory.join(PROGRAMS).join(name);
        remove_file(&path)?;
        Ok(path)
    }

    /// Pins a link under the name of its hook, in the place of the one that was there.
    pub fn replace_link(&self, name: &str, link: FdLink) -> Result<()> {
        let path = self.directory.join(LINKS).join(name);
        let new = self.directory.join(LINKS).join([name, NEW].concat());
        link.pin(&new).map_err(|source| PinError::Pin {
            path: new.clone(),
            source: Box::new(source),
        })?;
        remove_file(&path)?;
        fs::rename(&new, &path).map_err(failed("rename", &new))
    }

    /// Detaches a hook. No error if it was not attached.
    pub fn remove_link(&self, name: &str) -> Result<()> {
        remove_file(&self.directory.join(LINKS).join(name))
    }

    /// Detaches what an earlier agent attached and this one does not know.
    pub fn remove_links_except(&self, known: &[&str]) -> Result<()> {
        let links = self.directory.join(LINKS);
        for name in names(&links)? {
            if !known.contains(&name.as_str()) {
                remove_file(&links.join(&name))?;
            }
        }
        Ok(())
    }

    /// Whether the kernel still has the link that is pinned under a hook's name.
    #[must_use]
    pub fn has_link(&self, name: &str) -> bool {
        PinnedLink::from_pin(self.directory.join(LINKS).join(name)).is_ok()
    }

    /// Removes everything that is pinned, whatever its ABI, hooks first; and waits until the kernel has let go of their programs,
    /// which this process must not hold any more. Returns what was removed.
    pub fn clear(&self) -> Result<Vec<String>> {
        let mut removed = Vec::new();
        let mut programs = HashSet::new();
        let abis: Vec<PathBuf> = names(&self.root)?
            .iter()
            .map(|name| self.root.join(name))
            .collect();
        for directory in abis
            .iter()
            .map(|abi| abi.join(LINKS))
            .filter(|links| links.exists())
        {
            let paths = names(&directory)?.into_iter().map(|name| directory.join(name));
            programs.extend(paths.filter_map(|path| program_of_link(&path)));
            remove_tree(&directory, &mut removed)?;
        }
        for abi in &abis {
            remove_tree(abi, &mut removed)?;
        }
        wait_until_detached(&programs);
        Ok(removed)
    }

    /// An agent may have been killed while it replaced a link. While the old one is pinned it is in force.
    fn finish_replacements(&self) -> Result<()> {
        let links = self.directory.join(LINKS);
        for name in names(&links).unwrap_or_default() {
            let Some(old) = name.strip_suffix(NEW) else {
                continue;
            };
            let (new, old) = (links.join(&name), links.join(old));
            if old.exists() {
                remove_file(&new)?;
            } else {
                fs::rename(&new, &old).map_err(failed("rename", &new))?;
            }
        }
        Ok(())
    }
}

/// Removes everything that is pinned under `root`, and `root`. Returns what was removed.
pub fn teardown(root: &Path) -> Result<Vec<String>> {
    if !root.exists() {
        return Ok(Vec::new());
    }
    let lock = match PinDirectory::lock(root) {
        // What is there is then no object of ours, and nothing in it is in force.
        Err(PinError::NotBpf { .. }) => None,
        other => Some(other?),
    };
    let mut removed = match lock {
        Some(lock) => PinDirectory {
            directory: root.to_owned(),
            root: root.to_owned(),
            is_inherited: true,
            _lock: lock,
        }
        .clear()?,
        None => Vec::new(),
    };
    remove_tree(root, &mut removed)?;
    Ok(removed)
}

/// The names of the hooks whose links are pinned under `root`, by ABI. Empty if nothing is.
#[must_use]
pub fn pinned_hooks(root: &Path) -> Vec<(String, Vec<String>)> {
    let abis = names(root).unwrap_or_default();
    abis.into_iter()
        .filter_map(|name| Some(name.strip_prefix(ABI_PREFIX)?.to_owned()))
        .map(|abi| {
            let links = root.join([ABI_PREFIX, &abi].concat()).join(LINKS);
            (abi, names(&links).unwrap_or_default())
        })
        .filter(|(_, hooks)| !hooks.is_empty())
        .collect()
}

/// The kernel's id of the program behind a pinned link; `None` if it does not tell (before Linux 5.8).
fn program_of_link(path: &Path) -> Option<u32> {
    let link = FdLink::from(PinnedLink::from_pin(path).ok()?);
    link.info().ok().map(|info| info.program_id())
}

/// The kernel detaches a link some time after its last pin is gone: when it frees the inode, by a worker. It lets go of the program
/// when that is done (`bpf_link_free`, kernel/bpf/syscall.c).
fn wait_until_detached(programs: &HashSet<u32>) {
    let is_there = || {
        loaded_programs()
            .flatten()
            .any(|program| programs.contains(&program.id()))
    };
    let deadline = Instant::now() + DETACHED_WITHIN;
    while !programs.is_empty() && is_there() && Instant::now() < deadline {
        std::thread::sleep(DETACH_PAUSE);
    }
}

/// The entries of a directory, sorted.
fn names(directory: &Path) -> Result<Vec<String>> {
    let mut names: Vec<String> = fs::read_dir(directory)
        .map_err(failed("list", directory))?
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort_unstable();
    Ok(names)
}

/// Makes a directory that only its owner may look into: the maps hold the secret of the path hash.
fn create(directory: &Path) -> Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(failed("make", directory))
}

fn remove_file(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.map_err(failed("remove", path)),
    }
}

fn remove_tree(path: &Path, removed: &mut Vec<String>) -> Result<()> {
    let metadata = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other.map_err(failed("look at", path))?,
    };
    if metadata.is_dir() {
        for name in names(path)? {
            remove_tree(&path.join(name), removed)?;
        }
        fs::remove_dir(path).map_err(failed("remove", path))?;
    } else {
        fs::remove_file(path).map_err(failed("remove", path))?;
    }
    removed.push(path.display().to_string());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ordinary_directory_is_refused_with_what_to_do() {
        let directory = tempfile::tempdir().expect("a directory");
        let error = PinDirectory::open(&directory.path().join("driftlock")).expect_err("no BPF file system");
        assert!(matches!(&error, PinError::NotBpf { .. }), "{error}");
        assert!(error.to_string().contains("mount -t bpf bpf "), "{error}");
    }

    #[test]
    fn a_tree_is_removed_whole_and_listed() {
        let directory = tempfile::tempdir().expect("a directory");
        let root = directory.path().join("driftlock");
        fs::create_dir_all(root.join("abi-1/links")).expect("directories");
        fs::write(root.join("abi-1/links/one"), "").expect("a file");
        assert_eq!(pinned_hooks(&root), [("1".to_owned(), vec!["one".to_owned()])]);
        let removed = teardown(&root).expect("removed");
        assert!(!root.exists());
        assert_eq!(removed.len(), 4, "{removed:?}");
        assert!(teardown(&root).expect("nothing there").is_empty());
    }
}
