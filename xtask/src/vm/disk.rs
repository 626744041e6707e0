//! The virtual machine's disks: ext4 images that are made without mounting anything, so without root.
//!
//! Input: a [`Tree`]: which file of this machine goes where. Output: an image, made anew only if what goes into it
//! changed. Failure: a file that is missing, a program whose libraries are not all there, mkfs.ext4's.
//!
//! QEMU writes what the machine changes elsewhere: an image stays as it was made.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::process;

/// Top directories that are links in the image, to where a merged `/usr` has their files.
const MERGED: [(&str, &str); 4] = [
    ("bin", "usr/bin"),
    ("sbin", "usr/sbin"),
    ("lib", "usr/lib"),
    ("lib64", "usr/lib64"),
];

/// What an image holds, by path without a leading slash.
#[derive(Debug, Default)]
pub struct Tree {
    entries: BTreeMap<String, Entry>,
}

#[derive(Debug, PartialEq, Eq)]
enum Entry {
    /// Empty.
    Directory,
    /// Of this machine.
    File(PathBuf),
    /// Of this machine, without what only a debugger reads.
    Stripped(PathBuf),
    /// With this content, not executable.
    Text(String),
    /// Symbolic.
    Link(String),
}

impl Tree {
    /// A tree for a root file system: with the links of a merged `/usr`.
    pub fn root() -> Self {
        let mut tree = Self::default();
        for (link, target) in MERGED {
            tree.directory(target);
            tree.entries.insert(link.into(), Entry::Link(target.into()));
        }
        tree
    }

    /// Adds a directory that may be empty.
    pub fn directory(&mut self, path: &str) {
        self.entries.insert(place(Path::new(path)), Entry::Directory);
    }

    /// Adds a file of this machine at another place.
    pub fn file(&mut self, path: &str, source: &Path) {
        self.entries
            .insert(place(Path::new(path)), Entry::File(source.to_owned()));
    }

    /// As [`Tree::file`], without debug information.
    pub fn stripped(&mut self, path: &str, source: &Path) {
        self.entries
            .insert(place(Path::new(path)), Entry::Stripped(source.to_owned()));
    }

    /// Adds a file with this content.
    pub fn text(&mut self, path: &str, content: &str) {
        self.entries
            .insert(place(Path::new(path)), Entry::Text(content.to_owned()));
    }

    /// Adds a symbolic link unless something is there already.
    pub fn link_if_free(&mut self, path: &str, target: &str) {
        self.entries
            .entry(place(Path::new(path)))
            .or_insert_with(|| Entry::Link(target.to_owned()));
    }

    /// Adds a program of this machine at its own place, with the libraries that it needs.
    pub fn program(&mut self, program: &Path) -> Result<()> {
        self.entries
            .insert(place(program), Entry::File(program.to_owned()));
        self.libraries_of(program)
    }

    /// Adds the libraries that a program needs, each at its own place.
    pub fn libraries_of(&mut self, program: &Path) -> Result<()> {
        for library in libraries(program)? {
            self.entries.insert(place(&library), Entry::File(library));
        }
        Ok(())
    }

    /// Makes the image if it is not there or something that goes into it changed. Says if it did.
    ///
    /// `size` is in mkfs.ext4's notation; what is not used takes no room on this machine.
    pub fn image(&self, image: &Path, size: &str) -> Result<bool> {
        let inputs = self.inputs(size)?;
        let record = image.with_extension("inputs");
        if image.is_file() && std::fs::read_to_string(&record).is_ok_and(|old| old == inputs) {
            return Ok(false);
        }
        let stage = image.with_extension("stage");
        let new = image.with_extension("new");
        for old in [&record, &new] {
            remove(old, |path| std::fs::remove_file(path))?;
        }
        remove(&stage, |path| std::fs::remove_dir_all(path))?;
        self.fill(&stage)?;
        let mut mkfs = Command::new(crate::setup::on_path("mkfs.ext4").context("there is no mkfs.ext4")?);
        mkfs.args([
            "-q",
            "-F",
            "-m",
            "0",
            "-E",
            "root_owner=0:0",
            "-O",
            "^has_journal",
            "-d",
        ])
        .arg(&stage)
        .arg(&new)
        .arg(size);
        process::hide("disk for virtual machines", &mut mkfs)?;
        remove(&stage, |path| std::fs::remove_dir_all(path))?;
        // The record last: an image is there whole, or made anew.
        std::fs::rename(&new, image).with_context(|| format!("cannot make {}", image.display()))?;
        std::fs::write(&record, inputs).with_context(|| format!("cannot write {}", record.display()))?;
        Ok(true)
    }

    /// All that the image depends on, as text.
    fn inputs(&self, size: &str) -> Result<String> {
        let mut text = format!("{size}\n");
        for (path, entry) in &self.entries {
            let _ = write!(text, "{path} {entry:?}");
            if let Entry::File(source) | Entry::Stripped(source) = entry {
                let file = source
                    .metadata()
                    .with_context(|| format!("cannot read {}", source.display()))?;
                let _ = write!(
                    text,
                    " {} {} {}.{}",
                    file.ino(),
                    file.len(),
                    file.mtime(),
                    file.mtime_nsec()
                );
            }
            text.push('\n');
        }
        Ok(text)
    }

