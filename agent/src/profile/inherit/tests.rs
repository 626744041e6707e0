//! Tests of what is inherited: which image is the one before, and that nothing is taken over that is not the same.

use agent_common::cap::{CapOutcome, UserNamespace};
use agent_common::domain::Section;
use agent_common::file::FileOperation;
use proptest::prelude::*;

use super::*;
use crate::behaviour::{CapBehaviour, Capability};
use crate::profile::document::tests::document;
use crate::profile::model::{ContentHash, Evidence, ExecInEntry, ProfileKey, Role};

fn digest(number: u8) -> ImageDigest {
    format!("sha256:{number:064x}").parse().expect("a digest")
}

fn references(texts: &[&str]) -> BTreeSet<String> {
    texts.iter().map(ToString::to_string).collect()
}

fn before(own: &[&str], images: &[(u8, &[&str], u64)]) -> Option<ImageDigest> {
    let images: Vec<_> = images
        .iter()
        .map(|(number, texts, seen)| (digest(*number), references(texts), *seen))
        .collect();
    let own: Vec<String> = references(own).into_iter().collect();
    let candidates = images.iter().map(|(digest, references, seen)| Candidate {
        digest,
        references,
        seen: *seen,
    });
    predecessor(&own, candidates).cloned()
}

#[test]
fn the_same_reference_goes_before_the_same_repository_and_then_the_last_one_seen() {
    let images: &[(u8, &[&str], u64)] = &[
        (1, &["nginx:1.26"], 1),
        (2, &["docker.io/library/nginx:1.27"], 3),
        (3, &["nginx:1.25"], 2),
        (4, &["team/nginx:1.27"], 9),
    ];
    assert_eq!(
        before(&["nginx:1.28"], images),
        Some(digest(2)),
        "the last one seen"
    );
    assert_eq!(before(&["nginx:1.26"], images), Some(digest(1)), "pushed again");
    assert_eq!(before(&["team/nginx:2"], images), Some(digest(4)));
    assert_eq!(before(&["redis:7"], images), None);
    assert_eq!(before(&[], images), None);
    assert_eq!(
        before(&["sha256:00"], &[(1, &["sha256:01"], 1)]),
        None,
        "a digest is no name"
    );
}

fn exec(layer: Layer, path: &str) -> Behaviour {
    let path = path.into();
    Behaviour::Exec(ExecBehaviour {
        layer,
        path,
        applet: None,
    })
}

fn file(layer: Layer, pattern: FilePattern) -> Behaviour {
    Behaviour::File(FileBehaviour {
        layer,
        pattern,
        operation: FileOperation::Read,
    })
}

fn exact(path: &str) -> FilePattern {
    FilePattern::Exact(path.into())
}

fn empty() -> Profile {
    let role = Role::new("/init".into()).expect("a role");
    let digest = digest(1);
    Profile::new(1, ProfileKey { digest, role })
}

#[test]
fn what_names_no_file_of_the_image_is_taken_over_and_proposals_are_not() {
    let cap = Behaviour::Cap(CapBehaviour {
        capability: Capability::from_raw(13).expect("a capability"),
        namespace: UserNamespace::Initial,
        outcome: CapOutcome::Granted,
    });
    let rule = file(
        Layer::Image,
        FilePattern::Pattern("/usr/share/**".parse().expect("a rule")),
    );
    let taken = [
        exec(Layer::Image, "/bin/same"),
        file(Layer::Image, exact("/etc/same")),
        rule,
        file(Layer::Upper, exact("/etc/changed")),
        file(Layer::Volume, exact("/data/x")),
        cap,
    ];
    let left = [
        exec(Layer::Image, "/bin/changed"),
        exec(Layer::Image, "/bin/new"),
        exec(Layer::Image, "/bin/absent"),
        exec(Layer::Image, "/bin/not-compared"),
        exec(Layer::Unknown, "/bin/same"),
        file(Layer::Image, exact("/etc/changed")),
    ];
    let mut before = empty();
    let main = taken.iter().chain(&left);
    before.main = main
        .map(|behaviour| (behaviour.clone(), Evidence::of_windows(3)))
        .collect();
    for (path, accepted) in [
        ("/bin/same", true),
        ("/bin/changed", true),
        ("/bin/proposed", false),
    ] {
        let evidence = Evidence::default();
        before
            .exec_in
            .insert(exec(Layer::Image, path), ExecInEntry { evidence, accepted });
    }
    let drift = AcceptedDrift {
        sha256: [ContentHash([7; 32])].into(),
        note: String::new(),
    };
    before.drift.insert((Layer::Volume, "/job".into()), drift);
    let likeness = |path: &ByteText| match path.to_string().rsplit('/').next() {
        Some("same" | "proposed") => Some(Likeness::Same),
        Some("changed") => Some(Likeness::Changed),
        Some("new") => Some(Likeness::New),
        Some("absent") => Some(Likeness::Absent),
        _ => None,
    };
    let found = Inheritance::new(&before, likeness);
    assert_eq!(BTreeSet::from_iter(found.main.clone()), taken.into());
    assert_eq!(found.exec_in, [exec(Layer::Image, "/bin/same")]);
    assert_eq!(found.drift, before.drift);
    assert_eq!(found.left_out, left.len() + 1);
    assert_eq!((found.len(), found.is_empty()), (7, false));
    assert!(Inheritance::new(&empty(), likeness).is_empty());
}

#[test]
fn only_what_is_known_to_have_changed_is_learned() {
    use Likeness::{Absent, Changed, New, Same};
    for (subject, program, expected) in [
        (Some(Changed), Some(Same), true),
        (Some(New), None, true),
        (Some(Same), Some(Changed), true),
        (None, Some(New), true),
        (Some(Same), Some(Same), false),
        (Some(Absent), Some(Absent), false),
        (None, None, false),
    ] {
        assert_eq!(
            is_about_change(subject, program),
            expected,
            "{subject:?} {program:?}"
        );
    }
}

proptest! {
    #[test]
    fn nothing_is_taken_over_that_the_image_before_did_not_permit_or_that_changed(
        document in document(),
        answers in prop::collection::vec(0..5_u8, 16),
    ) {
        for profile in document.roles.values() {
            let mut before = empty();
            before.main = profile.main.clone().into_iter().collect();
            before.exec_in = profile.exec_in.clone().into_iter().collect();
            before.drift.clone_from(&profile.drift);
            let likeness = |path: &ByteText| {
                let sum = path.as_bytes().iter().fold(0_usize, |sum, byte| sum + usize::from(*byte));
                match answers[sum % answers.len()] {
                    0 | 1 => Some(Likeness::Same),
                    2 => Some(Likeness::Changed),
                    3 => Some(Likeness::New),
                    _ => None,
                }
            };
            let found = Inheritance::new(&before, likeness);
            let all = found.main.iter().map(|behaviour| (Section::Main, behaviour));
            let all = all.chain(found.exec_in.iter().map(|behaviour| (Section::ExecIn, behaviour)));
            let rules: BTreeSet<_> = before.rules().collect();
            let mut number = 0;
            for (section, behaviour) in all {
                prop_assert!(rules.contains(&(section, behaviour.clone())));
                if let Some(path) = image_file(behaviour) {
                    prop_assert_eq!(likeness(path), Some(Likeness::Same));
                }
                number += 1;
            }
            prop_assert_eq!(number + found.left_out, rules.len());
            let files = image_files(&before);
            prop_assert!(rules.iter().filter_map(|(_, behaviour)| image_file(behaviour)).all(|path| files.contains(path)));
        }
    }
}
