use agent_common::domain::{Domain, Section};
use agent_common::file::{FileOperation, Layer};

use super::*;
use crate::profile::model::{
    BEHAVIOURS_MAX, BehaviourError, FILE_BEHAVIOURS_MAX, Holding, ObservationCounts, REFERENCES_MAX,
    WindowCounts,
};

#[test]
fn learns_a_batch_once_and_keeps_it() {
    let (mut store, _directory) = store();
    let batch = [
        observation("/bin/a", Section::Main),
        observation("/bin/b", Section::ExecIn),
        observation("/bin/a", Section::Main),
    ];
    let learned = store.learn(&batch).expect("learns");
    assert_eq!(learned, [Learned::New, Learned::New, Learned::Known]);
    assert_eq!(
        store.learn(&batch).expect("learns"),
        [const { Learned::Known }; 3]
    );

    let before: Vec<Profile> = store.profiles().cloned().collect();
    let store = reopen(store);
    assert_eq!(store.profiles().cloned().collect::<Vec<_>>(), before);
    let profile = store.profile(&key(1, "/init")).expect("learned");
    assert_eq!(profile.holds(Section::Main, &behaviour("/bin/a")), Holding::Yes);
    assert_eq!(profile.holds(Section::ExecIn, &behaviour("/bin/a")), Holding::No);
    assert_eq!(
        profile.holds(Section::ExecIn, &behaviour("/bin/b")),
        Holding::ProposedOnly
    );
    assert_eq!(
        profile.rules().collect::<Vec<_>>(),
        [(Section::Main, behaviour("/bin/a"))]
    );
}

#[test]
fn never_learns_drift_nor_paths_that_no_kernel_walks() {
    let (mut store, _directory) = store();
    for layer in [Layer::Upper, Layer::Volume, Layer::Foreign, Layer::Anonymous] {
        let mut drift = observation("/bin/a", Section::Main);
        drift.behaviour = program(layer, "/bin/a");
        let learned = store.learn(&[drift]).expect("answers");
        assert_eq!(learned, [Learned::Refused(BehaviourError::Drift { layer })]);
    }
    for path in [
        "",
        "bin/a",
        "/",
        "/bin//a",
        "/bin/",
        "/bin/../a",
        "/./a",
        "/a\0",
        ".../a",
    ] {
        let learned = store.learn(&[observation(path, Section::Main)]).expect("answers");
        assert!(
            matches!(&learned[..], [Learned::Refused(BehaviourError::Path { .. })]),
            "{path:?}"
        );
    }
    assert_eq!(store.profiles().count(), 0, "a refusal creates no profile");
}

#[test]
fn files_of_every_layer_and_capabilities_are_learned_and_kept() {
    let (mut store, _directory) = store();
    let key = key(1, "/init");
    let observe = |section, behaviour| Observation {
        key: key.clone(),
        section,
        behaviour,
    };
    let mut behaviours: Vec<Behaviour> = vec![cap(13), cap(63)];
    for &layer in Layer::ALL {
        for &operation in FileOperation::ALL {
            behaviours.push(file(layer, "/etc/passwd", operation));
        }
    }
    behaviours.push(Behaviour::File(FileBehaviour {
        layer: Layer::Upper,
        pattern: FilePattern::Pattern("/tmp/\\xff-{random}".parse().expect("a rule")),
        operation: FileOperation::Create,
    }));
    let batch: Vec<_> = [Section::Main, Section::ExecIn]
        .into_iter()
        .flat_map(|section| behaviours.iter().map(move |one| (section, one.clone())))
        .map(|(section, behaviour)| observe(section, behaviour))
        .collect();
    let learned = store.learn(&batch).expect("learns");
    assert!(
        learned.iter().all(|answer| *answer == Learned::New),
        "{learned:?}"
    );
    let odd = [observe(
        Section::Main,
        file(Layer::Volume, "etc/..", FileOperation::Read),
    )];
    let refused = store.learn(&odd).expect("answers");
    assert!(
        matches!(&refused[..], [Learned::Refused(BehaviourError::Path { .. })]),
        "{refused:?}"
    );
    let gain = EvidenceGain {
        key: key.clone(),
        section: Section::ExecIn,
        behaviour: behaviours[5].clone(),
        windows: 3,
    };
    store.add_windows(&[gain], &[]).expect("adds");
    let accepted = store.accept_exec_in(&key, &behaviours[..3]).expect("accepts");
    assert_eq!(accepted, 3);
    let again = store.accept_exec_in(&key, &behaviours[..4]).expect("accepts");
    assert_eq!(again, 1);
    assert!(
        store
            .forget(&key, Section::Main, &behaviours[1])
            .expect("forgets")
    );
    let before = store.profile(&key).cloned();
    let mut store = reopen(store);
    let profile = store.profile(&key);
    assert_eq!(profile, before.as_ref());
    let profile = profile.expect("is there");
    assert_eq!(profile.len(Section::Main, Domain::File), behaviours.len() - 2);
    assert_eq!(profile.len(Section::Main, Domain::Cap), 1);
    assert_eq!(profile.len(Section::Main, Domain::Exec), 0);
    assert_eq!(held(&profile.exec_in, &behaviours[5]).evidence.windows, 3);
    assert!(held(&profile.exec_in, &behaviours[0]).accepted);
    store.remove(&key).expect("removes");
    assert!(
        reopen(store).profile(&key).is_none(),
        "no row is left without an owner"
    );
}

