use agent_common::cap::{CapOutcome, UserNamespace};
use agent_common::file::{FileOperation, Layer};
use proptest::prelude::*;

use super::*;
use crate::behaviour::{CapBehaviour, ExecBehaviour, FileBehaviour, FilePattern};
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
