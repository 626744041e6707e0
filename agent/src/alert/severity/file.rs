//! The files that matter: one table.
//!
//! Input: what was done with a file, and its path. Output: severity and techniques. Failure: none; what is in no row is
//! medium where something was changed, and low where it was read.

use agent_common::file::FileOperation;

use super::Severity;

/// For which uses of a file a row counts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Uses {
    /// Whatever puts another content there.
    Changes,
    /// Reading too.
    All,
}

/// Where a file of a row is.
enum Place {
    /// At this path.
    At(&'static str),
    /// In this directory, or below.
    Below(&'static str),
    /// Its path begins so.
    Begins(&'static str),
    /// It has a directory of this name above it.
    Under(&'static str),
    /// Its name ends so, in a directory below this one.
    Ends(&'static str, &'static str),
}

/// The files that matter; the first row that fits counts. All are of severity high.
const TABLE: &[(Place, Uses, &[&str])] = &[
    (Place::Begins("/etc/shadow"), Uses::All, &["T1003.008"]),
    (Place::Begins("/etc/gshadow"), Uses::All, &["T1003.008"]),
    (Place::At("/etc/passwd"), Uses::Changes, &["T1136.001"]),
    (Place::At("/etc/group"), Uses::Changes, &["T1136.001"]),
    (Place::Below("/var/run/secrets"), Uses::All, &["T1552.007"]),
    (Place::Below("/run/secrets"), Uses::All, &["T1552.007"]),
    (Place::Under(".ssh"), Uses::All, &["T1098.004", "T1552.004"]),
    (Place::Below("/etc/ssh"), Uses::Changes, &["T1098.004"]),
    (Place::Under(".aws"), Uses::All, &["T1552.001"]),
    (Place::Under(".kube"), Uses::All, &["T1552.001"]),
    (Place::Begins("/etc/cron"), Uses::Changes, &["T1053.003"]),
    (Place::At("/etc/anacrontab"), Uses::Changes, &["T1053.003"]),
    (Place::Below("/var/spool/cron"), Uses::Changes, &["T1053.003"]),
    (Place::Below("/etc/sudoers.d"), Uses::Changes, &["T1548"]),
    (Place::At("/etc/sudoers"), Uses::Changes, &["T1548"]),
    (Place::Below("/etc/pam.d"), Uses::Changes, &["T1548"]),
    (Place::At("/etc/ld.so.preload"), Uses::Changes, &["T1574.006"]),
    (Place::Begins("/etc/ld.so.conf"), Uses::Changes, &["T1574.006"]),
    (Place::At("/etc/ld.so.cache"), Uses::Changes, &["T1574.006"]),
    (Place::Below("/etc/systemd"), Uses::Changes, &["T1543.002"]),
    (Place::Below("/lib/systemd"), Uses::Changes, &["T1543.002"]),
    (Place::Below("/usr/lib/systemd"), Uses::Changes, &["T1543.002"]),
    (Place::Below("/run/systemd"), Uses::Changes, &["T1543.002"]),
    (Place::Below("/etc/init.d"), Uses::Changes, &["T1037"]),
    (Place::Below("/etc/profile.d"), Uses::Changes, &["T1037"]),
    (Place::At("/etc/profile"), Uses::Changes, &["T1037"]),
    (Place::Ends("/root", "rc"), Uses::Changes, &["T1037"]),
    (Place::Below("/root"), Uses::Changes, &[]),
    (
        Place::At("/proc/sys/kernel/core_pattern"),
        Uses::Changes,
        &["T1611"],
    ),
    (Place::At("/sys/kernel/uevent_helper"), Uses::Changes, &["T1611"]),
    (
        Place::Ends("/sys/fs/cgroup", "/release_agent"),
        Uses::Changes,
        &["T1611"],
    ),
];

pub(super) fn rate(operation: FileOperation, path: &[u8]) -> (Severity, &'static [&'static str]) {
    let is_read = operation == FileOperation::Read;
    let row = TABLE
        .iter()
        .find(|(place, uses, _)| (!is_read || *uses == Uses::All) && place.holds(path));
    match row {
        Some((_, _, techniques)) => (Severity::High, techniques),
        None if is_read => (Severity::Low, &[]),
        None => (Severity::Medium, &[]),
    }
}

impl Place {
    fn holds(&self, path: &[u8]) -> bool {
        let is_below = |directory: &str| {
            path.strip_prefix(directory.as_bytes())
                .is_some_and(|rest| rest.starts_with(b"/"))
        };
        match self {
            Self::At(at) => path == at.as_bytes(),
            Self::Below(directory) => is_below(directory),
            Self::Begins(beginning) => path.starts_with(beginning.as_bytes()),
            Self::Under(name) => {
                let mut names = path.split(|byte| *byte == b'/');
                // The last name is the file's own.
                names.next_back();
                names.any(|above| above == name.as_bytes())
            }
            Self::Ends(directory, end) => is_below(directory) && path.ends_with(end.as_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    #[test]
    fn what_matters_is_high() {
        let mut table = String::new();
        for path in [
            "/etc/shadow",
            "/etc/shadow-",
            "/etc/passwd",
            "/etc/cron.d/job",
            "/etc/crontab",
            "/var/spool/cron/crontabs/root",
            "/run/secrets/kubernetes.io/serviceaccount/token",
            "/var/run/secrets/kubernetes.io/serviceaccount/token",
            "/home/a/.ssh/authorized_keys",
            "/root/.bashrc",
            "/root/x",
            "/rootless",
            "/home/a/.ssh",
            "/etc/ld.so.preload",
            "/etc/systemd/system/x.service",
            "/etc/sudoers.d/x",
            "/proc/sys/kernel/core_pattern",
            "/sys/fs/cgroup/rdma/release_agent",
            "/tmp/x",
        ] {
            for operation in [FileOperation::Read, FileOperation::Rename] {
                let (severity, techniques) = rate(operation, path.as_bytes());
                let techniques = techniques.join(" ");
                writeln!(table, "{path:<52} {operation:<6} {severity:<6} {techniques}")
                    .expect("writing to a string cannot fail");
            }
        }
        insta::assert_snapshot!(table);
    }
}
