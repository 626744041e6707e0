//! The `securityContext` of a container in Kubernetes.
//!
//! Input: a profile. Output: YAML with comments: the mapping that stands in a container's entry of a pod. Failure: none; what the
//! profile does not tell is left to the cluster's default, which the comments say.

use std::collections::BTreeSet;

use agent_common::cap::UserNamespace;
use agent_common::domain::Domain;
use agent_common::file::{FileOperation, Layer};

use super::{Export, Format, Source, comment, listed};
use crate::behaviour::{Behaviour, FileBehaviour, FilePattern};

/// What stands before each comment.
const MARK: &str = "#";
/// Adding this one makes Kubernetes refuse `allowPrivilegeEscalation: false`
/// (`ValidateSecurityContext`, pkg/apis/core/validation/validation.go).
const SYS_ADMIN: &str = "CAP_SYS_ADMIN";

/// Programs that distributions ship with a set-id bit or with capabilities of their own: they do not work without privilege escalation. From
/// Debian 12's packages (`passwd`, `mount`, `login`, `util-linux`, `sudo`, `uidmap`, `iputils-ping`, `fuse3`, `policykit-1`, `dbus`, `cron`, `at`,
/// `openssh-client`, `libpam-modules-bin`, `mtr-tiny`, `wireshark-common`, `doas`, `bsdutils`, `screen`) and Alpine's `busybox-suid`.
const PRIVILEGED_PROGRAMS: [&str; 36] = [
    "at",
    "bbsuid",
    "bsd-write",
    "chage",
    "chfn",
    "chsh",
    "crontab",
    "dbus-daemon-launch-helper",
    "doas",
    "dumpcap",
    "expiry",
    "fusermount",
    "fusermount3",
    "gpasswd",
    "mount",
    "mtr-packet",
    "newgidmap",
    "newgrp",
    "newuidmap",
    "passwd",
    "ping",
    "ping4",
    "ping6",
    "pkexec",
    "polkit-agent-helper-1",
    "screen",
    "ssh-agent",
    "ssh-keysign",
    "su",
    "sudo",
    "sudoedit",
    "traceroute6",
    "umount",
    "unix_chkpwd",
    "wall",
    "write",
];

/// Writes it.
pub(super) fn export(source: &Source<'_>) -> Export {
    let mut notes = source.common_notes();
    notes.push(
        "runAsNonRoot, runAsUser: the profile does not hold which user the container runs as. Where the image's own user is not \
         root, set runAsNonRoot: true."
            .to_owned(),
    );
    let mut fields = vec!["privileged: false".to_owned()];
    escalation(source, &mut fields, &mut notes);
    capabilities(source, &mut fields, &mut notes);
    root_filesystem(source, &mut fields, &mut notes);
    seccomp(source, &mut fields, &mut notes);
    notes.push(
        "Which programs run, which files are read, and what is only refused: there is no field for it. An AppArmor profile of \
         the same role restricts them (--format apparmor)."
            .to_owned(),
    );
    let mut text = comment::lines(MARK, &source.heading(Format::SecurityContext));
    text.push_str("# What this cannot express, and what the profile does not tell:\n");
    text.push_str(&comment::notes(MARK, &notes));
    text.push_str("securityContext:\n");
    for field in fields {
        text.push_str("  ");
        text.push_str(&field);
        text.push('\n');
    }
    Export { text, notes }
}

fn escalation(source: &Source<'_>, fields: &mut Vec<String>, notes: &mut Vec<String>) {
    let permitted = source.permitted();
    let programs = permitted.iter().filter_map(|behaviour| match behaviour {
        Behaviour::Exec(exec) => Some((&exec.path, exec.applet.as_ref())),
        _ => None,
    });
    let drift = source.profile.drift.keys().map(|(_, path)| (path, None));
    let privileged: BTreeSet<String> = programs
        .chain(drift)
        .filter(|(path, applet)| {
            let name = path
                .as_bytes()
                .rsplit(|byte| *byte == b'/')
                .next()
                .unwrap_or_default();
            let is_privileged = |name: &[u8]| {
                PRIVILEGED_PROGRAMS
                    .iter()
                    .any(|program| program.as_bytes() == name)
            };
            is_privileged(name) || applet.is_some_and(|applet| is_privileged(applet.as_bytes()))
        })
        .map(|(path, applet)| applet.map_or_else(|| path.to_string(), |applet| format!("{path} ({applet})")))
        .collect();
    let needs_admin = source
        .capabilities(UserNamespace::Initial)
        .iter()
        .any(|capability| capability.name() == SYS_ADMIN);
    if needs_admin {
        notes.push(
            "allowPrivilegeEscalation is not set to false: Kubernetes refuses that together with the capability SYS_ADMIN."
                .to_owned(),
        );
    } else if privileged.is_empty() {
        fields.push("allowPrivilegeEscalation: false".to_owned());
        notes.push(
            "allowPrivilegeEscalation: false, because no program runs that distributions ship with a set-id bit or file \
             capabilities, by its name. The profile does not hold those bits: a program of the image's own that has them \
             runs without them."
                .to_owned(),
        );
    } else {
        let privileged: Vec<String> = privileged.into_iter().collect();
        notes.push(format!(
            "allowPrivilegeEscalation is not set to false: programs run that are commonly shipped with a set-id bit or file capabilities: {}.",
            listed(&privileged)
        ));
    }
}

