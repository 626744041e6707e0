use agent_common::domain::Section;
use agent_common::file::Layer;
use proptest::prelude::*;

use super::*;
use crate::profile::document::tests::document;
use crate::profile::{BehaviourError, ContentHash, Evidence, ProfileDocument, SignedDocument};
use crate::signature::tests::secret;
use crate::signature::{Prehash, Signature};

#[test]
fn an_import_replaces_an_image_and_keeps_its_numbers() {
    let (mut store, _directory) = store();
    let learn = |store: &mut ProfileStore, role: &str, path: &str| {
        let observation = Observation {
            key: key(1, role),
            section: Section::Main,
            behaviour: behaviour(path),
        };
        store.learn(&[observation]).expect("learns");
    };
    learn(&mut store, "/same", "/bin/a");
    learn(&mut store, "/changes", "/bin/a");
    let kept = store.export(&digest(1)).expect("is known");
    learn(&mut store, "/changes", "/bin/b");
    learn(&mut store, "/goes", "/bin/a");
    store
        .accept_drift(
            &key(1, "/changes"),
            Layer::Volume,
            &"/job".into(),
            ContentHash([1; 32]),
            "",
        )
        .expect("accepts");
    store
        .add_reference(&digest(1), Some("app:1"), None)
        .expect("adds");
    store.ensure(&key(2, "/other"), false).expect("creates");

    let mut document = kept.clone();
    let profile = document.roles.values().next().expect("a role").clone();
    document.roles.insert(key(1, "/new").role, profile);
    let role = |path: &str| key(1, path).role;
    let summary = store.import(&document).expect("imports");
    assert_eq!(summary.unchanged, [(role("/same"), 1)]);
    assert_eq!(summary.replaced, [(role("/changes"), 2)]);
    assert_eq!(summary.removed, [(role("/goes"), 3)]);
    assert_eq!(summary.created, [(role("/new"), 5)]);

    let mut store = reopen(store);
    assert_eq!(store.export(&digest(1)), Some(document));
    assert_eq!(store.profile(&key(2, "/other")).expect("untouched").id, 4);
    assert_eq!(
        store.ensure(&key(1, "/goes"), false).expect("creates"),
        6,
        "3 is not used again"
    );

    let again = store.export(&digest(1)).expect("is known");
    let summary = store.import(&again).expect("imports");
    assert_eq!(summary.unchanged.len(), 4);
    assert!(store.export(&digest(3)).is_none());
}

#[test]
fn what_may_not_be_learned_cannot_be_imported_either() {
    let (mut store, _directory) = store();
    store.ensure(&key(1, "/init"), false).expect("creates");
    let mut document = store.export(&digest(1)).expect("is known");
    let profile = document.roles.values_mut().next().expect("a role");
    let drift = program(Layer::Upper, "/bin/a");
    profile.main.insert(drift, Evidence::default());
    assert!(matches!(
        store.import(&document),
        Err(StoreError::Behaviour {
            source: BehaviourError::Drift { layer: Layer::Upper },
            ..
        })
    ));
    assert!(store.profile(&key(1, "/init")).expect("there").is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn exported_bytes_come_back_through_the_file(document in document(), other in document()) {
        let (mut store, _directory) = store();
        let bytes = document.render().expect("renders");
        let read = ProfileDocument::parse(bytes.as_bytes(), "test").expect("reads");
        store.import(&ProfileDocument { digest: read.digest.clone(), ..other.clone() }).expect("imports");
        store.import(&other).expect("imports");
        store.import(&read).expect("imports");
        let store = reopen(store);
        let exported = store.export(&document.digest).expect("is known");
        prop_assert_eq!(exported.render().expect("renders"), bytes);
        prop_assert_eq!(store.export(&other.digest), Some(other));
    }
}

/// The bytes that were signed are kept with the signature, until another document takes their place.
#[test]
fn a_signature_is_kept_with_what_it_is_of() {
    let (mut store, _directory) = store();
    store
        .learn(&[observation("/bin/a", Section::Main)])
        .expect("learns");
    let document = store.export(&digest(1)).expect("is known");
    // The file need not be canonical: its own bytes are what was signed.
    let bytes = format!("# reviewed\n{}", document.render().expect("a document"));
    let signature = Signature::sign(&secret(), &Prehash::of(bytes.as_bytes()), "by ops").expect("signed");
    let signed = SignedDocument::new(&document, bytes.as_bytes(), signature);
    store
        .import_signed(&document, bytes.as_bytes(), signed.clone())
        .expect("imports");
    let mut store = reopen(store);
    assert_eq!(store.signed(&digest(1)), Some(&signed));
    let kept = store.signed(&digest(1)).expect("kept");
    assert_eq!(kept.verify(&[secret().public_key()]), Ok(()));
    let profile = store.profile(&key(1, "/init")).expect("a profile");
    assert!(kept.unchanged(profile)[agent_common::domain::Domain::Exec as usize]);

    store
        .learn(&[observation("/bin/b", Section::Main)])
        .expect("learns");
    let profile = store.profile(&key(1, "/init")).expect("a profile");
    let kept = store.signed(&digest(1)).expect("kept");
    assert!(!kept.unchanged(profile)[agent_common::domain::Domain::Exec as usize]);
    store.import(&document).expect("imports");
    assert_eq!(store.signed(&digest(1)), None);
    assert_eq!(reopen(store).signed(&digest(1)), None);
}
