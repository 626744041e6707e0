//! Where a name leads that a container's process gave for a file: renames and links, of which the kernel programs see no more than
//! that in the lite tier.
//!
//! Input: a process of the container, the directory that the name starts from, and the name. Output: the file's path, and whether
//! it is on the container's root filesystem. Failure: [`TypedError`]; what is then known is the text of the name alone.
//!
//! Symbolic links in the directories are followed inside the container's root; the last component is not, as renames and links
//! do not. What was resolved may have changed since: the kernel's answer to the system call is not known here. Only what the kernel has in
//! its memory is looked at (`RESOLVE_CACHED`, Linux 5.12), or else what is on the container's root filesystem if no process serves that:
//! a filesystem that the container serves itself cannot make the agent wait.

use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;

use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, StatxFlags};
use rustix::io::Errno;

use super::mountinfo;
use super::root::{self, RootError};
use crate::text::ByteText;

/// A process of a container, and what is known of that.
#[derive(Clone, Copy, Debug)]
pub struct Viewer {
    /// Process id on the host.
    pub pid: u32,
    /// Inode number of the container's mount namespace.
    pub mount_namespace: u32,
    /// `s_dev` of the container's root filesystem in the kernel's internal encoding (major << 20 | minor).
    pub root_device: u32,
}

/// Where a name leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    /// The path, as the container's mount namespace shows it.
    pub path: ByteText,
    /// It is on the container's root filesystem.
    pub is_on_root: bool,
}

/// Why it is not known where a name leads.
#[derive(Debug, thiserror::Error)]
pub enum TypedError {
    /// The process's mount namespace is not known, most often because it has ended.
    #[error(transparent)]
    Root(#[from] RootError),
    /// The process is in another mount namespace than the container.
    #[error("process {pid} is in mount namespace {found}, not in the container's")]
    NotInContainer {
        /// Which process.
        pid: u32,
        /// Inode number of its mount namespace.
        found: u32,
    },
    /// A system call failed.
    #[error("{operation} `{path}` as process {pid} sees it")]
    Directory {
        /// What was tried.
        operation: &'static str,
        /// Which directory.
        path: ByteText,
        /// Which process.
        pid: u32,
        /// Why it failed.
        source: rustix::io::Errno,
    },
    /// The name has no last component, or the directory has no path any more.
    #[error("`{path}` is no name in a directory")]
    NoName {
        /// The name, with the directory it starts from.
        path: ByteText,
    },
}

/// Finds out where `name`, started from `directory`, leads for `viewer`.
pub fn locate(viewer: Viewer, directory: &ByteText, name: &ByteText) -> Result<Located, TypedError> {
    let whole = start(directory, name);
    let no_name = || TypedError::NoName {
        path: whole.clone().into(),
    };
    let (parent, last) = split(&whole).ok_or_else(no_name)?;
    let root = open_root(viewer)?;
    let parent_text = ByteText::from(parent);
    let failed = |operation, path: &ByteText| {
        let path = path.clone();
        move |source| TypedError::Directory {
            operation,
            path,
            pid: viewer.pid,
            source,
        }
    };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | ResolveFlags::CACHED;
    let parent = rustix::fs::openat2(&root, parent, flags, Mode::empty(), resolve)
        .or_else(|error| match error {
            // Overlayfs does not follow symbolic links in memory alone.
            Errno::AGAIN if is_root_local(viewer.pid) => {
                let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
                rustix::fs::openat2(&root, parent, flags, Mode::empty(), resolve)
            }
            error => Err(error),
        })
        .map_err(failed("open", &parent_text))?;
    // No question to whoever serves the filesystem.
    let mask = StatxFlags::empty();
    let found = rustix::fs::statx(&parent, c"", AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC, mask)
        .map_err(failed("stat", &parent_text))?;
    let shown = format!("/proc/self/fd/{}", parent.as_raw_fd());
    let shown = std::fs::read_link(shown).map_err(|error| {
        let errno = rustix::io::Errno::from_io_error(&error).unwrap_or(rustix::io::Errno::IO);
        failed("find the path of", &parent_text)(errno)
    })?;
    let mut path = shown.as_os_str().as_bytes().to_vec();
    if !path.starts_with(b"/") || path.ends_with(b" (deleted)") {
        return Err(no_name());
    }
    if !path.ends_with(b"/") {
        path.push(b'/');
    }
    path.extend_from_slice(last);
    Ok(Located {
        path: path.into(),
        is_on_root: found.stx_dev_major << 20 | found.stx_dev_minor == viewer.root_device,
    })
}

/// Whether the kernel serves a process's root filesystem by itself, as far as its mounts say.
fn is_root_local(pid: u32) -> bool {
    mountinfo::of_process(pid)
        .ok()
        .and_then(|table| table.at(b"/").map(|mount| !mount.filesystem.starts_with(b"fuse")))
        .unwrap_or(false)
}

/// What `name` leads to from `directory`, by its text alone: symbolic links are not followed.
#[must_use]
pub fn by_text(directory: &ByteText, name: &ByteText) -> ByteText {
    let whole = start(directory, name);
    let mut names: Vec<&[u8]> = Vec::new();
    for part in whole.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => drop(names.pop()),
            part => names.push(part),
        }
    }
    let mut path = Vec::new();
    for name in names {
        path.push(b'/');
        path.extend_from_slice(name);
    }
    path.into()
}

