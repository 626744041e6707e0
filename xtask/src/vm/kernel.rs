//! Debian's kernels: found, fetched, unpacked; never installed.
//!
//! Input: a series. Output: where its image and modules lie below the user's cache. Failure: apt's, or a package that
//! does not hold what it should.
//!
//! The mirrors keep only current versions, so a package is never named by its version: its name is asked of the meta
//! package each time, from package lists of our own that are at most [`LISTS_AGE`] old. The machine's lists and
//! packages stay as they are; its mirror is used.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::process;
use crate::setup::cache;

/// How old package lists may be before they are fetched again.
const LISTS_AGE: Duration = Duration::from_hours(24);
/// Debian's keys, from its package `debian-archive-keyring`.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// A kernel that is tested: the "cloud" build, which is small and has drivers for virtual machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Series {
    /// Debian 11's.
    V5_10,
    /// Debian 12's.
    V6_1,
    /// Debian 13's, as Debian 12 has it.
    V6_12,
    /// That of Debian's development suite.
    Newest,
}

impl Series {
    /// All of them, oldest first.
    pub const ALL: [Self; 4] = [Self::V5_10, Self::V6_1, Self::V6_12, Self::Newest];

    /// As on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::V5_10 => "5.10",
            Self::V6_1 => "6.1",
            Self::V6_12 => "6.12",
            Self::Newest => "newest",
        }
    }

    /// Debian's suite.
    fn suite(self) -> &'static str {
        match self {
            Self::V5_10 => "bullseye",
            Self::V6_1 | Self::V6_12 => "bookworm",
            Self::Newest => "sid",
        }
    }

    /// The package that depends on the current version's.
    fn meta_package(self) -> &'static str {
        match self {
            Self::V6_12 => "linux-image-6.12-cloud-amd64",
            Self::V5_10 | Self::V6_1 | Self::Newest => "linux-image-cloud-amd64",
        }
    }

    /// What the release must begin with.
    fn release_prefix(self) -> &'static str {
        match self {
            Self::V5_10 => "5.10.",
            Self::V6_1 => "6.1.",
            Self::V6_12 => "6.12.",
            Self::Newest => "",
        }
    }
}

/// An unpacked kernel.
#[derive(Debug)]
pub struct Kernel {
    /// As `uname -r` says.
    pub release: String,
    /// What QEMU starts.
    pub image: PathBuf,
    modules: PathBuf,
}

impl Kernel {
    /// The kernel that was unpacked into `directory`.
    fn at(directory: &Path) -> Result<Self> {
        // From some release on /lib is a link to /usr/lib, and packages name the latter.
        let modules = ["usr/lib/modules", "lib/modules"]
            .iter()
            .map(|name| directory.join(name))
            .find(|path| path.is_dir())
            .with_context(|| format!("{} holds no modules", directory.display()))?;
        let modules = only_entry(&modules)?;
        let name = modules.file_name().context("a directory has a name")?;
        let release = name.to_string_lossy().into_owned();
        let image = [
            directory.join("boot").join(format!("vmlinuz-{release}")),
            modules.join("vmlinuz"),
        ]
        .into_iter()
        .find(|path| path.is_file())
        .with_context(|| format!("{} holds no image of {release}", directory.display()))?;
        Ok(Self {
            release,
            image,
            modules,
        })
    }

    /// A module, uncompressed; `None` if there is no such module (it may be built in).
    pub fn module(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let Some(file) = find_module(&self.modules.join("kernel"), name)? else {
            return Ok(None);
        };
        if file.extension().is_some_and(|extension| extension == "ko") {
            let content = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
            return Ok(Some(content));
        }
        let output = Command::new("xz")
            .arg("-dc")
            .arg(&file)
            .output()
            .context("cannot run xz")?;
        ensure!(output.status.success(), "xz cannot unpack {}", file.display());
        Ok(Some(output.stdout))
    }
}

/// Finds the current kernel of a series, and fetches it if it is not there. Where the mirror cannot be reached, a kernel
/// that was fetched earlier is used, which is told.
pub fn find(series: Series) -> Result<Kernel> {
    let place = Place {
        series,
        directory: cache()?.join("kernels").join(series.name()),
    };
    let kernel = match place.current() {
        Ok(kernel) => kernel,
        Err(error) => match place.fetched_earlier() {
            Some(kernel) => {
                eprintln!(
                    "  {} may be out of date, as Debian's current one cannot be had: {error:#}",
                    kernel.release
                );
                kernel
            }
            None => return Err(error),
        },
    };
    let prefix = series.release_prefix();
    ensure!(
        kernel.release.starts_with(prefix),
        "{} led to {}, which is no {prefix} kernel",
        series.meta_package(),
        kernel.release
    );
    Ok(kernel)
}

/// A series' part of the cache.
struct Place {
    series: Series,
    directory: PathBuf,
}

