//! Where things are: programs on the search path, the workspace, the directory for tools that setup builds.
//!
//! Nothing here changes anything.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Directories that hold system programs but are often missing from an ordinary user's search path.
const SYSTEM_DIRECTORIES: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

/// The workspace's root directory.
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("xtask is a directory of the workspace")
}

/// The first executable file of this name on `PATH` or among the system directories.
pub fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(SYSTEM_DIRECTORIES.iter().map(PathBuf::from))
        .map(|directory| directory.join(program))
        .find(|candidate| is_executable(candidate))
}

/// Whether a file is there that somebody may execute.
pub fn is_executable(path: &Path) -> bool {
    path.metadata()
        .is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

/// Whether this process runs as root.
pub fn is_root() -> bool {
    // The owner of a process's directory in /proc is its effective user.
    std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

/// The user's directory for tools that setup builds: `$XDG_CACHE_HOME/driftlock`, by default `~/.cache/driftlock`.
///
/// Not below `target`, so that `cargo clean` and a second checkout do not cost minutes; not `~/.cargo/bin`, so that no
/// tool that the user chose is replaced. It can be deleted at any time.
pub fn tools() -> Result<PathBuf> {
    if let Some(cache) = std::env::var_os("XDG_CACHE_HOME").filter(|value| !value.is_empty()) {
        return Ok(PathBuf::from(cache).join("driftlock"));
    }
    let home = std::env::home_dir().context("cannot tell the home directory: set HOME or XDG_CACHE_HOME")?;
    Ok(home.join(".cache/driftlock"))
}
