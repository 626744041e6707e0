use agent_common::cap::{CapOutcome, UserNamespace};
use agent_common::file::{FileOperation, Layer};
use agent_common::syscall::{SYSCALL_OUT_OF_RANGE, SyscallAbi, SyscallPhase};
use proptest::prelude::*;

use super::*;
use crate::behaviour::{
    CapBehaviour, ExecBehaviour, FileBehaviour, FilePattern, SyscallBehaviour, syscall_name,
};
use crate::profile::document::tests::document;
use crate::profile::model::{AcceptedDrift, Evidence, ExecInEntry};

/// A profile of one role, and what it is of.
struct Sample {
    digest: ImageDigest,
    image: ImageRecord,
    role: Role,
    profile: RoleProfile,
}

impl Sample {
    fn new(role: &str) -> Self {
        let digest = format!("sha256:{}", "0123456789abcdef".repeat(4));
        Self {
            digest: digest.parse().expect("a digest"),
            image: ImageRecord {
                references: ["shop:1".to_owned()].into(),
                ..ImageRecord::default()
            },
            role: Role::new(role.into()).expect("a role"),
            profile: RoleProfile::default(),
        }
    }

    /// What a server does, in all domains.
    fn server() -> Self {
        let mut sample = Self::new("/usr/sbin/shop");
        sample.exec("/usr/sbin/shop", None);
        sample.exec("/bin/busybox", Some("sh"));
        for (layer, pattern, operation) in [
            (Layer::Image, exact("/etc/shop.conf"), FileOperation::Read),
            (Layer::Image, exact("/usr/lib/libc.so.6"), FileOperation::Read),
            (Layer::Upper, exact("/run/shop.pid"), FileOperation::Create),
            (Layer::Upper, exact("/var/log/a\n\"b"), FileOperation::Link),
            (Layer::Upper, rule("/tmp/cc{random}.s"), FileOperation::Rename),
            (Layer::Volume, rule("/proc/{decimal}/stat"), FileOperation::Read),
            (Layer::Volume, rule("/data/**"), FileOperation::Write),
            (Layer::Anonymous, exact("/memfd:x"), FileOperation::Write),
        ] {
            sample.file(layer, pattern, operation);
        }
        sample.cap(
            "CAP_NET_BIND_SERVICE",
            UserNamespace::Initial,
            CapOutcome::Granted,
        );
        sample.cap("CAP_BPF", UserNamespace::Initial, CapOutcome::Granted);
        sample.cap("CAP_SYS_CHROOT", UserNamespace::Other, CapOutcome::Granted);
        sample.cap("CAP_SYS_TIME", UserNamespace::Initial, CapOutcome::Refused);
        for name in ["read", "openat", "clone", "socket", "statx", "rseq"] {
            sample.call(SyscallAbi::X86_64, name, SyscallPhase::Program);
        }
        for name in ["execve", "capset", "sched_setaffinity"] {
            sample.call(SyscallAbi::X86_64, name, SyscallPhase::Runtime);
        }
        sample.exec_in("/bin/ps", true);
        sample.exec_in("/bin/never", false);
        let job = (Layer::Volume, "/job".into());
        sample.profile.drift.insert(job, AcceptedDrift::default());
        sample
    }

    fn add(&mut self, behaviour: impl Into<Behaviour>) {
        self.profile
            .main
            .insert(behaviour.into(), Evidence::of_windows(3));
    }

    fn exec(&mut self, path: &str, applet: Option<&str>) {
        self.add(program(path, applet));
    }

    fn exec_in(&mut self, path: &str, accepted: bool) {
        let entry = ExecInEntry {
            accepted,
            ..ExecInEntry::default()
        };
        self.profile.exec_in.insert(program(path, None).into(), entry);
    }

    fn file(&mut self, layer: Layer, pattern: FilePattern, operation: FileOperation) {
        self.add(FileBehaviour {
            layer,
            pattern,
            operation,
        });
    }

    fn cap(&mut self, name: &str, namespace: UserNamespace, outcome: CapOutcome) {
        self.add(CapBehaviour {
            capability: name.parse().expect("a capability"),
            namespace,
            outcome,
        });
    }

