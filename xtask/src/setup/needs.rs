//! What each command needs of the machine, apart from the eBPF toolchain and tools that are crates.
//!
//! Pure: a table and probes that read. A probe looks for the thing itself, not for the package: what was installed in
//! another way is as good.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::path;
use crate::process;

/// Something that a Debian package brings.
#[derive(Debug)]
pub struct Need {
    /// Its name, as shown.
    pub name: &'static str,
    /// What it is for, in a few words.
    pub why: &'static str,
    /// The packages that bring it: the first that apt knows is taken, the last is what Debian 12 has.
    pub packages: &'static [&'static str],
    /// Where it is, `None` if it is not there.
    pub probe: fn() -> Option<PathBuf>,
}

/// To run containers for tests and demonstration. Looked for is the daemon: a `docker` may be a mere client.
pub const DOCKERD: Need = Need {
    name: "dockerd",
    why: "runs the containers",
    packages: &["docker.io"],
    probe: || path::on_path("dockerd"),
};

/// The client, which later Debian releases package apart from the daemon.
pub const DOCKER: Need = Need {
    name: "docker",
    why: "makes and starts the containers",
    packages: &["docker-cli", "docker.io"],
    probe: || path::on_path("docker"),
};

/// The low-level runtime, used by dockerd and by tests directly.
pub const RUNC: Need = Need {
    name: "runc",
    why: "starts the containers",
    packages: &["runc"],
    probe: || path::on_path("runc"),
};

/// The runtime that Kubernetes uses, which dockerd starts as well.
pub const CONTAINERD: Need = Need {
    name: "containerd",
    why: "runs the pods of tests",
    packages: &["containerd"],
    probe: || path::on_path("containerd"),
};

/// Its tool, by which tests give it their images.
pub const CTR: Need = Need {
    name: "ctr",
    why: "gives containerd its images",
    packages: &["containerd"],
    probe: || path::on_path("ctr"),
};

/// A runtime without a daemon.
pub const PODMAN: Need = Need {
    name: "podman",
    why: "runs containers without a daemon in tests",
    packages: &["podman"],
    probe: || path::on_path("podman"),
};

/// A low-level runtime, which Podman uses in tests.
pub const CRUN: Need = Need {
    name: "crun",
    why: "starts some of Podman's containers",
    packages: &["crun"],
    probe: || path::on_path("crun"),
};

/// Makes the cgroups of containers in tests of that driver. Nothing of it is started on the machine itself.
pub const SYSTEMD: Need = Need {
    name: "systemd",
    why: "makes cgroups of containers in tests",
    packages: &["systemd"],
    probe: || Some(PathBuf::from("/lib/systemd/systemd")).filter(|file| path::is_executable(file)),
};

/// Carries what is asked of systemd in a virtual machine. Nothing of it is started on the machine itself.
pub const DBUS: Need = Need {
    name: "dbus-daemon",
    why: "carries what is asked of systemd in virtual machines",
    packages: &["dbus"],
    probe: || path::on_path("dbus-daemon"),
};

/// Makes the root of an image from the packages of a server.
pub const MMDEBSTRAP: Need = Need {
    name: "mmdebstrap",
    why: "makes images of real servers for tests",
    packages: &["mmdebstrap"],
    probe: || path::on_path("mmdebstrap"),
};

/// Signs files, and verifies signatures: what profiles are signed with is compared with it.
pub const MINISIGN: Need = Need {
    name: "minisign",
    why: "signs profiles, and verifies them, beside Driftlock in tests",
    packages: &["minisign"],
    probe: || path::on_path("minisign"),
};

/// Reads metrics as a site does, and runs the dashboard's queries.
pub const PROMETHEUS: Need = Need {
    name: "prometheus",
    why: "reads the agent's metrics in tests",
    packages: &["prometheus"],
    probe: || path::on_path("prometheus"),
};