impl Place {
    fn current(&self) -> Result<Kernel> {
        self.refresh()?;
        let name = self.dependency(self.series.meta_package(), "linux-image-")?;
        let directory = self.images().join(&name);
        if let Ok(kernel) = Kernel::at(&directory) {
            return Ok(kernel);
        }
        // Newer packages hold image and modules apart, and the one that is called image holds nothing.
        let parts: Vec<String> = ["linux-binary-", "linux-modules-"]
            .iter()
            .filter_map(|prefix| self.dependency(&name, prefix).ok())
            .collect();
        let packages = if parts.is_empty() { vec![name] } else { parts };
        self.fetch(&packages, &directory)?;
        Kernel::at(&directory)
    }

    fn fetched_earlier(&self) -> Option<Kernel> {
        Kernel::at(&only_entry(&self.images()).ok()?).ok()
    }

    fn images(&self) -> PathBuf {
        self.directory.join("images")
    }

    /// Fetches the package lists if they are old.
    fn refresh(&self) -> Result<()> {
        let stamp = self.directory.join("lists-are-of");
        let age = stamp.metadata().and_then(|file| file.modified());
        if age.is_ok_and(|time| time.elapsed().is_ok_and(|age| age < LISTS_AGE)) {
            return Ok(());
        }
        for name in ["lists/partial", "archives/partial"] {
            let path = self.directory.join(name);
            fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        }
        let list = self.directory.join("sources.list");
        fs::write(&list, sources(self.series.suite(), &mirrors()?))
            .with_context(|| format!("cannot write {}", list.display()))?;
        let name = format!("{}: package lists", self.series.name());
        // `update` alone succeeds although a list could not be fetched.
        process::hide(&name, self.apt("apt-get").args(["update", "--error-on=any"]))?;
        fs::write(&stamp, "").with_context(|| format!("cannot write {}", stamp.display()))
    }

    /// The package that `package` depends on and whose name begins with `prefix`.
    fn dependency(&self, package: &str, prefix: &str) -> Result<String> {
        let text = process::capture(self.apt("apt-cache").args(["depends", package]))?;
        parse_dependency(&text, prefix)
            .with_context(|| format!("{package} of {} depends on no {prefix}*", self.series.suite()))
    }

    /// Downloads packages and unpacks them into `directory`, in place of what was fetched earlier.
    fn fetch(&self, packages: &[String], directory: &Path) -> Result<()> {
        let name = format!("{}: kernel", self.series.name());
        let new = self.directory.join("new");
        remove(&new)?;
        let archives = new.join("archives");
        fs::create_dir_all(&archives).with_context(|| format!("cannot make {}", archives.display()))?;
        let mut download = self.apt("apt-get");
        download.arg("download").args(packages).current_dir(&archives);
        process::hide(&name, &mut download).inspect_err(|_| {
            // The lists may name what the mirror no longer has: the next run fetches them anew.
            let _ = fs::remove_file(self.directory.join("lists-are-of"));
        })?;
        for archive in fs::read_dir(&archives)
            .with_context(|| format!("cannot list {}", archives.display()))?
            .filter_map(Result::ok)
        {
            let mut unpack = Command::new("dpkg");
            unpack.arg("-x").arg(archive.path()).arg(&new);
            process::hide(&name, &mut unpack)?;
        }
        remove(&archives)?;
        // Only now, so that a kernel is there whole or not at all.
        remove(&self.images())?;
        fs::create_dir_all(self.images())
            .with_context(|| format!("cannot make {}", self.images().display()))?;
        fs::rename(&new, directory).with_context(|| format!("cannot make {}", directory.display()))
    }

    /// An apt command that knows this series' source only.
    fn apt(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("LC_ALL", "C").arg("-q");
        for (option, name) in [
            ("Dir::Etc::sourcelist", "sources.list"),
            ("Dir::State::lists", "lists"),
            ("Dir::Cache::archives", "archives"),
        ] {
            command.arg(format!("-o{option}={}", self.directory.join(name).display()));
        }
        command
            .arg("-oDir::Etc::sourceparts=-")
            .arg("-oDir::Cache::pkgcache=")
            .arg("-oDir::Cache::srcpkgcache=")
            // Files in a home directory are not readable for apt's own user.
            .arg("-oAPT::Sandbox::User=root");
        if self.series == Series::Newest {
            // Snapshots and slow mirrors of this suite are past their date within days.
            command.arg("-oAcquire::Check-Valid-Until=false");
        }
        command
    }
}

/// The mirrors that this machine uses: of Debian, and of its security updates.
#[derive(Debug, Default, PartialEq, Eq)]
struct Mirrors {
    main: Option<String>,
    security: Option<String>,
}

fn mirrors() -> Result<Mirrors> {
    let text = process::capture(Command::new("apt-get").args([
        "indextargets",
        "--format",
        "$(LABEL) $(REPO_URI)",
        "Identifier: Packages",
        "Origin: Debian",
    ]))?;
    let mirrors = parse_mirrors(&text);
    ensure!(
        mirrors.main.is_some(),
        "this machine's package sources name no mirror of Debian (or their lists were never fetched)"
    );
    Ok(mirrors)
}

