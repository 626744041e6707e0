//! Where a runtime runs: its run directory, and what `/sys/fs/cgroup` looks like to it.
//!
//! For the layouts that this machine does not have, a mount namespace of its own shows the runtime, and the agent beside
//! it, another `/sys/fs/cgroup`; the machine's own stays as it is. Where systemd is to make the containers' cgroups and is not the
//! machine's process 1, the runtime is in a cgroup of its own with a service manager of its own, and the agent looks at it from outside.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, ensure};

use crate::cleanup;

/// What `/sys/fs/cgroup` looks like to the runtime and the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Version 1 controllers with version 2 beside them, as systemd calls it. What the build machine has.
    Hybrid,
    /// Version 2 alone.
    PureV2,
    /// Version 1 alone.
    V1,
    /// Version 2 alone, and systemd makes the containers' cgroups, which are slices and scopes.
    Systemd,
}

/// A run directory and, where the layout needs it, a mount namespace.
#[derive(Debug)]
pub struct Place {
    layout: Layout,
    directory: PathBuf,
    /// The agent's, and the runtime's if it has none of its own.
    namespace: Option<Namespace>,
    /// The runtime's own, with its service manager.
    managed: Option<Namespace>,
    /// Parents of containers' cgroups that were not there before.
    parents: Vec<PathBuf>,
}

/// A mount namespace, held by a process that waits for the end of its input.
#[derive(Debug)]
struct Namespace {
    holder: Child,
}

impl Layout {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Hybrid, Self::PureV2, Self::V1, Self::Systemd];

    /// Whether it can be had here: most virtual machines have no systemd.
    #[must_use]
    pub fn is_here(self) -> bool {
        self != Self::Systemd || Path::new(MANAGER).exists()
    }

    /// Whether the machine has it already and nothing is to be made: systemd is its process 1, and version 2 is all there is.
    #[must_use]
    pub fn is_the_machines(self) -> bool {
        // As sd_booted(3) finds it out.
        self == Self::Systemd
            && Path::new("/run/systemd/system").is_dir()
            && Path::new("/sys/fs/cgroup/cgroup.controllers").exists()
    }

    /// Whether version 1 is not there.
    #[must_use]
    pub fn is_v2(self) -> bool {
        matches!(self, Self::PureV2 | Self::Systemd)
    }

    /// What makes the layout out of the machine's, in a mount namespace of its own.
    fn script(self) -> Option<&'static str> {
        match self {
            Self::Hybrid => None,
            Self::Systemd if self.is_the_machines() => None,
            Self::PureV2 | Self::Systemd => {
                Some("umount -R /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup")
            }
            Self::V1 => Some("umount /sys/fs/cgroup/unified"),
        }
    }
}

impl Place {
    /// A new one for a runtime that creates containers' cgroups below `parents`, names at the top of each hierarchy.
    pub fn create(layout: Layout, parents: &[&str]) -> anyhow::Result<Self> {
        let directory = cleanup::run_directory()?;
        let managed = (layout == Layout::Systemd && !layout.is_the_machines())
            .then(|| Namespace::managed(&directory))
            .transpose()?;
        Ok(Self {
            layout,
            namespace: layout.script().map(Namespace::create).transpose()?,
            managed,
            directory,
            parents: cleanup::hierarchies()
                .iter()
                .flat_map(|hierarchy| parents.iter().map(move |parent| hierarchy.join(parent)))
                .filter(|parent| !parent.exists())
                .collect(),
        })
    }

