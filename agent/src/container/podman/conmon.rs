//! `conmon`, the process that Podman and CRI-O start beside each container.
//!
//! Input: its command line (`-c ID -b BUNDLE -p PIDFILE -n NAME --persist-dir DIRECTORY`). Output: [`Conmon`]. Failure: a
//! process whose command line is of another form is none.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

/// Its name as a process.
pub const PROCESS: &str = "conmon";

/// What a command line says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conmon {
    /// The container.
    pub id: String,
    /// The storage that the container is in: what `STORAGE/DRIVER-containers/ID/userdata` names.
    pub storage: PathBuf,
    /// Where the first process's id is written.
    pub pid_file: Option<PathBuf>,
}

impl Conmon {
    /// Reads a command line; `None` if it is of another form.
    #[must_use]
    pub fn parse(arguments: &[Vec<u8>]) -> Option<Self> {
        let (mut id, mut bundle, mut persistent, mut pid_file) = (None, None, None, None);
        let mut rest = arguments.iter().skip(1);
        while let Some(argument) = rest.next() {
            let mut parts = argument.splitn(2, |byte| *byte == b'=');
            let (name, given) = (parts.next().unwrap_or_default(), parts.next());
            let target = match name {
                b"-c" | b"--cid" => &mut id,
                b"-b" | b"--bundle" => &mut bundle,
                b"--persist-dir" => &mut persistent,
                b"-p" | b"--container-pidfile" => &mut pid_file,
                // What follows is for whoever is told of the container's end.
                b"--exit-command" | b"--exit-command-arg" => {
                    if given.is_none() {
                        rest.next();
                    }
                    continue;
                }
                _ => continue,
            };
            *target = given.or_else(|| rest.next().map(Vec::as_slice));
        }
        let path =
            |bytes: &[u8]| Some(PathBuf::from(OsStr::from_bytes(bytes))).filter(|path| path.is_absolute());
        let id = String::from_utf8(id?.to_vec()).ok()?;
        // CRI-O's bundle is elsewhere; its persistent directory is in the storage.
        let userdata = path(persistent.or(bundle)?)?;
        Some(Self {
            storage: storage_of(&userdata, &id)?.to_owned(),
            id,
            pid_file: pid_file.and_then(path),
        })
    }
}

/// `STORAGE` of `STORAGE/DRIVER-containers/ID/userdata`.
fn storage_of<'a>(userdata: &'a Path, id: &str) -> Option<&'a Path> {
    let of_container = userdata.parent().filter(|_| userdata.ends_with("userdata"))?;
    let all = of_container.parent().filter(|_| of_container.ends_with(id))?;
    let name = all.file_name()?.as_bytes();
    name.ends_with(b"-containers").then(|| all.parent())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Option<Conmon> {
        let arguments: Vec<Vec<u8>> = line.split(' ').map(|word| word.as_bytes().to_vec()).collect();
        Conmon::parse(&arguments)
    }

    #[test]
    fn reads_podmans_command_line() {
        let found = parse(
            "/usr/bin/conmon --api-version 1 -c abc -u abc -r /usr/bin/crun \
             -b /var/lib/containers/storage/overlay-containers/abc/userdata \
             -p /run/containers/storage/overlay-containers/abc/userdata/pidfile -n web \
             --exit-dir /run/libpod/exits --full-attach -s -l k8s-file:/x --exit-command /usr/bin/podman \
             --exit-command-arg --root --exit-command-arg -b --exit-command-arg container",
        );
        let expected = Conmon {
            id: "abc".to_owned(),
            storage: "/var/lib/containers/storage".into(),
            pid_file: Some("/run/containers/storage/overlay-containers/abc/userdata/pidfile".into()),
        };
        assert_eq!(found, Some(expected));
    }

    #[test]
    fn reads_cri_os_command_line() {
        // As CRI-O's `oci` package composes it (internal/oci/runtime_oci.go).
        let found = parse(
            "/usr/bin/conmon -b /run/containers/storage/overlay-containers/abc/userdata -c abc --exit-dir /run/crio/exits \
             -l /var/log/pods/x/0.log --log-level info -n k8s_app_web-0_shop_5f0e_0 \
             -P /run/containers/storage/overlay-containers/abc/userdata/conmon-pidfile \
             -p /run/containers/storage/overlay-containers/abc/userdata/pidfile \
             --persist-dir /var/lib/containers/storage/overlay-containers/abc/userdata -r /usr/bin/runc -u abc -s",
        );
        assert_eq!(
            found.expect("conmon").storage,
            Path::new("/var/lib/containers/storage")
        );
    }

    #[test]
    fn takes_nothing_else() {
        for line in [
            "conmon",
            "conmon -c abc",
            "conmon -c abc -b relative/overlay-containers/abc/userdata",
            "conmon -c abc -b /s/overlay-containers/abd/userdata",
            "conmon -c abc -b /s/containers/abc/userdata",
            "conmon -b /s/overlay-containers/abc/userdata -c",
        ] {
            assert_eq!(parse(line), None, "{line}");
        }
    }
}