fn parse_mirrors(text: &str) -> Mirrors {
    let of = |label: &str| {
        let mut lines = text.lines().filter_map(|line| line.split_once(' '));
        lines.find_map(|(found, address)| (found == label).then(|| address.to_owned()))
    };
    Mirrors {
        main: of("Debian"),
        security: of("Debian-Security"),
    }
}

/// Package sources of a suite. The development suite has no security updates of its own.
fn sources(suite: &str, mirrors: &Mirrors) -> String {
    let line =
        |address: &str, suite: &str| format!("deb [arch=amd64 signed-by={KEYRING}] {address} {suite} main\n");
    let mut text = String::new();
    if let Some(address) = &mirrors.main {
        text += &line(address, suite);
    }
    if let Some(address) = mirrors.security.as_ref().filter(|_| suite != "sid") {
        text += &line(address, &format!("{suite}-security"));
    }
    text
}

fn parse_dependency(text: &str, prefix: &str) -> Option<String> {
    let mut names = text
        .lines()
        .filter_map(|line| line.trim().trim_start_matches('|').strip_prefix("Depends: "));
    names.find(|name| name.starts_with(prefix)).map(str::to_owned)
}

/// The one entry of a directory.
fn only_entry(directory: &Path) -> Result<PathBuf> {
    let entries: Vec<PathBuf> = fs::read_dir(directory)
        .with_context(|| format!("cannot list {}", directory.display()))?
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .collect();
    match <[PathBuf; 1]>::try_from(entries) {
        Ok([entry]) => Ok(entry),
        Err(entries) => anyhow::bail!("{} holds {} things, not one", directory.display(), entries.len()),
    }
}

/// A module's file, compressed or not, anywhere below a directory.
fn find_module(directory: &Path, name: &str) -> Result<Option<PathBuf>> {
    let entries = fs::read_dir(directory).with_context(|| format!("cannot list {}", directory.display()))?;
    for entry in entries.filter_map(Result::ok) {
        let path = entry.path();
        let file_name = entry.file_name();
        let stem = file_name.to_str().and_then(|text| text.strip_prefix(name));
        if stem.is_some_and(|rest| rest == ".ko" || rest == ".ko.xz") {
            return Ok(Some(path));
        }
        if entry.file_type().is_ok_and(|kind| kind.is_dir())
            && let Some(found) = find_module(&path, name)?
        {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// Removes a directory if it is there.
fn remove(directory: &Path) -> Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", directory.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_read_from_what_the_meta_package_depends_on() {
        let text = "linux-image-cloud-amd64\n  Depends: linux-base\n |Depends: linux-image-1.2-cloud-amd64\n  \
                    Recommends: linux-image-9\n";
        assert_eq!(
            parse_dependency(text, "linux-image-").as_deref(),
            Some("linux-image-1.2-cloud-amd64")
        );
        assert_eq!(parse_dependency(text, "linux-modules-"), None);
    }

    #[test]
    fn sources_are_of_the_machines_mirrors() {
        let mirrors =
            parse_mirrors("Debian http://mirror/debian/\nDebian-Security http://mirror/security/\n");
        let text = sources("bullseye", &mirrors);
        assert_eq!(text.lines().count(), 2);
        assert!(text.contains("http://mirror/debian/ bullseye main"), "{text}");
        assert!(
            text.contains("http://mirror/security/ bullseye-security main"),
            "{text}"
        );
        assert!(!sources("sid", &mirrors).contains("security"));
        assert_eq!(
            parse_mirrors("Ubuntu http://mirror/ubuntu/\n"),
            Mirrors::default()
        );
    }

    #[test]
    fn both_layouts_of_packages_are_known() {
        for (modules, image) in [
            ("lib/modules/5.10.0-1", "boot/vmlinuz-5.10.0-1"),
            ("usr/lib/modules/7.2", "usr/lib/modules/7.2/vmlinuz"),
        ] {
            let root = tempfile::tempdir().expect("a temporary directory");
            let overlay = root.path().join(modules).join("kernel/fs/overlayfs");
            fs::create_dir_all(&overlay).expect("directories");
            fs::create_dir_all(root.path().join("boot")).expect("a directory");
            assert!(Kernel::at(root.path()).is_err(), "no image yet");
            fs::write(root.path().join(image), "image").expect("a file");
            let kernel = Kernel::at(root.path()).expect("a kernel");
            assert_eq!(kernel.image, root.path().join(image));
            assert!(modules.ends_with(&kernel.release));
            assert_eq!(kernel.module("overlay").expect("readable"), None);
            fs::write(overlay.join("overlay.ko"), "module").expect("a file");
            let module = kernel.module("overlay").expect("readable");
            assert_eq!(module.as_deref(), Some(&b"module"[..]));
        }
    }
}