    /// The layout.
    #[must_use]
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Where all of it lies.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// A command that is the runtime, or a part of it.
    #[must_use]
    pub fn within(&self, program: impl AsRef<OsStr>) -> Command {
        let Some(managed) = &self.managed else {
            return self.beside(program);
        };
        // Each replaces itself by the next, so that the process id stays.
        let holder = managed.holder.id();
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--mount=/proc/{holder}/ns/mnt"))
            .arg(format!("--cgroup=/proc/{holder}/ns/cgroup"))
            .args(["--", "sh", "-c"])
            .arg(r#"echo $$ > /sys/fs/cgroup/runtime/cgroup.procs && exec "$0" "$@""#)
            .arg(program);
        command
    }

    /// A command that runs beside the runtime: what it sees of cgroups is the layout.
    #[must_use]
    pub fn beside(&self, program: impl AsRef<OsStr>) -> Command {
        match &self.namespace {
            None => Command::new(program),
            Some(namespace) => {
                // It replaces itself by the program, which so keeps the process id that is known here.
                let mut command = Command::new("nsenter");
                command
                    .arg(format!("--mount=/proc/{}/ns/mnt", namespace.holder.id()))
                    .arg("--")
                    .arg(program);
                command
            }
        }
    }

    /// Ends and removes what is left of it. To be called when the runtime has ended.
    pub fn remove(&self) {
        cleanup::remove(&self.directory);
        for parent in &self.parents {
            cleanup::remove_empty(parent);
        }
    }
}

/// systemd.
const MANAGER: &str = "/lib/systemd/systemd";

/// Makes a cgroup, `$1`, the root of what is seen from here on, and starts a service manager in it, with its files in the directory
/// `$0`. It is a user's manager, because the system's has to be process 1; what runtimes ask of either is the same.
const MANAGED: &str = r#"
mkdir "/sys/fs/cgroup/$1" "/sys/fs/cgroup/$1/runtime" && echo $$ > "/sys/fs/cgroup/$1/cgroup.procs" &&
exec unshare --cgroup sh -c '
    umount /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup || exit
    mkdir -p /run/systemd && mount -t tmpfs none /run/systemd && mkdir /run/systemd/system "$0/units" || exit
    for unit in default basic sysinit shutdown; do echo "[Unit]" > "$0/units/$unit.target"; done
    XDG_RUNTIME_DIR="$0" SYSTEMD_UNIT_PATH="$0/units" SYSTEMD_LOG_TARGET=console \
        /lib/systemd/systemd --user < /dev/null > "$0/log" 2>&1 &
    until [ -S "$0/systemd/private" ]; do sleep 0.05; done
    touch /run/systemd/private && mount --bind "$0/systemd/private" /run/systemd/private && echo ready && exec cat
' "$0"
"#;

impl Namespace {
    fn create(script: &str) -> anyhow::Result<Self> {
        Self::hold(&format!("{script} && echo ready && exec cat"), &[])
    }

    /// One in which a service manager makes cgroups below one of its own, named after the run directory.
    fn managed(directory: &Path) -> anyhow::Result<Self> {
        let files = directory.join("systemd");
        std::fs::create_dir(&files)?;
        let v2 = Layout::PureV2.script().unwrap_or_default();
        Self::hold(
            &format!("{v2} && {MANAGED}"),
            &[files.as_os_str(), cleanup::cgroup_name(directory).as_os_str()],
        )
    }

    /// Holds a mount namespace in which `script` has run; it says so by a line `ready` and then waits for the end of its input.
    fn hold(script: &str, words: &[&OsStr]) -> anyhow::Result<Self> {
        let mut holder = Command::new("unshare")
            .args(["--mount", "sh", "-c"])
            .arg(format!("mount --make-rprivate / && {script}"))
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot run unshare")?;
        let mut line = String::new();
        BufReader::new(holder.stdout.take().context("no standard output")?).read_line(&mut line)?;
        ensure!(
            line == "ready\n",
            "the mount namespace could not be made: {script}"
        );
        Ok(Self { holder })
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// The last lines of a log.
#[must_use]
pub fn tail(log: &Path) -> String {
    let text = std::fs::read(log)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}

/// Runs a command and gives what it printed, without the last line break.
///
/// # Errors
/// It cannot be started, or did not succeed; the message holds what it said.
pub fn text_of(mut command: Command) -> anyhow::Result<String> {
    let output = command
        .output()
        .with_context(|| format!("cannot run {command:?}"))?;
    ensure!(
        output.status.success(),
        "{command:?}: {}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
}