/// The name with the directory that it starts from.
fn start(directory: &ByteText, name: &ByteText) -> Vec<u8> {
    if name.as_bytes().starts_with(b"/") {
        return name.as_bytes().to_vec();
    }
    let mut whole = directory.as_bytes().to_vec();
    whole.push(b'/');
    whole.extend_from_slice(name.as_bytes());
    whole
}

/// The directory, and the name in it; `None` if the last component is no name.
fn split(whole: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = whole.iter().rposition(|byte| *byte != b'/')? + 1;
    let whole = &whole[..end];
    let slash = whole.iter().rposition(|byte| *byte == b'/')?;
    let (parent, last) = (&whole[..=slash], &whole[slash + 1..]);
    (!matches!(last, b"." | b"..")).then_some((parent, last))
}

fn open_root(viewer: Viewer) -> Result<OwnedFd, TypedError> {
    let Viewer {
        pid, mount_namespace, ..
    } = viewer;
    let path = format!("/proc/{pid}/root/");
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root =
        rustix::fs::open(path.as_str(), flags, Mode::empty()).map_err(|source| TypedError::Directory {
            operation: "open",
            path: "/".into(),
            pid,
            source,
        })?;
    // Only now, so that the root is that of a process that was in the namespace when it was opened.
    let found = root::mount_namespace(pid)?;
    if found == mount_namespace {
        Ok(root)
    } else {
        Err(TypedError::NotInContainer { pid, found })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt as _, symlink};
    use std::path::Path;

    use super::*;

    /// This process, as if `directory` were on the container's root filesystem.
    fn viewer(directory: &Path) -> Viewer {
        let device = std::fs::metadata(directory).expect("is there").dev();
        let pid = std::process::id();
        Viewer {
            pid,
            mount_namespace: root::mount_namespace(pid).expect("has one"),
            root_device: rustix::fs::major(device) << 20 | rustix::fs::minor(device),
        }
    }

    fn text(path: &Path) -> ByteText {
        path.as_os_str().as_bytes().into()
    }

    #[test]
    fn links_on_the_way_are_followed_and_the_last_name_is_not() {
        let directory = tempfile::tempdir().expect("a directory");
        let real = directory.path().canonicalize().expect("has a path");
        std::fs::create_dir(real.join("cron.d")).expect("made");
        symlink("cron.d", real.join("innocent")).expect("made");
        symlink("/etc/shadow", real.join("cron.d/job")).expect("made");
        let viewer = viewer(&real);
        for (start, name) in [
            (real.clone(), "innocent/job".to_owned()),
            (real.clone(), "./innocent/../cron.d//job".to_owned()),
            (real.join("innocent"), "job".to_owned()),
            (
                Path::new("/").to_owned(),
                format!("{}/innocent/job", real.display()),
            ),
        ] {
            let found = locate(viewer, &text(&start), &name.as_str().into()).expect("is found");
            assert_eq!(found.path, text(&real.join("cron.d/job")), "{name}");
            assert!(found.is_on_root, "{name}");
        }
        let elsewhere = Viewer {
            root_device: viewer.root_device ^ 1,
            ..viewer
        };
        let found = locate(elsewhere, &text(&real), &"job".into()).expect("is found");
        assert!(!found.is_on_root);
    }

    #[test]
    fn what_leads_nowhere_is_said_to() {
        let directory = tempfile::tempdir().expect("a directory");
        let viewer = viewer(directory.path());
        let locate = |name: &str| locate(viewer, &text(directory.path()), &name.into());
        for name in ["", ".", "..", "a/..", "/"] {
            // An empty name is the directory itself, whose last component is a name.
            if !name.is_empty() {
                assert!(matches!(locate(name), Err(TypedError::NoName { .. })), "{name}");
            }
        }
        let missing = locate("none/job").expect_err("there is no such directory");
        assert!(
            matches!(
                missing,
                TypedError::Directory {
                    operation: "open",
                    source: rustix::io::Errno::NOENT | rustix::io::Errno::AGAIN,
                    ..
                }
            ),
            "{missing:?}"
        );
        let gone = Viewer {
            mount_namespace: viewer.mount_namespace ^ 1,
            ..viewer
        };
        let error = super::locate(gone, &"/".into(), &"a".into()).expect_err("is another namespace");
        assert!(matches!(error, TypedError::NotInContainer { .. }), "{error:?}");
    }

    #[test]
    fn a_typed_name_is_joined_by_its_text() {
        for (directory, name, path) in [
            ("/", "a", "/a"),
            ("/var/lib", "a/b", "/var/lib/a/b"),
            ("/var/lib", "./../a//b/.", "/var/a/b"),
            ("/var", "../../../etc/x", "/etc/x"),
            ("/var", "/etc/x", "/etc/x"),
            ("/var", "..", ""),
        ] {
            let joined = by_text(&directory.into(), &name.into());
            assert_eq!(joined, path.into(), "{directory} {name}");
        }
    }
}