/// Checks metrics and rules. Comes with the server.
pub const PROMTOOL: Need = Need {
    name: "promtool",
    why: "checks the agent's metrics and alerting rules in tests",
    packages: &["prometheus"],
    probe: || path::on_path("promtool"),
};

/// Shows pages. Looked for is the browser itself, which other systems package by other names.
pub const CHROMIUM: Need = Need {
    name: "chromium",
    why: "shows reports about profiles in tests",
    packages: &["chromium"],
    probe: || path::on_path("chromium"),
};

/// Compiles exported profiles in tests. Nothing is loaded into the kernel.
pub const APPARMOR: Need = Need {
    name: "apparmor_parser",
    why: "compiles exported profiles in tests",
    packages: &["apparmor"],
    probe: || path::on_path("apparmor_parser"),
};

/// Compiles exported policies in tests. Nothing is loaded into the kernel.
pub const SECILC: Need = Need {
    name: "secilc",
    why: "compiles exported policies in tests",
    packages: &["secilc"],
    probe: || path::on_path("secilc"),
};

/// Takes alerts in tests. No service of it is used.
pub const NATS: Need = Need {
    name: "nats-server",
    why: "takes alerts in tests",
    packages: &["nats-server"],
    probe: || path::on_path("nats-server"),
};

/// Takes alerts in tests, with a configuration of its own; the machine's service is not used.
pub const RSYSLOG: Need = Need {
    name: "rsyslogd",
    why: "takes alerts in tests",
    packages: &["rsyslog"],
    probe: || path::on_path("rsyslogd"),
};

/// Its TLS.
pub const RSYSLOG_TLS: Need = Need {
    name: "TLS of rsyslogd",
    why: "takes alerts over TLS in tests",
    packages: &["rsyslog-gnutls"],
    probe: || {
        // Debian's place, and that of systems which keep 64-bit libraries apart.
        let places = [
            "/usr/lib/x86_64-linux-gnu",
            "/usr/lib/aarch64-linux-gnu",
            "/usr/lib64",
            "/usr/lib",
        ];
        let module = |place: &str| Path::new(place).join("rsyslog/lmnsd_gtls.so");
        places.into_iter().map(module).find(|file| file.is_file())
    },
};

/// Runs the Python packages that tests hold against Driftlock, in virtual environments.
pub const PYTHON: Need = Need {
    name: "Python with venv",
    why: "reads findings of OCSF in tests",
    packages: &["python3-venv"],
    probe: || {
        let python = path::on_path("python3")?;
        process::capture(Command::new(&python).args(["-c", "import venv, ensurepip"])).ok()?;
        Some(python)
    },
};

/// Makes images from a directory.
pub const TAR: Need = Need {
    name: "tar",
    why: "makes the images",
    packages: &["tar"],
    probe: || path::on_path("tar"),
};

/// Mount and process id namespaces for tests of other cgroup layouts.
pub const UNSHARE: Need = Need {
    name: "unshare",
    why: "runs tests in other cgroup layouts",
    packages: &["util-linux"],
    probe: || path::on_path("unshare"),
};

/// Runs other kernels.
pub const QEMU: Need = Need {
    name: "QEMU",
    why: "runs other kernels",
    packages: &["qemu-system-x86"],
    probe: || path::on_path("qemu-system-x86_64"),
};

/// Unpacks their modules.
pub const XZ: Need = Need {
    name: "xz",
    why: "unpacks modules of other kernels",
    packages: &["xz-utils"],
    probe: || path::on_path("xz"),
};

/// Makes their disks.
pub const MKFS: Need = Need {
    name: "mkfs.ext4",
    why: "makes the disks of virtual machines",
    packages: &["e2fsprogs"],
    probe: || path::on_path("mkfs.ext4"),
};

/// Takes debug information out of what goes onto them. Comes with most C compilers.
pub const STRIP: Need = Need {
    name: "strip",
    why: "makes what goes onto them small",
    packages: &["binutils"],
    probe: || path::on_path("strip"),
};

