//! Paths that exist on this machine.
//!
//! Input: directories, the lists of Debian's packages. Output: their paths. Failure: a root that cannot be listed; below it what
//! vanishes or may not be read is left out.

use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use super::Forms;

/// Where Debian keeps which files a package ships.
const PACKAGES: &str = "/var/lib/dpkg/info";

/// Most paths of a tree that are looked at.
const PATHS_MAX: usize = 400_000;

/// The trees, by name. A tree that is not there is left out.
pub fn all() -> anyhow::Result<Vec<(String, Forms)>> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut trees: Vec<(&str, PathBuf)> = ["/usr", "/etc", "/var"]
        .map(|tree| (tree, PathBuf::from(tree)))
        .to_vec();
    trees.push(("a cargo target directory", workspace.join("target/debug")));
    if let Some(objects) = git_objects(&workspace)? {
        trees.push(("the objects of a git repository", objects));
    }
    let mut all = Vec::new();
    for (name, root) in trees {
        if root.is_dir() {
            // The tree's own place is not what is looked at.
            let as_if = if root.starts_with(&workspace) || name.contains("git") {
                Path::new("/repository")
            } else {
                &root
            };
            all.push((name.to_owned(), Forms::of(files(&root, as_if)?)));
        }
    }
    all.push((
        "/proc of all processes".to_owned(),
        Forms::of(processes().context("cannot list /proc")?),
    ));
    Ok(all)
}

/// What packages ship: of different meaning, each of them. `None` where there is no dpkg.
pub fn shipped() -> anyhow::Result<Option<Forms>> {
    let Ok(lists) = std::fs::read_dir(PACKAGES) else {
        return Ok(None);
    };
    let mut paths = std::collections::BTreeSet::new();
    for entry in lists {
        let list = entry?.path();
        if list.extension().is_some_and(|extension| extension == "list") {
            let text = std::fs::read(&list).with_context(|| format!("cannot read {}", list.display()))?;
            let lines = text.split(|byte| *byte == b'\n');
            paths.extend(lines.filter(|line| !line.is_empty()).map(<[u8]>::to_vec));
        }
    }
    Ok(Some(Forms::of(paths)))
}

/// Where git keeps the objects of the repository that this workspace is in; `None` without git or repository.
fn git_objects(workspace: &Path) -> anyhow::Result<Option<PathBuf>> {
    let git = Command::new("git")
        .arg("-C")
        .arg(workspace)
        .args(["rev-parse", "--path-format=absolute", "--git-path", "objects"])
        .output();
    match git {
        Ok(output) if output.status.success() => {
            let path = String::from_utf8(output.stdout).context("git prints a path")?;
            Ok(Some(PathBuf::from(path.trim_end())))
        }
        _ => Ok(None),
    }
}

/// The files below `root`, of its own filesystem or not, as if it were `as_if`.
fn files(root: &Path, as_if: &Path) -> anyhow::Result<Vec<Vec<u8>>> {
    let mut found = Vec::new();
    let mut directories = vec![root.to_owned()];
    std::fs::read_dir(root).with_context(|| format!("cannot list {}", root.display()))?;
    while let Some(directory) = directories.pop() {
        let Ok(entries) = std::fs::read_dir(&directory) else {
            continue;
        };
        for entry in entries.flatten() {
            let path = entry.path();
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => directories.push(path),
                Ok(_) => {
                    let below = path.strip_prefix(root).expect("below the root");
                    found.push(as_if.join(below).into_os_string().into_vec());
                }
                Err(_) => {}
            }
            if found.len() >= PATHS_MAX {
                return Ok(found);
            }
        }
    }
    Ok(found)
}

/// What monitoring reads of each process and each of its threads.
fn processes() -> std::io::Result<Vec<Vec<u8>>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.bytes().all(|byte| byte.is_ascii_digit()) {
            found.extend(["stat", "status", "cmdline"].map(|file| format!("/proc/{name}/{file}")));
            let threads = std::fs::read_dir(entry.path().join("task")).into_iter().flatten();
            for thread in threads.flatten() {
                let thread = thread.file_name().to_string_lossy().into_owned();
                found.push(format!("/proc/{name}/task/{thread}/stat"));
            }
        }
    }
    Ok(found.into_iter().map(String::into_bytes).collect())
}