#[test]
fn files_do_not_take_the_room_of_programs() {
    let (mut store, _directory) = store();
    let batch: Vec<_> = (0..=FILE_BEHAVIOURS_MAX)
        .map(|number| Observation {
            behaviour: file(Layer::Upper, &format!("/{number}"), FileOperation::Read),
            ..observation("", Section::Main)
        })
        .collect();
    let learned = store.learn(&batch).expect("learns");
    assert_eq!(
        learned.iter().filter(|answer| **answer == Learned::Full).count(),
        1
    );
    let program = store.learn(&[observation("/bin/a", Section::Main)]);
    assert_eq!(program.expect("learns"), [Learned::New]);
    let accepted = store.accept_main(&key(1, "/init"), &batch[FILE_BEHAVIOURS_MAX].behaviour);
    assert!(matches!(
        accepted,
        Err(StoreError::Full {
            limit: FILE_BEHAVIOURS_MAX,
            ..
        })
    ));
}

#[test]
fn a_section_ends_at_its_bound() {
    let (mut store, _directory) = store();
    let batch: Vec<Observation> = (0..=BEHAVIOURS_MAX)
        .map(|number| observation(&format!("/bin/{number}"), Section::Main))
        .collect();
    let (first, second) = batch.split_at(100);
    store.learn(first).expect("learns");
    let learned = store.learn(second).expect("learns");
    assert_eq!(
        learned.iter().filter(|answer| **answer == Learned::Full).count(),
        1
    );
    assert_eq!(learned.last(), Some(&Learned::Full));
    assert_eq!(store.learn(&batch[..1]).expect("answers"), [Learned::Known]);
}

#[test]
fn numbers_are_never_used_again() {
    let (mut store, _directory) = store();
    let first = store.ensure(&key(1, "/init"), false).expect("creates");
    assert_eq!(first, 1);
    assert_eq!(store.ensure(&key(1, "/init"), false).expect("finds"), first);
    assert_eq!(store.remove(&key(1, "/init")).expect("removes"), first);
    assert!(store.profile_by_id(first).is_none());
    let mut store = reopen(store);
    let second = store.ensure(&key(1, "/init"), false).expect("creates");
    assert_eq!(second, 2);
    assert_eq!(
        store.profile_by_id(second).map(|profile| &profile.key),
        Some(&key(1, "/init"))
    );
}

#[test]
fn a_window_brings_evidence_and_counts_together() {
    let (mut store, _directory) = store();
    store
        .learn(&[
            observation("/bin/a", Section::Main),
            observation("/bin/b", Section::ExecIn),
        ])
        .expect("learns");
    let gain = |path: &str, section, windows| EvidenceGain {
        key: key(1, "/init"),
        section,
        behaviour: behaviour(path),
        windows,
    };
    let counts = ObservationCounts {
        exec: WindowCounts {
            instances: 1,
            windows: 3,
            lost_windows: 1,
            lost_records: 9,
            starts: 1,
            ends: 1,
        },
        ..ObservationCounts::default()
    };
    let evidence = [
        gain("/bin/a", Section::Main, 2),
        gain("/bin/a", Section::Main, 1),
        gain("/bin/b", Section::ExecIn, 5),
        gain("/bin/gone", Section::Main, 1),
    ];
    store
        .add_windows(&evidence, &[(key(1, "/init"), counts), (key(7, "/gone"), counts)])
        .expect("adds");
    store.count_windows(&key(1, "/init"), counts).expect("adds");
    let store = reopen(store);
    let profile = store.profile(&key(1, "/init")).expect("there");
    assert_eq!(held(&profile.main, &behaviour("/bin/a")).windows, 3);
    assert_eq!(held(&profile.exec_in, &behaviour("/bin/b")).evidence.windows, 5);
    assert!(!held(&profile.exec_in, &behaviour("/bin/b")).accepted);
    assert_eq!(profile.main.len(), 1);
    assert_eq!(
        (profile.counts.exec.windows, profile.counts.exec.lost_records),
        (6, 18)
    );
    assert_eq!((profile.counts.exec.starts, profile.counts.exec.ends), (2, 2));
    assert_eq!(store.profiles().count(), 1);
}

#[test]
fn references_are_kept_up_to_their_bound() {
    let (mut store, _directory) = store();
    for number in 0..REFERENCES_MAX + 5 {
        let reference = format!("app:{number}");
        store
            .add_reference(&digest(1), Some(&reference), Some(&digest(9)))
            .expect("adds");
    }
    let store = reopen(store);
    let record = store.image(&digest(1)).expect("there");
    assert_eq!(
        (record.references.len(), record.manifests.len()),
        (REFERENCES_MAX, 1)
    );
}

#[test]
fn whether_a_profile_tells_of_scripts_is_settled_by_its_first_behaviour() {
    let (mut store, _directory) = store();
    let key = key(1, "/init");
    let scripts = |store: &ProfileStore| store.profile(&key).expect("there").scripts;
    store.ensure(&key, false).expect("creates");
    assert!(!scripts(&store));
    let number = store.ensure(&key, true).expect("begins");
    assert!(scripts(&store), "it holds nothing yet");
    let observation = Observation {
        key: key.clone(),
        section: Section::Main,
        behaviour: behaviour("/bin/a"),
    };
    store.learn(&[observation]).expect("learns");
    assert_eq!(store.ensure(&key, false).expect("finds"), number);
    assert!(scripts(&store));
    store.approve(&key, true).expect("approves");
    assert!(scripts(&reopen(store)));
}
