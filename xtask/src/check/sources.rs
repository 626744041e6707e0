//! The Rust files of the work tree.
//!
//! Input: its root. Output: paths in a fixed order. Failure: a directory that cannot be read. Walks the directories
//! instead of asking git, so that it sees a file before it is added and works in an exported tree.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Every `.rs` file below `root` that is not in a build directory or in a hidden one.
pub fn rust_files(root: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        let entries =
            std::fs::read_dir(&directory).with_context(|| format!("cannot list {}", directory.display()))?;
        for entry in entries {
            let entry = entry.with_context(|| format!("cannot list {}", directory.display()))?;
            let kind = entry
                .file_type()
                .with_context(|| format!("cannot read {}", entry.path().display()))?;
            let name = entry.file_name();
            let hidden = name.as_encoded_bytes().starts_with(b".");
            if kind.is_dir() && !hidden && name != "target" {
                directories.push(entry.path());
            } else if kind.is_file()
                && entry
                    .path()
                    .extension()
                    .is_some_and(|extension| extension == "rs")
            {
                files.push(entry.path());
            }
        }
    }
    files.sort();
    Ok(files)
}
