//! Real mounts for tests. They need root and a filesystem whose change times tell of every write: a test that cannot
//! have them fails and says so.

use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use super::content::VOUCHING;

/// A temporary directory on a filesystem that contents can be vouched for on.
pub(super) struct TestDirectory(tempfile::TempDir);

/// A mount in a temporary directory; unmounted when dropped.
pub(super) struct TestMount {
    point: PathBuf,
    base: Option<TestDirectory>,
}

impl TestDirectory {
    /// In the system's temporary directory, or else beside the sources.
    pub(super) fn new() -> Self {
        let bases = [
            std::env::temp_dir(),
            PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target"),
        ];
        let is_vouching = |base: &&PathBuf| {
            rustix::fs::statfs(base.as_path()).is_ok_and(|filesystem| VOUCHING.contains(&filesystem.f_type))
        };
        let base = bases.iter().find(is_vouching).unwrap_or_else(|| {
            panic!("cannot run: neither of {bases:?} is on ext4, XFS, btrfs or F2FS; set TMPDIR to a directory that is")
        });
        Self(tempfile::tempdir_in(base).expect("a temporary directory"))
    }

    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }
}

impl TestMount {
    /// A tmpfs on `point`.
    pub(super) fn tmpfs(point: &Path) -> Self {
        mount("none", point, "tmpfs", MountFlags::empty(), None).unwrap_or_else(|error| cannot_run(error));
        Self {
            point: point.to_owned(),
            base: None,
        }
    }

    /// An overlay with empty lower layers.
    pub(super) fn overlay(lowers: &[&str]) -> Self {
        Self::overlay_of(lowers, |_, _| {})
    }

    /// An overlay with lower layers (topmost first) that `fill` fills.
    pub(super) fn overlay_of(lowers: &[&str], fill: impl Fn(&str, &Path)) -> Self {
        let base = TestDirectory::new();
        for name in ["upper", "work", "merged"].iter().chain(lowers) {
            std::fs::create_dir_all(base.path().join(name)).expect("a directory");
        }
        let list: Vec<String> = lowers
            .iter()
            .map(|name| {
                fill(name, &base.path().join(name));
                base.path().join(name).display().to_string()
            })
            .collect();
        let at = |name: &str| base.path().join(name).display().to_string();
        let options = format!(
            "lowerdir={},upperdir={},workdir={}",
            list.join(":"),
            at("upper"),
            at("work")
        );
        let options = std::ffi::CString::new(options).expect("no NUL in a path");
        let point = base.path().join("merged");
        mount(
            "overlay",
            &point,
            "overlay",
            MountFlags::empty(),
            options.as_c_str(),
        )
        .unwrap_or_else(|error| cannot_run(error));
        Self {
            point,
            base: Some(base),
        }
    }

    /// Where it is mounted.
    pub(super) fn path(&self) -> &Path {
        &self.point
    }

    /// The upper directory of an overlay.
    pub(super) fn upper(&self) -> PathBuf {
        self.lower("upper")
    }

    /// A lower directory of an overlay.
    pub(super) fn lower(&self, name: &str) -> PathBuf {
        self.base.as_ref().expect("an overlay").path().join(name)
    }
}

impl Drop for TestMount {
    fn drop(&mut self) {
        unmount(&self.point, UnmountFlags::DETACH).expect("unmount what was mounted");
    }
}

fn cannot_run(error: rustix::io::Errno) -> ! {
    panic!("cannot run: mounting failed ({error}); this test needs root and overlayfs")
}