/// The engine that `cargo xtask fuzz` uses is C++.
pub const CXX: Need = Need {
    name: "C++ compiler",
    why: "builds the engine of `cargo xtask fuzz`",
    packages: &["g++"],
    probe: || path::on_path("c++"),
};

/// The C library for static linking, of the programs that run inside containers.
pub const STATIC_LIBC: Need = Need {
    name: "static C library",
    why: "links the programs that run inside containers and virtual machines",
    packages: &["libc6-dev"],
    probe: || {
        // cc prints the bare name if it does not know the file.
        let text = process::capture(Command::new("cc").arg("-print-file-name=libc.a")).ok()?;
        PathBuf::from(text.trim())
            .canonicalize()
            .ok()
            .filter(|file| file.is_file())
    },
};

/// The package that holds a statically linked busybox.
pub const BUSYBOX_PACKAGE: &str = "busybox-static";

/// A statically linked busybox: the machine's, or the one that setup unpacked.
pub fn busybox() -> Option<PathBuf> {
    let unpacked = busybox_directory().map(|directory| directory.join("bin/busybox"));
    path::on_path("busybox")
        .into_iter()
        .chain(unpacked)
        .find(|file| path::is_executable(file) && is_static(file))
}

/// Where setup unpacks busybox. It is not installed, as its package would replace the dynamically linked one.
pub fn busybox_directory() -> Option<PathBuf> {
    path::tools().ok().map(|tools| tools.join(BUSYBOX_PACKAGE))
}

/// Whether a program is a 64-bit ELF file that asks for no loader.
fn is_static(file: &Path) -> bool {
    /// Enough for the header and the program headers, which stand at the start.
    const HEAD_BYTES: u64 = 4096;
    let mut head = Vec::new();
    std::fs::File::open(file).is_ok_and(|file| file.take(HEAD_BYTES).read_to_end(&mut head).is_ok())
        && has_interpreter(&head) == Some(false)
}

/// Whether the program headers hold a `PT_INTERP`; `None` if this is no 64-bit little-endian ELF file.
fn has_interpreter(head: &[u8]) -> Option<bool> {
    const PT_INTERP: u32 = 3;
    let u16_at = |at: usize| Some(u16::from_le_bytes(head.get(at..at + 2)?.try_into().ok()?));
    if head.get(..6)? != b"\x7fELF\x02\x01" {
        return None;
    }
    // Offsets from the ELF-64 object file format: e_phoff 0x20, e_phentsize 0x36, e_phnum 0x38; p_type is first.
    let table = usize::try_from(u64::from_le_bytes(head.get(0x20..0x28)?.try_into().ok()?)).ok()?;
    let (size, count) = (usize::from(u16_at(0x36)?), usize::from(u16_at(0x38)?));
    for index in 0..count {
        let at = table.checked_add(index * size)?;
        let kind = u32::from_le_bytes(head.get(at..at.checked_add(4)?)?.try_into().ok()?);
        if kind == PT_INTERP {
            return Some(true);
        }
    }
    Some(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_test_is_dynamically_linked_and_a_text_is_neither() {
        let own = std::env::current_exe().expect("the test's own file");
        assert!(!is_static(&own));
        assert_eq!(has_interpreter(b"#!/bin/sh\n"), None);
    }

    #[test]
    fn a_header_without_an_interpreter_is_static() {
        let mut head = vec![0_u8; 0x40 + 2 * 0x38];
        head[..6].copy_from_slice(b"\x7fELF\x02\x01");
        head[0x20] = 0x40;
        head[0x36] = 0x38;
        head[0x38] = 2;
        head[0x40] = 1;
        assert_eq!(has_interpreter(&head), Some(false));
        head[0x40 + 0x38] = 3;
        assert_eq!(has_interpreter(&head), Some(true));
        head.truncate(0x40 + 0x38);
        assert_eq!(
            has_interpreter(&head),
            None,
            "cut off before the second program header"
        );
    }
}
