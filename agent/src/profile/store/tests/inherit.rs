//! Images that follow others: which is the one before, what is taken over, and what goes on.

use agent_common::domain::{Domain, Mode};

use super::*;
use crate::profile::inherit::Inheritance;
use crate::profile::mode::{ModeSource, Scope};
use crate::profile::model::{Evidence, ImageLayer, Succession};

const INIT: &str = "/init";

fn names(texts: &[&str]) -> Vec<String> {
    texts.iter().map(ToString::to_string).collect()
}

/// An image that was seen under a name and has learned two programs, two uses of files and a capability.
fn begin(store: &mut ProfileStore, number: u8, name: &str) {
    let key = key(number, INIT);
    store.see_image(&key.digest, &names(&[name])).expect("noted");
    store.ensure(&key, true).expect("begun");
    let behaviours = [
        behaviour("/bin/same"),
        behaviour("/bin/changed"),
        file(Layer::Image, "/etc/same", FileOperation::Read),
        file(Layer::Volume, "/data", FileOperation::Write),
        cap(13),
    ];
    let observations = behaviours.map(|behaviour| Observation {
        key: key.clone(),
        section: Section::Main,
        behaviour,
    });
    store.learn(&observations).expect("learned");
}

/// A new image of a name, which has begun with nothing yet.
fn appear(store: &mut ProfileStore, number: u8, name: &str) -> ProfileKey {
    let key = key(number, INIT);
    store.see_image(&key.digest, &names(&[name])).expect("noted");
    store.ensure(&key, false).expect("begun");
    key
}

fn inheritance() -> Inheritance {
    Inheritance {
        main: vec![
            behaviour("/bin/same"),
            file(Layer::Image, "/etc/same", FileOperation::Read),
            cap(13),
        ],
        exec_in: vec![behaviour("/bin/probe")],
        left_out: 1,
        ..Inheritance::default()
    }
}

fn before(store: &ProfileStore, key: &ProfileKey, name: &str) -> Option<ImageDigest> {
    let before = store.predecessor(key, &names(&[name]));
    before.map(|profile| profile.key.digest.clone())
}

#[test]
fn the_image_before_is_the_one_of_the_name_that_was_seen_last() {
    let (mut store, _directory) = store();
    begin(&mut store, 1, "nginx:1.26");
    begin(&mut store, 2, "nginx:1.27");
    begin(&mut store, 3, "redis:7");
    let new = appear(&mut store, 4, "nginx:1.28");
    assert_eq!(before(&store, &new, "nginx:1.28"), Some(digest(2)));
    // A container of the older one was started again.
    store
        .see_image(&digest(1), &names(&["nginx:1.26"]))
        .expect("noted");
    let store = reopen(store);
    assert_eq!(before(&store, &new, "nginx:1.28"), Some(digest(1)));
    assert_eq!(
        before(&store, &new, "nginx:1.27"),
        Some(digest(2)),
        "pushed again"
    );
    assert_eq!(
        before(&store, &key(4, "/other"), "nginx:1.28"),
        None,
        "another role"
    );
    assert_eq!(before(&store, &key(1, INIT), "nginx:1.26"), None, "it has begun");
    assert_eq!(before(&store, &key(9, INIT), "postgres:17"), None);
}

#[test]
fn a_container_of_the_newest_image_writes_nothing_new() {
    let (mut store, _directory) = store();
    begin(&mut store, 1, "nginx:1.26");
    begin(&mut store, 2, "nginx:1.27");
    let seen = |store: &ProfileStore, number| store.on_node(&digest(number)).map(|image| image.seen);
    let noted = (seen(&store, 1), seen(&store, 2));
    assert!(noted.0 < noted.1, "{noted:?}");
    store
        .see_image(&digest(2), &names(&["nginx:1.27"]))
        .expect("noted");
    assert_eq!((seen(&store, 1), seen(&store, 2)), noted);
    let layers = [ImageLayer {
        directory: "/var/lib/layers/1".into(),
        inode: 7,
    }];
    assert!(store.note_layers(&digest(2), &layers).expect("noted"));
    assert!(!store.note_layers(&digest(2), &layers).expect("noted"));
    let store = reopen(store);
    let found = store.on_node(&digest(2)).expect("noted");
    assert_eq!((&found.layers[..], Some(found.seen)), (&layers[..], noted.1));
}

