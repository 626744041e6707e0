//! Where the daemons of this host keep their data.
//!
//! Input: the running `dockerd` processes of root that stand in no container ([`crate::container::process`]), their
//! command lines and configuration files, and the agent's configuration. Output: [`DataRoot`]s. A daemon in another
//! mount namespace is read through `/proc/PID/root` where its path shows the agent another directory. Rootless
//! daemons are not looked at: their files are an ordinary user's.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{DAEMON, DockerConfig};
use crate::container::data_root::{DataRoot, MAX_DATA_ROOTS, below};
use crate::container::error::RuntimeError;
use crate::container::process::RuntimeProcess;
use crate::container::read::{ReadError, read_bounded};

/// Where a daemon keeps its data and looks for its configuration unless it is told otherwise.
const DEFAULT_DATA_ROOT: &str = "/var/lib/docker";
const DEFAULT_CONFIG_FILE: &str = "/etc/docker/daemon.json";
/// Most bytes read of a configuration file.
const CONFIG_FILE_BYTES: u64 = 1024 * 1024;

/// The options that matter here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Options {
    data_root: Option<PathBuf>,
    config_file: Option<PathBuf>,
}

/// The part of `daemon.json` that matters here.
#[derive(Debug, Default, Deserialize)]
struct DaemonJson {
    #[serde(rename = "data-root")]
    data_root: Option<PathBuf>,
    /// The option's name before Docker 17.05, still read.
    graph: Option<PathBuf>,
}

/// The data directories to look into: configured, of running daemons, and of `known` those that still exist.
#[must_use]
pub fn find(
    config: &DockerConfig,
    known: &[DataRoot],
    processes: &[RuntimeProcess],
) -> (Vec<DataRoot>, Vec<RuntimeError>) {
    let mut problems = Vec::new();
    let mut roots: Vec<DataRoot> = Vec::new();
    let mut add = |root: DataRoot, problems: &mut Vec<RuntimeError>| {
        if roots.iter().any(|one| one.directory == root.directory) {
            return;
        }
        if roots.len() == MAX_DATA_ROOTS {
            problems.push(RuntimeError::TooManyDataRoots {
                most: MAX_DATA_ROOTS,
                path: root.directory,
            });
        } else {
            roots.push(root);
        }
    };
    for directory in &config.data_roots {
        for root in with_remapped(DataRoot::in_own_namespace(directory)) {
            add(root, &mut problems);
        }
    }
    if config.find_daemons {
        for daemon in processes.iter().filter(|process| process.name == DAEMON) {
            match data_root_of(daemon) {
                Ok(root) => with_remapped(root)
                    .into_iter()
                    .for_each(|root| add(root, &mut problems)),
                Err(error) => problems.push(error),
            }
        }
        let default = DataRoot::in_own_namespace(Path::new(DEFAULT_DATA_ROOT));
        for root in with_remapped(default).into_iter().chain(known.iter().cloned()) {
            if root.via.is_none_or(|daemon| daemon.is_alive()) && root.directory.join("containers").is_dir() {
                add(root, &mut problems);
            }
        }
    }
    (roots, problems)
}

/// With `userns-remap` a daemon keeps its data in a subdirectory named after the ids it maps root to (`UID.GID`).
fn with_remapped(root: DataRoot) -> Vec<DataRoot> {
    let is_remapped = |name: &OsStr| {
        let (uid, gid) = name.to_str()?.split_once('.')?;
        Some(uid.parse::<u32>().is_ok() && gid.parse::<u32>().is_ok())
    };
    let entries = std::fs::read_dir(&root.directory).into_iter().flatten();
    let mut roots: Vec<DataRoot> = entries
        .filter_map(|entry| Some(entry.ok()?.file_name()))
        .filter(|name| is_remapped(name) == Some(true))
        .map(|name| DataRoot {
            directory: root.directory.join(&name),
            daemon_directory: root.daemon_directory.join(&name),
            ..root.clone()
        })
        .collect();
    roots.insert(0, root);
    roots
}

/// The data directory of a running daemon: from its command line, else from its configuration file.
fn data_root_of(daemon: &RuntimeProcess) -> Result<DataRoot, RuntimeError> {
    let pid = daemon.process.pid;
    let root = PathBuf::from(format!("/proc/{pid}/root"));
    let working_directory = format!("/proc/{pid}/cwd");
    let options = Options::parse(&daemon.arguments);
    let absolute = |path: PathBuf| -> Result<PathBuf, ReadError> {
        if path.is_absolute() {
            return Ok(path);
        }
        let link = Path::new(&working_directory);
        let base = std::fs::read_link(link).map_err(ReadError::of("read", link))?;
        Ok(base.join(path))
    };
    let data_root = if let Some(path) = options.data_root {
        path
    } else {
        let given = options.config_file.is_some();
        let path = absolute(options.config_file.unwrap_or_else(|| DEFAULT_CONFIG_FILE.into()))?;
        match read_configured(&below(&root, &path)) {
            Ok(configured) => configured.unwrap_or_else(|| DEFAULT_DATA_ROOT.into()),
            Err(RuntimeError::Read(error)) if error.is_absent() && !given => DEFAULT_DATA_ROOT.into(),
            Err(error) => return Err(error),
        }
    };
    Ok(DataRoot::of_process(daemon.process, absolute(data_root)?))
}

