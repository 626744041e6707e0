//! Tests of profiles in memory.

use agent_common::cap::{CapOutcome, UserNamespace};

use super::*;
use crate::behaviour::{CapBehaviour, Capability};

const SOME_CAP: Behaviour = Behaviour::Cap(CapBehaviour {
    capability: Capability::FIRST,
    namespace: UserNamespace::Initial,
    outcome: CapOutcome::Granted,
});

fn profile() -> Profile {
    let digest = format!("sha256:{}", "0".repeat(64)).parse().expect("a digest");
    let role = Role::new("/bin/sh".into()).expect("a role");
    Profile::new(1, ProfileKey { digest, role })
}

fn exact(layer: Layer, path: &str, operation: FileOperation) -> Behaviour {
    Behaviour::File(FileBehaviour {
        layer,
        pattern: FilePattern::Exact(path.into()),
        operation,
    })
}

fn rule(layer: Layer, text: &str, operation: FileOperation) -> FileBehaviour {
    FileBehaviour {
        layer,
        pattern: FilePattern::Pattern(text.parse().expect("a rule")),
        operation,
    }
}

#[test]
fn a_rule_for_several_paths_permits_those_of_its_layer_and_operation() {
    use FileOperation::{Create, Read};
    use Layer::{Anonymous, Image, Upper, Volume};
    let mut profile = profile();
    let temporary = rule(Upper, "/tmp/cc{random}.s", Create);
    let below = rule(Anonymous, "/data/**", Read);
    for held in [
        Behaviour::File(temporary.clone()),
        Behaviour::File(below.clone()),
        exact(Image, "/etc/passwd", Read),
        exact(Upper, "/zzz", Create),
        exact(Volume, "/a", Read),
        SOME_CAP,
    ] {
        profile.main.insert(held, Evidence::of_windows(2));
    }
    let permitting = |behaviour: Behaviour| profile.permitting(Section::Main, &behaviour);
    let one = exact(Upper, "/tmp/ccZ1q2Xy.s", Create);
    assert_eq!(permitting(one.clone()), Some(temporary.clone().into()));
    assert_eq!(profile.holds(Section::Main, &one), Holding::Yes);
    assert_eq!(profile.holds(Section::ExecIn, &one), Holding::No);
    assert_eq!(
        permitting(exact(Anonymous, "/data/a/b", Read)),
        Some(below.into())
    );
    let passwd = exact(Image, "/etc/passwd", Read);
    assert_eq!(permitting(passwd.clone()), Some(passwd));
    for other in [
        exact(Volume, "/tmp/ccZ1q2Xy.s", Create),
        exact(Upper, "/tmp/ccZ1q2Xy.s", Read),
        exact(Upper, "/tmp/ccache.s", Create),
        exact(Anonymous, "/data", Read),
    ] {
        assert_eq!(permitting(other.clone()), None, "{other}");
    }
    profile
        .exec_in
        .insert(temporary.clone().into(), ExecInEntry::default());
    assert_eq!(
        profile.holds(Section::ExecIn, &one),
        Holding::No,
        "a proposal permits nothing"
    );
    assert_eq!(profile.support(Section::Main, &temporary), (0, 0));
    profile.main.insert(one, Evidence::of_windows(3));
    let other = exact(Upper, "/tmp/cc1q2Xy3.s", Create);
    profile.main.insert(other, Evidence::of_windows(4));
    assert_eq!(profile.support(Section::Main, &temporary), (2, 7));
    assert_eq!(profile.support(Section::ExecIn, &temporary), (0, 0));
}

#[test]
fn the_domains_are_counted_apart() {
    let mut profile = profile();
    profile.main.insert(SOME_CAP, Evidence::of_windows(10));
    profile.counts.cap.windows = 10;
    assert_eq!(profile.coverage(Domain::Cap), Some(1.0));
    assert_eq!(profile.coverage(Domain::File), None);
    assert!(profile.tells_of(Domain::Cap) && !profile.tells_of(Domain::File));
    profile.counts.file.instances = 1;
    assert!(
        profile.tells_of(Domain::File),
        "it was observed, and used no file"
    );
    assert_eq!(
        [Domain::Exec, Domain::File, Domain::Cap].map(|domain| profile.len(Section::Main, domain)),
        [0, 0, 1]
    );
}
