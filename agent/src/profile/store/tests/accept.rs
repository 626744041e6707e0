use agent_common::domain::Section;
use agent_common::file::Layer;

use super::*;
use crate::profile::model::{BehaviourError, ContentHash};
use crate::text::ByteText;

#[test]
fn removing_a_profile_leaves_its_neighbours_alone() {
    let (mut store, _directory) = store();
    for number in 1..=3 {
        let mut batch = [
            observation("/bin/a", Section::Main),
            observation("/bin/a", Section::ExecIn),
        ];
        for item in &mut batch {
            item.key = key(number, "/init");
        }
        store.learn(&batch).expect("learns");
        store
            .accept_drift(
                &key(number, "/init"),
                Layer::Volume,
                &"/job".into(),
                ContentHash([1; 32]),
                "",
            )
            .expect("accepts");
    }
    store.remove(&key(2, "/init")).expect("removes");
    let store = reopen(store);
    let left: Vec<_> = store.profiles().map(|profile| profile.id).collect();
    assert_eq!(left, [1, 3]);
    for profile in store.profiles() {
        assert_eq!(
            (profile.main.len(), profile.exec_in.len(), profile.drift.len()),
            (1, 1, 1)
        );
    }
}

#[test]
fn accepting_is_by_path_or_by_path_and_content() {
    let (mut store, _directory) = store();
    let key = key(1, "/init");
    assert!(matches!(
        store.accept_main(&key, &behaviour("/bin/a")),
        Err(StoreError::NoProfile { .. })
    ));
    store.ensure(&key, false).expect("creates");
    assert!(store.accept_main(&key, &behaviour("/bin/a")).expect("accepts"));
    assert!(!store.accept_main(&key, &behaviour("/bin/a")).expect("answers"));
    let sh = [behaviour("/bin/sh")];
    assert_eq!(store.accept_exec_in(&key, &sh).expect("accepts"), 1);
    assert_eq!(store.accept_exec_in(&key, &sh).expect("answers"), 0);

    let path = ByteText::from("/job/init");
    for layer in [Layer::Foreign, Layer::Anonymous, Layer::Image, Layer::Unknown] {
        let result = store.accept_drift(&key, layer, &path, ContentHash([1; 32]), "");
        assert!(matches!(
            result,
            Err(StoreError::Behaviour {
                source: BehaviourError::NeverAccepted { .. },
                ..
            })
        ));
    }
    for byte in [1, 2, 1] {
        let changed = store
            .accept_drift(&key, Layer::Volume, &path, ContentHash([byte; 32]), "runner")
            .expect("accepts");
        let is_first = store.profile(&key).expect("there").drift[&(Layer::Volume, path.clone())]
            .sha256
            .len()
            == usize::from(byte);
        assert_eq!(changed, is_first);
    }
    let mut store = reopen(store);
    let profile = store.profile(&key).expect("there");
    assert_eq!(profile.rules().count(), 2);
    assert!(profile.accepts_drift(Layer::Volume, &path, &ContentHash([2; 32])));
    assert!(!profile.accepts_drift(Layer::Volume, &path, &ContentHash([3; 32])));
    assert!(!profile.accepts_drift(Layer::Upper, &path, &ContentHash([2; 32])));

    assert!(store.forget_drift(&key, Layer::Volume, &path).expect("forgets"));
    assert!(!store.forget_drift(&key, Layer::Volume, &path).expect("answers"));
    for section in [Section::Main, Section::ExecIn] {
        let path = if section == Section::Main {
            "/bin/a"
        } else {
            "/bin/sh"
        };
        assert!(store.forget(&key, section, &behaviour(path)).expect("forgets"));
        assert!(!store.forget(&key, section, &behaviour(path)).expect("answers"));
    }
    assert!(reopen(store).profile(&key).expect("there").is_empty());
}

#[test]
fn an_approval_covers_what_was_there() {
    let (mut store, _directory) = store();
    let key = key(1, "/init");
    store
        .learn(&[observation("/bin/a", Section::Main)])
        .expect("learns");
    assert!(store.approve(&key, true).expect("approves"));
    assert!(!store.approve(&key, true).expect("answers"));
    let approved = |store: &ProfileStore| store.profile(&key).expect("there").approved;

    store
        .learn(&[observation("/bin/a", Section::Main)])
        .expect("learns");
    store
        .learn(&[observation("/bin/b", Section::ExecIn)])
        .expect("learns");
    assert!(approved(&store), "a proposal permits nothing");
    store
        .learn(&[observation("/bin/b", Section::Main)])
        .expect("learns");
    assert!(!approved(&store));
    assert!(!approved(&reopen(store)));
}
