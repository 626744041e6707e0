//! Podman of the tests' own, as root: no daemon, but storage, state, locks and a configuration below its place.
//!
//! As an ordinary user it is on version 2, in a cgroup of that user's, with everything in a home of its own.
//!
//! Options are in the words of `docker run`, all of which Podman knows. The low-level runtime is runc, and crun where the layout
//! is version 1 alone: crun refuses a hybrid layout in which version 2 has controllers, and on version 2 it raises a
//! limit, which a root without `CAP_SYS_RESOURCE` may not.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, ensure};

use super::{Container, Kind, Layout, Place, Runtime, archive, text_of};
use crate::cleanup;
use crate::service::Service;

/// Podman with what belongs to it. Dropping it removes its containers and all the rest.
#[derive(Debug)]
pub struct Podman {
    place: Place,
    /// It runs as an ordinary user.
    user: bool,
}

/// An ordinary user that no machine has, and its group.
pub const USER: u32 = 54_321;

/// Becomes the user: `$0` is its cgroup, `$1` its directory.
const AS_USER: &str = r#"
echo $$ > "/sys/fs/cgroup/$0/programs/cgroup.procs" || exit
directory=$1
shift
export HOME="$directory/home" XDG_RUNTIME_DIR="$directory/home/run" CONTAINERS_CONF="$directory/containers.conf"
exec setpriv --reuid=54321 --regid=54321 --clear-groups podman --storage-driver overlay "$@"
"#;

/// Gives the user a cgroup, `$0`, an entry in the list of users as the namespace shows it, and a home in the directory `$1`.
const MAKE_USER: &str = r#"
set -e
mkdir "/sys/fs/cgroup/$0" "/sys/fs/cgroup/$0/programs" "$1/home"
mkdir -m 700 "$1/home/run"
chown -R 54321:54321 "/sys/fs/cgroup/$0" "$1/home"
{ cat /etc/passwd; echo "driftlock-test:x:54321:54321::$1/home:/bin/sh"; } > "$1/passwd"
mount --bind "$1/passwd" /etc/passwd
"#;

impl Podman {
    /// Prepares it and sees that it answers.
    pub fn start(layout: Layout) -> anyhow::Result<Self> {
        let podman = Self {
            place: Place::create(layout, &["libpod_parent"])?,
            user: false,
        };
        let directory = podman.place.directory();
        let below = |name: &str| directory.join(name).display().to_string();
        // Without limits, which this root may not raise and pure version 2 has no controllers for, and without locks, of
        // which Podman has one table for the whole machine by default.
        std::fs::write(
            directory.join("containers.conf"),
            format!(
                "[containers]\nnetns = \"none\"\npids_limit = 0\ndefault_ulimits = []\n\
                 [engine]\ncgroup_manager = \"{}\"\nevents_logger = \"file\"\nlock_type = \"file\"\n\
                 runtime = \"{}\"\nstatic_dir = \"{}\"\ntmp_dir = \"{}\"\nvolume_path = \"{}\"\n",
                if layout == Layout::Systemd {
                    "systemd"
                } else {
                    "cgroupfs"
                },
                if layout == Layout::V1 { "crun" } else { "runc" },
                below("static"),
                below("tmp"),
                below("volumes"),
            ),
        )?;
        podman
            .text(["ps", "-aq"])
            .context("podman does not answer (is it installed?)")?;
        Ok(podman)
    }

    /// Prepares it for an ordinary user, [`USER`], on version 2 alone.
    pub fn start_as_user() -> anyhow::Result<Self> {
        let podman = Self {
            place: Place::create(Layout::PureV2, &[])?,
            user: true,
        };
        let directory = podman.place.directory();
        std::fs::write(
            directory.join("containers.conf"),
            "[containers]\nnetns = \"none\"\npids_limit = 0\ndefault_ulimits = []\n\
             [engine]\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"file\"\nruntime = \"runc\"\n",
        )?;
        let made = podman
            .place
            .beside("sh")
            .args(["-c", MAKE_USER])
            .arg(cleanup::cgroup_name(directory))
            .arg(directory)
            .status()?;
        ensure!(made.success(), "the user could not be made");
        podman
            .text(["ps", "-aq"])
            .context("podman does not answer (is it installed?)")?;
        Ok(podman)
    }