    /// Lays the tree out in a directory.
    fn fill(&self, root: &Path) -> Result<()> {
        for (path, entry) in &self.entries {
            let target = root.join(path);
            let subject = || format!("cannot make {}", target.display());
            std::fs::create_dir_all(target.parent().unwrap_or(root)).with_context(subject)?;
            match entry {
                Entry::Directory => std::fs::create_dir_all(&target).with_context(subject)?,
                Entry::File(source) => {
                    std::fs::copy(source, &target).with_context(subject)?;
                }
                Entry::Stripped(source) => {
                    let mut strip = Command::new("strip");
                    strip.arg("--strip-debug").arg("-o").arg(&target).arg(source);
                    process::hide("strip", &mut strip)?;
                }
                Entry::Text(content) => std::fs::write(&target, content).with_context(subject)?,
                Entry::Link(aim) => symlink(aim, &target).with_context(subject)?,
            }
            // Whoever runs this: in the machine these are for everybody to read.
            if !matches!(entry, Entry::Link(_)) {
                let mode = target.metadata().with_context(subject)?.permissions().mode();
                let execute = if mode & 0o100 == 0 { 0 } else { 0o111 };
                let readable = std::fs::Permissions::from_mode(mode | 0o444 | execute);
                std::fs::set_permissions(&target, readable).with_context(subject)?;
            }
        }
        Ok(())
    }
}

/// Where a path lies in an image with a merged `/usr`, without a leading slash.
fn place(path: &Path) -> String {
    let path = path.to_string_lossy();
    let path = path.trim_start_matches('/');
    for (link, target) in MERGED {
        if let Some(rest) = path.strip_prefix(link).and_then(|rest| rest.strip_prefix('/')) {
            return format!("{target}/{rest}");
        }
    }
    path.to_owned()
}

/// The shared libraries of a program, the loader among them; none if it is linked statically or is a script.
fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let output = Command::new("ldd")
        .env("LC_ALL", "C")
        .arg(program)
        .output()
        .context("cannot run ldd")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    if text.contains("not a dynamic executable") || errors.contains("not a dynamic executable") {
        return Ok(Vec::new());
    }
    ensure!(output.status.success(), "ldd {}: {errors}", program.display());
    parse_libraries(&text).with_context(|| format!("{} would not run in the machine", program.display()))
}

fn parse_libraries(text: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for line in text.lines() {
        if line.contains("=> not found") {
            bail!("a library is missing: {}", line.trim());
        }
        found.extend(
            line.split_whitespace()
                .find(|word| word.starts_with('/'))
                .map(PathBuf::from),
        );
    }
    Ok(found)
}

fn remove(path: &Path, how: impl Fn(&Path) -> std::io::Result<()>) -> Result<()> {
    match how(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lie_where_a_merged_usr_has_them() {
        assert_eq!(place(Path::new("/bin/sh")), "usr/bin/sh");
        assert_eq!(
            place(Path::new("/lib64/ld-linux-x86-64.so.2")),
            "usr/lib64/ld-linux-x86-64.so.2"
        );
        assert_eq!(place(Path::new("/usr/sbin/runc")), "usr/sbin/runc");
        assert_eq!(place(Path::new("libexec/x")), "libexec/x");
    }

    #[test]
    fn libraries_are_read_from_ldds_lines() {
        let text = "\tlinux-vdso.so.1 (0x1)\n\tlibc.so.6 => /lib/x/libc.so.6 (0x2)\n\t/lib64/ld.so.2 (0x3)\n";
        assert_eq!(
            parse_libraries(text).expect("all there"),
            [PathBuf::from("/lib/x/libc.so.6"), PathBuf::from("/lib64/ld.so.2")]
        );
        assert!(parse_libraries("\tstatically linked\n").expect("none").is_empty());
        let error = parse_libraries("\tlibx.so => not found\n").expect_err("missing");
        assert!(error.to_string().contains("libx.so"), "{error}");
    }

    #[test]
    fn a_program_brings_its_loader() {
        let own = std::env::current_exe().expect("the test's own file");
        let mut tree = Tree::root();
        tree.program(&own).expect("it runs, so its libraries are there");
        assert!(
            tree.entries.keys().any(|path| path.contains("/ld-linux")),
            "{tree:?}"
        );
    }

    #[test]
    fn inputs_change_with_a_file_and_the_tree_is_laid_out() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let source = directory.path().join("source");
        std::fs::write(&source, "one").expect("written");
        let mut tree = Tree::root();
        tree.file("/bin/program", &source);
        tree.text("etc/hostname", "guest\n");
        tree.link_if_free("bin/other", "program");
        tree.link_if_free("bin/program", "lost");
        let before = tree.inputs("1G").expect("readable");
        assert_eq!(tree.inputs("1G").expect("readable"), before);
        assert_ne!(tree.inputs("2G").expect("readable"), before);
        std::fs::write(&source, "three").expect("written");
        assert_ne!(tree.inputs("1G").expect("readable"), before);

        let root = directory.path().join("root");
        tree.fill(&root).expect("laid out");
        assert_eq!(
            std::fs::read_to_string(root.join("bin/other")).expect("through both links"),
            "three"
        );
        assert_eq!(
            std::fs::read_to_string(root.join("etc/hostname")).expect("there"),
            "guest\n"
        );
    }
}