fn read_configured(path: &Path) -> Result<Option<PathBuf>, RuntimeError> {
    let content = read_following(path)?;
    let file: DaemonJson = serde_json::from_slice(&content).map_err(|source| RuntimeError::Incomplete {
        path: path.to_owned(),
        source,
    })?;
    Ok(file.data_root.or(file.graph))
}

/// A configuration file may be a link (configuration management makes them so); it is an operator's.
fn read_following(path: &Path) -> Result<Vec<u8>, ReadError> {
    let target = match std::fs::read_link(path) {
        Ok(target) => path.parent().unwrap_or(Path::new("/")).join(target),
        Err(_) => path.to_owned(),
    };
    read_bounded(&target, CONFIG_FILE_BYTES)
}

// === impl Options ===

impl Options {
    /// Reads a command line as dockerd does: `--name value`, `--name=value`, `-g value`, `-g=value`, `-gvalue`; the
    /// last one counts.
    fn parse(arguments: &[Vec<u8>]) -> Self {
        let mut options = Self::default();
        let mut rest = arguments.iter().skip(1);
        while let Some(argument) = rest.next() {
            let (name, mut value) = split(argument);
            let target = match name {
                b"--data-root" | b"--graph" | b"-g" => &mut options.data_root,
                b"--config-file" => &mut options.config_file,
                b"--" => break,
                _ => continue,
            };
            if value.is_none() {
                value = rest.next().map(Vec::as_slice);
            }
            if let Some(value) = value {
                *target = Some(PathBuf::from(OsStr::from_bytes(value)));
            }
        }
        options
    }
}

/// An argument's name and, if it stands in the same argument, its value.
fn split(argument: &[u8]) -> (&[u8], Option<&[u8]>) {
    if let Some(value) = argument.strip_prefix(b"-g").filter(|value| !value.is_empty()) {
        return (b"-g", Some(value.strip_prefix(b"=").unwrap_or(value)));
    }
    match argument.iter().position(|byte| *byte == b'=') {
        Some(position) => (&argument[..position], Some(&argument[position + 1..])),
        None => (argument, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(line: &str) -> Options {
        let arguments: Vec<Vec<u8>> = line.split(' ').map(|word| word.as_bytes().to_vec()).collect();
        Options::parse(&arguments)
    }

    #[test]
    fn reads_every_form_of_the_command_line() {
        for line in [
            "dockerd --data-root /x -H unix:///s",
            "dockerd -H fd:// --data-root=/x",
            "dockerd -g /x",
            "dockerd -g=/x --iptables=false",
            "dockerd -g/x",
            "dockerd --graph /x",
            "dockerd --data-root /y --data-root /x",
        ] {
            assert_eq!(
                options(line).data_root.as_deref(),
                Some(Path::new("/x")),
                "{line}"
            );
        }
        assert_eq!(options("dockerd -H fd://"), Options::default());
        assert_eq!(options("dockerd --data-root"), Options::default());
        assert_eq!(options("dockerd -- --data-root /x"), Options::default());
        assert_eq!(
            options("dockerd --config-file=/c").config_file.as_deref(),
            Some(Path::new("/c"))
        );
    }

    #[test]
    fn reads_the_configuration_file() {
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("daemon.json");
        std::fs::write(&path, br#"{"debug": true, "data-root": "/x"}"#).expect("write");
        assert_eq!(read_configured(&path).expect("json"), Some("/x".into()));
        std::fs::write(&path, b"{}").expect("write");
        assert_eq!(read_configured(&path).expect("json"), None);
        std::fs::write(&path, b"{\"data-root\":").expect("write");
        assert!(read_configured(&path).expect_err("cut").is_retryable());
    }

    #[test]
    fn finds_the_directories_of_mapped_users() {
        let directory = tempfile::tempdir().expect("directory");
        for name in ["100000.100000", "containers", "1.x"] {
            std::fs::create_dir(directory.path().join(name)).expect("directory");
        }
        let config = DockerConfig {
            data_roots: vec![directory.path().to_owned()],
            find_daemons: false,
        };
        let (roots, problems) = find(&config, &[], &[]);
        assert!(problems.is_empty(), "{problems:?}");
        let found: Vec<&Path> = roots.iter().map(|root| root.directory.as_path()).collect();
        assert_eq!(found, [directory.path(), &directory.path().join("100000.100000")]);
    }

    #[test]
    fn says_which_directories_are_too_many() {
        let data_roots = (0..=MAX_DATA_ROOTS)
            .map(|index| format!("/none/{index}").into())
            .collect();
        let (roots, problems) = find(
            &DockerConfig {
                data_roots,
                find_daemons: false,
            },
            &[],
            &[],
        );
        assert_eq!(roots.len(), MAX_DATA_ROOTS);
        assert!(
            matches!(problems.as_slice(), [RuntimeError::TooManyDataRoots { .. }]),
            "{problems:?}"
        );
    }
}