    /// Podman's storage, in which it keeps images and containers.
    #[must_use]
    pub fn root(&self) -> PathBuf {
        self.place.directory().join("data")
    }

    /// A `podman` command line.
    #[must_use]
    pub fn command<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Command {
        let directory = self.place.directory();
        if self.user {
            let mut command = self.place.beside("sh");
            command
                .args(["-c", AS_USER])
                .arg(cleanup::cgroup_name(directory))
                .arg(directory)
                .args(arguments)
                .current_dir("/")
                .stdin(Stdio::null());
            return command;
        }
        let mut command = self.place.within("podman");
        command
            .env("CONTAINERS_CONF", directory.join("containers.conf"))
            .arg("--root")
            .arg(self.root())
            .arg("--runroot")
            .arg(directory.join("run"))
            .args(["--storage-driver", "overlay"])
            .args(arguments)
            .stdin(Stdio::null());
        command
    }

    /// Where a user's containers are: in the user's cgroup, as no other is the user's to write to.
    fn cgroup_option(&self) -> Option<String> {
        let name = cleanup::cgroup_name(self.place.directory());
        self.user.then(|| format!("--cgroup-parent=/{}", name.display()))
    }

    /// Runs `podman` and gives what it printed, without the last line break.
    ///
    /// # Errors
    /// It did not succeed; the message holds what it said.
    pub fn text<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> anyhow::Result<String> {
        text_of(self.command(arguments))
    }
}

impl Runtime for Podman {
    fn kind(&self) -> Kind {
        Kind::Podman
    }

    fn place(&self) -> &Place {
        &self.place
    }

    fn configuration(&self) -> String {
        String::new()
    }

    fn import(&self, root: &Path, name: &str) -> anyhow::Result<String> {
        let file = self.place.directory().join("image.tar");
        let digest = archive::write(root, name, &["/bin/service"], &file)?;
        let path = file.display().to_string();
        self.text(["load", "-q", "-i", &path])?;
        std::fs::remove_file(&file)?;
        // The id of an image is the digest of its configuration, without the algorithm's name.
        let id = digest.trim_start_matches("sha256:");
        self.text(["tag", id, name])?;
        Ok(digest)
    }

    fn run(
        &self,
        name: &str,
        image: &str,
        options: &[&str],
        arguments: &[&str],
    ) -> anyhow::Result<Container> {
        let parent = self.cgroup_option();
        let words = [
            &["run", "-d", "--name", name],
            parent.as_deref().as_slice(),
            options,
            &[image],
            arguments,
        ]
        .concat();
        Ok(Container {
            id: self.text(words)?,
            name: name.to_owned(),
        })
    }

    fn service(
        &self,
        name: &str,
        image: &str,
        options: &[&str],
        arguments: &[&str],
    ) -> anyhow::Result<Service> {
        let parent = self.cgroup_option();
        let words = [
            &["run", "-i", "--name", name],
            parent.as_deref().as_slice(),
            options,
            &[image],
            arguments,
        ]
        .concat();
        let mut service = Service::of_client(self.command(words), name)?;
        service.container.id = self.text(["inspect", "--format", "{{.Id}}", name])?;
        Ok(service)
    }

    fn exec(&self, container: &Container, argv: &[&str]) -> anyhow::Result<Output> {
        let words = [&["exec", container.id.as_str()], argv].concat();
        self.command(words).output().context("cannot run podman")
    }

    fn exec_detached(&self, container: &Container, argv: &[&str]) -> anyhow::Result<()> {
        self.text([&["exec", "-d", container.id.as_str()], argv].concat())
            .map(drop)
    }

    fn restart(&self, container: &Container) -> anyhow::Result<Container> {
        self.text(["restart", "--time=5", &container.id])?;
        Ok(container.clone())
    }

    fn remove(&self, container: &Container) -> anyhow::Result<()> {
        self.text(["rm", "-f", "-t", "0", &container.id]).map(drop)
    }

    fn process(&self, container: &Container) -> anyhow::Result<u32> {
        let text = self.text(["inspect", "--format", "{{.State.Pid}}", &container.id])?;
        match text.parse() {
            Ok(0) | Err(_) => anyhow::bail!("{} does not run: process {text}", container.name),
            Ok(process) => Ok(process),
        }
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        let _ = self.text(["rm", "-f", "-t", "0", "-a"]);
        self.place.remove();
    }
}
