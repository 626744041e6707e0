//! A cgroup of version 2 that is no container's: where a process goes that leaves its container's.

use std::path::{Path, PathBuf};

/// The cgroup. Dropping it puts back to the root what is still in it, and removes it.
#[derive(Debug)]
pub struct Elsewhere(PathBuf);

impl Elsewhere {
    /// Makes it.
    pub fn create() -> anyhow::Result<Self> {
        let cgroup = PathBuf::from(format!(
            "/sys/fs/cgroup/unified/driftlock-test-{}",
            std::process::id()
        ));
        std::fs::create_dir(&cgroup)?;
        Ok(Self(cgroup))
    }

    /// Its directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Moves a process there.
    pub fn take(&self, process: &str) -> anyhow::Result<()> {
        Ok(std::fs::write(self.0.join("cgroup.procs"), process)?)
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        // Where the test failed before it removed the container, its process goes back.
        for process in std::fs::read_to_string(self.0.join("cgroup.procs"))
            .unwrap_or_default()
            .lines()
        {
            let _ = std::fs::write("/sys/fs/cgroup/unified/cgroup.procs", process);
        }
        for _ in 0..100 {
            if std::fs::remove_dir(&self.0).is_ok() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        eprintln!("{} stays behind", self.0.display());
    }
}