fn capabilities(source: &Source<'_>, fields: &mut Vec<String>, notes: &mut Vec<String>) {
    if !source.tells_of(Domain::Cap) {
        notes.push(
            "capabilities: the profile was never learned in domain cap; those of the cluster's default stay."
                .to_owned(),
        );
        return;
    }
    let used = source.capabilities(UserNamespace::Initial);
    let elsewhere: Vec<String> = source
        .capabilities(UserNamespace::Other)
        .difference(&used)
        .map(ToString::to_string)
        .collect();
    fields.extend(["capabilities:", "  drop:", "    - ALL"].map(str::to_owned));
    if !used.is_empty() {
        fields.push("  add:".to_owned());
        fields.extend(used.iter().map(|capability| {
            let name = capability.name();
            format!("    - {}", name.strip_prefix("CAP_").unwrap_or(&name))
        }));
    }
    notes.push(
        "capabilities: what the runtime needs to start the container is not restricted by them; a process that is not root gets \
         none of those that are added."
            .to_owned(),
    );
    if !elsewhere.is_empty() {
        notes.push(format!(
            "Used in user namespaces of their own alone, and not added: {}. A container with hostUsers: false needs them; a process that \
             makes such a namespace has them there without being given them.",
            listed(&elsewhere)
        ));
    }
}

fn root_filesystem(source: &Source<'_>, fields: &mut Vec<String>, notes: &mut Vec<String>) {
    if !source.tells_of(Domain::File) {
        notes.push(
            "readOnlyRootFilesystem: the profile was never learned in domain file; it is not set.".to_owned(),
        );
        return;
    }
    let directories: BTreeSet<String> = source
        .permitted()
        .into_iter()
        .filter_map(|behaviour| match behaviour {
            Behaviour::File(file) if is_written(file) => Some(directory(&file.pattern)),
            _ => None,
        })
        .collect();
    let has_program = source
        .profile
        .drift
        .keys()
        .any(|(layer, _)| *layer == Layer::Upper);
    if directories.is_empty() && !has_program {
        fields.push("readOnlyRootFilesystem: true".to_owned());
        notes.push(
            "readOnlyRootFilesystem: true, because no file of the root filesystem was opened for writing, created, renamed or \
             linked. Directories that are made and files that are removed or whose mode is changed are not in a profile."
                .to_owned(),
        );
        return;
    }
    let directories: Vec<String> = directories.into_iter().collect();
    let what = if directories.is_empty() {
        "programs that were written into it are accepted".to_owned()
    } else {
        format!("it is written to in {}", listed(&directories))
    };
    notes.push(format!(
        "readOnlyRootFilesystem is not set: {what}. With a volume (emptyDir) there it could be."
    ));
}

/// Whether this use changes the root filesystem. Where a layer cannot be told, it may.
fn is_written(file: &FileBehaviour) -> bool {
    file.operation != FileOperation::Read
        && matches!(file.layer, Layer::Image | Layer::Upper | Layer::Unknown)
}

/// The directory that the files of a rule are in, as text.
fn directory(pattern: &FilePattern) -> String {
    let text = pattern.to_string();
    match text.rsplit_once('/') {
        Some(("", _)) | None => "/".to_owned(),
        Some((directory, _)) => directory.to_owned(),
    }
}

fn seccomp(source: &Source<'_>, fields: &mut Vec<String>, notes: &mut Vec<String>) {
    fields.push("seccompProfile:".to_owned());
    if !source.tells_of(Domain::Syscall) {
        fields.push("  type: RuntimeDefault".to_owned());
        notes.push(
            "seccompProfile: the profile was never learned in domain syscall; the runtime's default is named.".to_owned(),
        );
        return;
    }
    let file = format!("driftlock/{}.json", source.name());
    fields.push("  type: Localhost".to_owned());
    fields.push(format!("  localhostProfile: {file}"));
    notes.push(format!(
        "seccompProfile: put what --format seccomp writes into /var/lib/kubelet/seccomp/{file} on every node; without it the container \
         does not start."
    ));
}
