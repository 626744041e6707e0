//! The shims that run: each stands between containerd and the containers of one pod, or one container.
//!
//! Input: root's processes on the host with the shims' name, their command lines (`-namespace NAMESPACE -id ID -address
//! SOCKET`) and working directories, which are the bundles that they were started for. Output: [`Shim`]. Failure: a
//! process whose command line is of another form is no shim.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use crate::container::data_root::{DataRoot, below};
use crate::container::info::Isolation;
use crate::container::process::RuntimeProcess;
use crate::container::read::ReadError;

/// The shims' name as processes, which the kernel cuts at 15 bytes.
pub const PROCESS: &str = "containerd-shim";

/// A shim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shim {
    /// The namespace of its containers.
    pub namespace: String,
    /// The container that it was started for; of a pod, the pod's own.
    pub id: String,
    /// The socket of its containerd, as this process sees it.
    pub socket: Option<PathBuf>,
    /// The directory that holds its containerd's bundles.
    pub tasks: DataRoot,
}

/// What a shim's command line says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Options {
    namespace: Option<String>,
    id: Option<String>,
    address: Option<PathBuf>,
}

impl Shim {
    /// The shim that a process is; `None` if it is none.
    pub fn of_process(process: &RuntimeProcess) -> Result<Option<Self>, ReadError> {
        let Options {
            namespace: Some(namespace),
            id: Some(id),
            address,
        } = Options::parse(&process.arguments)
        else {
            return Ok(None);
        };
        let pid = process.process.pid;
        let link = PathBuf::from(format!("/proc/{pid}/cwd"));
        let bundle = std::fs::read_link(&link).map_err(ReadError::of("read", &link))?;
        // The bundle is `TASKS/NAMESPACE/ID`, and all else is no shim's working directory.
        let Some(tasks) = tasks_of(&bundle, &namespace, &id) else {
            return Ok(None);
        };
        let tasks = DataRoot::of_process(process.process, tasks.to_owned());
        Ok(Some(Self {
            namespace,
            id,
            socket: address.map(|socket| below(&tasks.prefix, &socket)),
            tasks,
        }))
    }
}

fn tasks_of<'a>(bundle: &'a Path, namespace: &str, id: &str) -> Option<&'a Path> {
    let of_namespace = bundle.parent()?;
    let is_its = bundle.is_absolute() && bundle.ends_with(id) && of_namespace.ends_with(namespace);
    is_its.then(|| of_namespace.parent())?
}

impl Options {
    /// Reads a command line as Go's flags are read: `-name value`, `--name value`, `-name=value`.
    fn parse(arguments: &[Vec<u8>]) -> Self {
        let mut options = Self::default();
        let mut rest = arguments.iter().skip(1);
        while let Some(argument) = rest.next() {
            let Some(name) = argument.strip_prefix(b"-") else {
                continue;
            };
            let name = name.strip_prefix(b"-").unwrap_or(name);
            let mut parts = name.splitn(2, |byte| *byte == b'=');
            let (name, given) = (parts.next().unwrap_or_default(), parts.next());
            if !matches!(name, b"namespace" | b"id" | b"address") {
                continue;
            }
            let Some(value) = given.or_else(|| rest.next().map(Vec::as_slice)) else {
                break;
            };
            let text = || {
                String::from_utf8(value.to_vec())
                    .ok()
                    .filter(|text| is_name(text))
            };
            match name {
                b"namespace" => options.namespace = text(),
                b"id" => options.id = text(),
                _ => {
                    let path = value.strip_prefix(b"unix://").unwrap_or(value);
                    options.address = (path.starts_with(b"/")).then(|| OsStr::from_bytes(path).into());
                }
            }
        }
        options
    }
}

/// Whether a text can be one component of a path.
fn is_name(text: &str) -> bool {
    !text.is_empty() && !text.contains('/') && text != "." && text != ".."
}

/// What the program of a shim, given by its path, says about the container's isolation.
#[must_use]
pub fn isolation(program: &[u8]) -> Option<Isolation> {
    let name = program.rsplit(|byte| *byte == b'/').next()?;
    let runtime = name.trim_ascii_end().strip_prefix(b"containerd-shim-")?;
    let begins = |names: &[&str]| names.iter().any(|name| runtime.starts_with(name.as_bytes()));
    if begins(&["runsc"]) {
        Some(Isolation::GVisor)
    } else if begins(&["kata"]) {
        Some(Isolation::Kata)
    } else if begins(&["aws-firecracker", "firecracker"]) {
        Some(Isolation::Firecracker)
    } else {
        None
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
    fn reads_command_lines() {
        let expected = Options {
            namespace: Some("k8s.io".to_owned()),
            id: Some("abc".to_owned()),
            address: Some("/run/containerd/containerd.sock".into()),
        };
        for line in [
            "/usr/bin/containerd-shim-runc-v2 -namespace k8s.io -id abc -address /run/containerd/containerd.sock",
            "shim --namespace=k8s.io --id=abc --address=unix:///run/containerd/containerd.sock -debug",
        ] {
            assert_eq!(options(line), expected, "{line}");
        }
        assert_eq!(
            options("shim -id ../x -namespace . -address relative"),
            Options::default()
        );
        assert_eq!(options("shim -id"), Options::default());
    }

    #[test]
    fn takes_only_a_bundle_for_one() {
        let tasks = |path: &'static str| tasks_of(Path::new(path), "moby", "abc");
        assert_eq!(tasks("/run/t/moby/abc"), Some(Path::new("/run/t")));
        assert_eq!(tasks("/run/t/default/abc"), None);
        assert_eq!(tasks("/run/t/moby/abd"), None);
        assert_eq!(tasks("/"), None);
    }

    #[test]
    fn knows_what_cannot_be_watched() {
        for (program, expected) in [
            ("/usr/bin/containerd-shim-runc-v2", None),
            ("/usr/local/bin/containerd-shim-runsc-v1", Some(Isolation::GVisor)),
            ("/opt/kata/bin/containerd-shim-kata-v2\n", Some(Isolation::Kata)),
            (
                "/usr/local/bin/containerd-shim-kata-qemu-v2",
                Some(Isolation::Kata),
            ),
            ("containerd-shim-aws-firecracker", Some(Isolation::Firecracker)),
            ("/usr/bin/kata", None),
        ] {
            assert_eq!(isolation(program.as_bytes()), expected, "{program}");
        }
    }
}