#[test]
fn a_profile_begins_with_what_is_the_same_marked_and_without_evidence() {
    let (mut store, _directory) = store();
    begin(&mut store, 1, "nginx:1.26");
    store.approve(&key(1, INIT), true).expect("approved");
    let new = appear(&mut store, 2, "nginx:1.27");
    // What it was seen to do meanwhile stays what was seen.
    let seen = Observation {
        key: new.clone(),
        section: Section::Main,
        behaviour: cap(13),
    };
    store.learn(&[seen]).expect("learned");
    assert_eq!(
        store
            .succeed(&new, &digest(1), &inheritance(), false)
            .expect("taken over"),
        3
    );
    let mut store = reopen(store);
    let profile = store.profile(&new).expect("it is there");
    assert!(!profile.approved && profile.scripts && profile.learns_changes());
    assert_eq!(profile.inherited(), 3);
    let evidence = |path| profile.main.get(&behaviour(path));
    assert_eq!(evidence("/bin/same"), Some(Evidence::INHERITED));
    assert_eq!(evidence("/bin/changed"), None);
    assert_eq!(profile.main.get(&cap(13)), Some(Evidence::default()));
    let probe = profile.exec_in.get(&behaviour("/bin/probe"));
    assert!(probe.expect("it is there").accepted);
    let image = store.image(&new.digest).expect("it is known");
    assert_eq!(image.descends_from, Some(digest(1)));
    assert_eq!(before(&store, &new, "nginx:1.27"), None, "once");
    // Seen since, it still is inherited.
    let gain = EvidenceGain {
        key: new.clone(),
        section: Section::Main,
        behaviour: behaviour("/bin/same"),
        windows: 2,
    };
    store.add_windows(&[gain], &[]).expect("added");
    let mut store = reopen(store);
    let held = store.profile(&new).expect("it is there");
    let held = held.main.get(&behaviour("/bin/same")).expect("it is held");
    assert_eq!((held.windows, held.inherited), (2, true));
    // It is as exported.
    let document = store.export(&new.digest).expect("a document");
    let read = crate::profile::ProfileDocument::parse(document.render().expect("text").as_bytes(), "test");
    assert_eq!(read.as_ref(), Ok(&document));
    // An approval ends it, and what is learned later does not begin it again.
    store.approve(&new, true).expect("approved");
    assert!(!store.profile(&new).expect("it is there").learns_changes());
    let more = Observation {
        key: new.clone(),
        section: Section::Main,
        behaviour: behaviour("/bin/more"),
    };
    store.learn(&[more]).expect("learned");
    let profile = reopen(store);
    let profile = profile.profile(&new).expect("it is there");
    assert_eq!(
        (profile.approved, profile.succession),
        (false, Succession::Closed)
    );
}

#[test]
fn an_image_with_the_same_files_stays_approved() {
    let (mut store, _directory) = store();
    begin(&mut store, 1, "nginx:1");
    store.approve(&key(1, INIT), true).expect("approved");
    let new = appear(&mut store, 2, "nginx:1");
    store
        .succeed(&new, &digest(1), &inheritance(), true)
        .expect("taken over");
    let profile = store.profile(&new).expect("it is there");
    assert!(profile.approved && !profile.learns_changes());
}

#[test]
fn the_mode_of_the_image_before_goes_on_until_somebody_speaks() {
    let (mut store, _directory) = store();
    begin(&mut store, 1, "nginx:1.26");
    let mode = |store: &ProfileStore, key: &ProfileKey, name: &str| {
        store.mode_for("c1", key, &names(&[name]), Domain::Exec)
    };
    store
        .set_mode(Scope::Image(digest(1)), None, Some(Mode::Enforce))
        .expect("set");
    let second = appear(&mut store, 2, "nginx:1.27");
    assert_eq!(
        mode(&store, &second, "nginx:1.27"),
        (Mode::Learn, ModeSource::Default)
    );
    store
        .succeed(&second, &digest(1), &inheritance(), false)
        .expect("taken over");
    let enforce = (Mode::Enforce, ModeSource::Inherited);
    assert_eq!(mode(&store, &second, "nginx:1.27"), enforce);
    let third = appear(&mut store, 3, "nginx:1.28");
    store
        .succeed(&third, &digest(2), &inheritance(), false)
        .expect("taken over");
    assert_eq!(
        mode(&store, &third, "nginx:1.28"),
        enforce,
        "through the one between"
    );
    store
        .set_mode(
            Scope::Reference("nginx:1.27".to_owned()),
            None,
            Some(Mode::Monitor),
        )
        .expect("set");
    assert_eq!(
        mode(&store, &second, "nginx:1.27"),
        (Mode::Monitor, ModeSource::Reference)
    );
    assert_eq!(
        mode(&store, &third, "nginx:1.28"),
        (Mode::Monitor, ModeSource::Inherited),
        "what was said of a reference of the one before"
    );
}
