//! Images for tests, made of static programs: no registry is asked.
//!
//! Each holds busybox with links for its applets, the fixture programs, a user database, a script, and the fixture
//! `witness` as data that may not be executed where it is (`/usr/share/payload`): what an attacker in the container
//! copies elsewhere. Its entrypoint is `/bin/service`.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};

use crate::environment::Environment;
use crate::runtime::Runtime;

/// Applets that have a link in `/bin`.
const APPLETS: &[&str] = &[
    "sh", "ls", "cat", "cp", "mv", "rm", "ln", "chmod", "chown", "mkdir", "touch", "sleep", "echo", "true",
    "false", "id", "uname", "wget", "nc", "env", "mount", "umount", "su", "setsid", "unshare", "chroot",
    "dd", "head",
];

/// Fixture programs and where they lie in the image.
const PROGRAMS: &[(&str, &str)] = &[
    ("service", "bin/service"),
    ("fetch", "bin/fetch"),
    ("report", "bin/report"),
    ("rotate", "bin/rotate"),
    ("repeat", "usr/bin/repeat"),
    ("memfd", "usr/bin/memfd"),
    ("detached", "usr/bin/detached"),
    ("from_thread", "usr/bin/from_thread"),
    ("userns_overlay", "usr/bin/userns_overlay"),
    ("mapper", "usr/bin/mapper"),
    ("abuse", "usr/bin/abuse"),
    ("act", "usr/bin/act"),
    ("dynamic", "usr/bin/dynamic"),
    ("libpreload.so", "usr/lib/plugin.so"),
];

/// Where the program lies, not executable, that an attacker copies elsewhere.
pub const PAYLOAD: &str = "/usr/share/payload";

/// A program of the image that is linked dynamically, and the interpreter that it names.
pub const DYNAMIC: &str = "/usr/bin/dynamic";
/// See [`DYNAMIC`].
pub const LOADER: &str = "/lib64/ld-linux-x86-64.so.2";

/// A library of the image that no program needs; it leaves a witness when it is loaded.
pub const PLUGIN: &str = "/usr/lib/plugin.so";

/// As [`DYNAMIC`], but it names as its interpreter [`FOREIGN_LOADER`], which is not in the image.
pub const LOADED: &str = "/usr/bin/loaded";
/// See [`LOADED`].
pub const FOREIGN_LOADER: &str = "/tmp/loader";

/// A script of the image whose interpreter, [`INTERPRETER`], is not in the image. It has it leave a witness at
/// [`INTERPRETED`].
pub const ODD_SCRIPT: &str = "/usr/bin/odd.sh";
/// See [`ODD_SCRIPT`].
pub const INTERPRETER: &str = "/tmp/interpreter";
/// See [`ODD_SCRIPT`].
pub const INTERPRETED: &str = "/tmp/interpreted";

/// The script of the image: it runs `/bin/fetch` with its argument.
pub const SCRIPT: &str = "/usr/bin/job.sh";

/// Builds the image `name:tag` from the fixtures. `mark` is content of a file of its own, so that images of different
/// marks have different digests.
pub fn build(runtime: &dyn Runtime, name: &str, mark: &str) -> anyhow::Result<String> {
    build_with(runtime, name, mark, |_| Ok(()))
}

/// As [`build`]; `change` may change the root filesystem before it becomes an image.
pub fn build_with(
    runtime: &dyn Runtime,
    name: &str,
    mark: &str,
    change: impl FnOnce(&Path) -> anyhow::Result<()>,
) -> anyhow::Result<String> {
    let root = lay_out(runtime.place().directory(), mark)?;
    let root = root.path();
    change(root)?;
    runtime.import(root, name)
}

/// The root filesystem of an image as [`build`] makes it, in a new directory below `directory`.
pub fn lay_out(directory: &Path, mark: &str) -> anyhow::Result<tempfile::TempDir> {
    let root = tempfile::Builder::new().prefix("image-").tempdir_in(directory)?;
    fill(Environment::get(), root.path(), mark).context("cannot lay out the image's files")?;
    Ok(root)
}

fn fill(environment: &Environment, root: &Path, mark: &str) -> anyhow::Result<()> {
    for directory in [
        "bin",
        "usr/bin",
        "usr/lib",
        "usr/share",
        "etc",
        "tmp",
        "data",
        "proc",
        "sys",
        "dev",
    ] {
        fs::create_dir_all(root.join(directory))?;
        fs::set_permissions(root.join(directory), fs::Permissions::from_mode(0o755))?;
    }
    fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777))?;
    fs::set_permissions(root.join("data"), fs::Permissions::from_mode(0o1777))?;
    install(&environment.busybox, &root.join("bin/busybox"), 0o755)?;
    for applet in APPLETS {
        symlink("busybox", root.join("bin").join(applet))?;
    }
    for (program, path) in PROGRAMS {
        install(&environment.fixture(program), &root.join(path), 0o755)?;
    }
    install(&environment.fixture("witness"), &root.join(&PAYLOAD[1..]), 0o644)?;
    for (path, text) in [
        (SCRIPT, "#!/bin/sh\nexec /bin/fetch \"$@\"\n".to_owned()),
        (ODD_SCRIPT, format!("#!{INTERPRETER} {INTERPRETED}\n")),
    ] {
        let script = root.join(&path[1..]);
        fs::write(&script, text)?;
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    }
    link_dynamically(&environment.fixture("dynamic"), root)?;
    fs::write(
        root.join("etc/passwd"),
        "root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
    )?;
    fs::write(root.join("etc/group"), "root:x:0:\nnobody:x:65534:\n")?;
    fs::write(root.join("etc/mark"), mark)?;
    Ok(())
}

/// The loader and the libraries that a program of this machine needs, by their paths.
pub fn libraries_of(program: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let ldd = Command::new("ldd")
        .arg(program)
        .output()
        .context("cannot run ldd")?;
    let text = String::from_utf8_lossy(&ldd.stdout);
    let paths = text.split_whitespace().filter(|word| word.starts_with('/'));
    Ok(paths.map(PathBuf::from).collect())
}

fn install(source: &Path, target: &Path, mode: u32) -> anyhow::Result<()> {
    fs::copy(source, target)
        .with_context(|| format!("cannot copy {} to {}", source.display(), target.display()))?;
    fs::set_permissions(target, fs::Permissions::from_mode(mode))?;
    Ok(())
}

/// Puts in place what [`DYNAMIC`] and [`LOADED`] need.
fn link_dynamically(program: &Path, root: &Path) -> anyhow::Result<()> {
    let libraries = libraries_of(program)?;
    for library in &libraries {
        let target = root.join(library.strip_prefix("/")?);
        fs::create_dir_all(target.parent().unwrap_or(root))?;
        install(library, &target, 0o755)?;
    }
    ensure!(
        root.join(&LOADER[1..]).exists(),
        "{} names another loader than {LOADER}: {libraries:?}",
        program.display()
    );
    let mut content = fs::read(program)?;
    let name = [LOADER.as_bytes(), b"\0"].concat();
    let place = content
        .windows(name.len())
        .position(|window| window == name)
        .context("the program does not name its loader")?;
    let mut other = FOREIGN_LOADER.as_bytes().to_vec();
    other.resize(name.len(), 0);
    content[place..place + name.len()].copy_from_slice(&other);
    let loaded = root.join(&LOADED[1..]);
    fs::write(&loaded, content)?;
    Ok(fs::set_permissions(&loaded, fs::Permissions::from_mode(0o755))?)
}