    fn call(&mut self, abi: SyscallAbi, name: &str, phase: SyscallPhase) {
        let number = syscall_name::number(abi, name).expect("a system call");
        self.add(SyscallBehaviour { abi, number, phase });
    }

    fn source(&self) -> Source<'_> {
        Source {
            digest: &self.digest,
            image: &self.image,
            role: &self.role,
            profile: &self.profile,
        }
    }

    fn export(&self, format: Format) -> String {
        export(&self.source(), format).expect("can be exported").text
    }
}

fn program(path: &str, applet: Option<&str>) -> ExecBehaviour {
    ExecBehaviour {
        layer: Layer::Image,
        path: path.into(),
        applet: applet.map(Into::into),
    }
}

fn exact(path: &str) -> FilePattern {
    FilePattern::Exact(path.into())
}

fn rule(text: &str) -> FilePattern {
    FilePattern::Pattern(text.parse().expect("a rule"))
}

#[test]
fn a_server_for_container_runtimes() {
    let export = export(&Sample::server().source(), Format::Seccomp).expect("was learned");
    insta::assert_snapshot!(format!("{}{}", export.text, export.notes.join("\n")));
}

/// What was learned by one interface is allowed by the other, which is told, and what has no name is left out.
#[test]
fn a_filter_has_names_for_all_its_interfaces() {
    let mut sample = Sample::new("/init");
    for (abi, name) in [
        (SyscallAbi::X86_64, "read"),
        (SyscallAbi::X86_64, "mount"),
        (SyscallAbi::I386, "read"),
        (SyscallAbi::I386, "waitpid"),
        (SyscallAbi::I386, "clone3"),
    ] {
        sample.call(abi, name, SyscallPhase::Program);
    }
    for number in [SYSCALL_OUT_OF_RANGE, 999] {
        let (abi, phase) = (SyscallAbi::X86_64, SyscallPhase::Program);
        sample.add(SyscallBehaviour { abi, number, phase });
    }
    let exported = export(&sample.source(), Format::Seccomp).expect("was learned");
    let filter: serde_json::Value = serde_json::from_str(&exported.text).expect("is JSON");
    let architectures = serde_json::json!(["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]);
    assert_eq!(filter["architectures"], architectures);
    let learned = serde_json::json!(["clone3", "mount", "read", "waitpid"]);
    assert_eq!(filter["syscalls"][0]["names"], learned);
    let notes = exported.notes.join("\n");
    assert!(
        notes.contains("learned by some of them alone: clone3, mount.\n"),
        "{notes}"
    );
    assert!(
        notes.contains("none here: out_of_range (x86_64), syscall_999 (x86_64).\n"),
        "{notes}"
    );
    let rules = filter["syscalls"].as_array().expect("rules");
    let newer = rules.last().expect("rules")["names"].as_array().expect("names");
    assert!(newer.contains(&"mseal".into()), "{newer:?}");
    for allowed in ["clone3", "openat2", "rt_sigaction"] {
        assert!(!newer.contains(&allowed.into()), "{allowed}: {newer:?}");
    }
}

#[test]
fn a_filter_of_nothing_is_refused() {
    let sample = Sample::new("/init");
    let error = export(&sample.source(), Format::Seccomp).expect_err("was never learned");
    assert!(error.to_string().contains("domain syscall"), "{error}");
}

#[test]
fn a_server_for_kubernetes() {
    insta::assert_snapshot!(Sample::server().export(Format::SecurityContext));
}

#[test]
fn a_server_for_apparmor() {
    insta::assert_snapshot!(Sample::server().export(Format::AppArmor));
}

#[test]
fn a_server_for_selinux() {
    insta::assert_snapshot!(Sample::server().export(Format::SeLinux));
}

#[test]
fn what_was_never_learned_is_not_restricted() {
    let sample = Sample::new("/init");
    let text = sample.export(Format::SecurityContext);
    for field in [
        "\n  capabilities:",
        "\n  readOnlyRootFilesystem",
        "\n  runAsNonRoot",
    ] {
        assert!(!text.contains(field), "{field}: {text}");
    }
    let text = sample.export(Format::AppArmor);
    assert!(text.contains("\n  capability,\n"), "{text}");
    assert!(text.contains("\n  \"/**\" rwmk,\n"), "{text}");
    let text = sample.export(Format::SeLinux);
    assert!(
        text.contains("(allow process process (cap2_userns (all)))"),
        "{text}"
    );
}

#[test]
fn a_root_filesystem_is_for_reading_if_nothing_wrote_to_it() {
    let is_read_only = |sample: &Sample| {
        sample
            .export(Format::SecurityContext)
            .contains("\n  readOnlyRootFilesystem: true\n")
    };
    let mut sample = Sample::new("/init");
    sample.file(Layer::Image, exact("/etc/passwd"), FileOperation::Read);
    sample.file(Layer::Volume, exact("/data/x"), FileOperation::Create);
    assert!(is_read_only(&sample));
    for (layer, operation) in [
        (Layer::Upper, FileOperation::Create),
        (Layer::Image, FileOperation::Write),
        (Layer::Unknown, FileOperation::Rename),
    ] {
        let mut sample = Sample::new("/init");
        sample.file(layer, exact("/srv/x"), operation);
        assert!(!is_read_only(&sample), "{layer} {operation}");
        assert!(
            sample
                .export(Format::SecurityContext)
                .contains("written to in /srv.")
        );
    }
}

#[test]
fn escalation_is_ruled_out_unless_something_seems_to_need_it() {
    let is_ruled_out = |sample: &Sample| {
        sample
            .export(Format::SecurityContext)
            .contains("\n  allowPrivilegeEscalation: false\n")
    };
    let mut sample = Sample::new("/init");
    sample.exec("/bin/sh", None);
    assert!(is_ruled_out(&sample));
    sample.exec_in("/usr/bin/sudo", false);
    assert!(is_ruled_out(&sample), "what is only proposed does not count");
    sample.exec_in("/usr/bin/sudo", true);
    assert!(!is_ruled_out(&sample));
    let mut sample = Sample::new("/init");
    sample.exec("/bin/busybox", Some("su"));
    assert!(!is_ruled_out(&sample));
    let mut sample = Sample::new("/init");
    sample.cap("CAP_SYS_ADMIN", UserNamespace::Initial, CapOutcome::Granted);
    assert!(!is_ruled_out(&sample));
}

#[test]
fn each_role_has_a_name_of_its_own() {
    let name = |role: &str| Sample::new(role).source().name();
    assert_eq!(name("/usr/sbin/nginx"), "driftlock-0123456789ab-usr-sbin-nginx");
    let roles = [
        "/a/b", "/a-b", "/a.b", "/a_b", "/A/b", "a/b", "/a b", "/a\nb", "/é", "/è", "/",
    ];
    let long: Vec<String> = ["x", "y"].map(|end| "/a".repeat(300) + end).into();
    let names: BTreeSet<String> = roles
        .iter()
        .copied()
        .chain(long.iter().map(String::as_str))
        .map(name)
        .collect();
    assert_eq!(names.len(), roles.len() + long.len(), "{names:?}");
    assert!(names.iter().all(|name| {
        name.len() < 200
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    }));
}

proptest! {
    /// Whatever a container called its files: one line per rule, comments stay comments, and the same each time.
    #[test]
    fn hostile_names_stay_within_their_lines(document in document()) {
        for (role, profile) in &document.roles {
            let source = Source { digest: &document.digest, image: &document.image, role, profile };
            for format in Format::ALL {
                let Ok(exported) = export(&source, format) else { continue };
                prop_assert_eq!(export(&source, format).expect("as before").text, exported.text.clone());
                let acts = ['\r', '\t', '\0', '\u{85}', '\u{2028}'];
                prop_assert!(!exported.text.contains(acts));
                if format == Format::AppArmor {
                    let rules = exported.text.lines().filter(|line| !line.starts_with('#'));
                    for line in rules {
                        prop_assert!(line.is_ascii(), "{}", line);
                        prop_assert!(line.matches('"').count() % 2 == 0, "{}", line);
                    }
                }
                if format == Format::SecurityContext {
                    let read: serde_json::Value = serde_saphyr::from_str(&exported.text).expect("is YAML");
                    prop_assert!(read["securityContext"].is_object());
                }
            }
        }
    }
}
