use agent_common::domain::{Domain, Mode, Section};
use agent_common::file::Layer;

use super::*;
use crate::profile::{Holding, ModeSource, Role, SelectError, Selector};

pub(crate) fn digest(number: u8) -> ImageDigest {
    format!("sha256:{}", format!("{number:02x}").repeat(32))
        .parse()
        .expect("a digest")
}

pub(crate) fn key(number: u8, role: &str) -> ProfileKey {
    ProfileKey {
        digest: digest(number),
        role: Role::new(role.into()).expect("a role"),
    }
}

pub(crate) fn behaviour(path: &str) -> ExecBehaviour {
    ExecBehaviour {
        layer: Layer::Image,
        path: path.into(),
        applet: None,
    }
}

fn observation(path: &str, section: Section) -> Observation {
    Observation {
        key: key(1, "/init"),
        section,
        behaviour: behaviour(path),
    }
}

/// A store in a directory of its own, and that directory.
fn store() -> (ProfileStore, tempfile::TempDir) {
    let directory = tempfile::tempdir().expect("temporary directory");
    let store = ProfileStore::open(&directory.path().join("state")).expect("opens");
    (store, directory)
}

fn reopen(store: ProfileStore) -> ProfileStore {
    let directory = store.path().parent().expect("in a directory").to_owned();
    drop(store);
    ProfileStore::open(&directory).expect("opens again")
}

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
        [(Section::Main, &behaviour("/bin/a"))]
    );
}

#[test]
fn never_learns_drift_nor_paths_that_no_kernel_walks() {
    let (mut store, _directory) = store();
    for layer in [Layer::Upper, Layer::Volume, Layer::Foreign, Layer::Anonymous] {
        let mut drift = observation("/bin/a", Section::Main);
        drift.behaviour.layer = layer;
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
    let first = store.ensure(&key(1, "/init")).expect("creates");
    assert_eq!(first, 1);
    assert_eq!(store.ensure(&key(1, "/init")).expect("finds"), first);
    assert_eq!(store.remove(&key(1, "/init")).expect("removes"), first);
    assert!(store.profile_by_id(first).is_none());
    let mut store = reopen(store);
    let second = store.ensure(&key(1, "/init")).expect("creates");
    assert_eq!(second, 2);
    assert_eq!(
        store.profile_by_id(second).map(|profile| &profile.key),
        Some(&key(1, "/init"))
    );
}

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
            (profile.exec.len(), profile.exec_in.len(), profile.drift.len()),
            (1, 1, 1)
        );
    }
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
        windows: 3,
        lost_windows: 1,
        instances: 1,
        lost_records: 9,
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
    assert_eq!(profile.exec[&behaviour("/bin/a")].windows, 3);
    assert_eq!(profile.exec_in[&behaviour("/bin/b")].evidence.windows, 5);
    assert!(!profile.exec_in[&behaviour("/bin/b")].accepted);
    assert_eq!(profile.exec.len(), 1);
    assert_eq!((profile.counts.windows, profile.counts.lost_records), (6, 18));
    assert_eq!(store.profiles().count(), 1);
}

#[test]
fn accepting_is_by_path_or_by_path_and_content() {
    let (mut store, _directory) = store();
    let key = key(1, "/init");
    assert!(matches!(
        store.accept_exec(&key, &behaviour("/bin/a")),
        Err(StoreError::NoProfile { .. })
    ));
    store.ensure(&key).expect("creates");
    assert!(store.accept_exec(&key, &behaviour("/bin/a")).expect("accepts"));
    assert!(!store.accept_exec(&key, &behaviour("/bin/a")).expect("answers"));
    assert!(
        store
            .accept_exec_in(&key, &behaviour("/bin/sh"))
            .expect("accepts")
    );
    assert!(
        !store
            .accept_exec_in(&key, &behaviour("/bin/sh"))
            .expect("answers")
    );

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
        assert!(
            store
                .forget_exec(&key, section, &behaviour(path))
                .expect("forgets")
        );
        assert!(
            !store
                .forget_exec(&key, section, &behaviour(path))
                .expect("answers")
        );
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
fn the_closest_setting_wins() {
    let (mut store, _directory) = store();
    let references = ["docker.io/library/app:latest".to_owned()];
    let mode = |store: &ProfileStore| {
        let policies = store.policies();
        policies.mode_for("c1", Some(&digest(1)), &references, Domain::Exec)
    };
    assert_eq!(mode(&store), (Mode::Learn, ModeSource::Default));
    let steps = [
        (Scope::Default, None, Mode::Monitor, ModeSource::Default),
        (
            Scope::Default,
            Some(Domain::Exec),
            Mode::Enforce,
            ModeSource::Default,
        ),
        (
            Scope::Reference("app".into()),
            None,
            Mode::Learn,
            ModeSource::Reference,
        ),
        (
            Scope::Reference("app:latest".into()),
            None,
            Mode::Monitor,
            ModeSource::Reference,
        ),
        (Scope::Image(digest(1)), None, Mode::Learn, ModeSource::Image),
        (
            Scope::Image(digest(1)),
            Some(Domain::Exec),
            Mode::Enforce,
            ModeSource::Image,
        ),
        (
            Scope::Container("c1".into()),
            None,
            Mode::Monitor,
            ModeSource::Container,
        ),
        (
            Scope::Container("c1".into()),
            Some(Domain::Exec),
            Mode::Learn,
            ModeSource::Container,
        ),
    ];
    for (scope, domain, set, source) in steps.clone() {
        assert!(store.set_mode(scope, domain, Some(set)).expect("sets"));
        assert_eq!(mode(&store), (set, source));
    }
    for (scope, domain) in [
        (Scope::Container("c2".into()), None),
        (Scope::Reference("other".into()), Some(Domain::Exec)),
        (Scope::Image(digest(2)), Some(Domain::Exec)),
        (Scope::Container("c1".into()), Some(Domain::File)),
    ] {
        store.set_mode(scope, domain, Some(Mode::Enforce)).expect("sets");
        assert_eq!(
            mode(&store),
            (Mode::Learn, ModeSource::Container),
            "it is about another"
        );
    }
    let mut store = reopen(store);
    store
        .forget_containers(&["c1".to_owned(), "c2".to_owned()].into())
        .expect("forgets");
    assert_eq!(mode(&store), (Mode::Enforce, ModeSource::Image));
    for (scope, domain, ..) in steps {
        store.set_mode(scope, domain, None).expect("takes back");
    }
    assert_eq!(mode(&store), (Mode::Learn, ModeSource::Default));
    assert!(matches!(
        store.set_mode(Scope::Default, None, Some(Mode::Pending)),
        Err(StoreError::PendingMode)
    ));
    assert_eq!(reopen(store).policies().modes().count(), 2);
}

#[test]
fn the_policy_for_processes_from_outside_has_the_same_scopes() {
    let (mut store, _directory) = store();
    let references = ["app:latest".to_owned()];
    let policy = |store: &ProfileStore| {
        store
            .policies()
            .exec_into_for("c1", Some(&digest(1)), &references)
    };
    assert_eq!(policy(&store), None);
    for (scope, set) in [
        (Scope::Default, ExecInto::Deny),
        (Scope::Reference("app".into()), ExecInto::Alert),
        (Scope::Image(digest(1)), ExecInto::Deny),
        (Scope::Container("c1".into()), ExecInto::Alert),
    ] {
        assert!(store.set_exec_into(scope, Some(set)).expect("sets"));
        assert_eq!(policy(&store), Some(set));
    }
    let mut store = reopen(store);
    store
        .forget_containers(&["c1".to_owned()].into())
        .expect("forgets");
    assert_eq!(policy(&store), Some(ExecInto::Deny));
}

#[test]
fn a_second_process_is_told_so() {
    let (store, _directory) = store();
    let directory = store.path().parent().expect("in a directory");
    let error = ProfileStore::open(directory).expect_err("is open");
    let text = error.to_string();
    assert!(matches!(error, StoreError::Locked { .. }));
    assert!(
        text.contains("another agent is running") && text.contains(file::FILE_NAME),
        "{text}"
    );
}

#[test]
fn a_later_format_is_refused_and_left_alone() {
    let (store, _directory) = store();
    let path = store.path().to_owned();
    drop(store);
    let database = Database::open(&path).expect("opens");
    let transaction = database.begin_write().expect("begins");
    transaction
        .open_table(rows::META)
        .expect("is there")
        .insert(rows::FORMAT_KEY, rows::FORMAT + 1)
        .expect("inserts");
    transaction.commit().expect("commits");
    drop(database);
    let error = ProfileStore::open(path.parent().expect("in a directory")).expect_err("later");
    assert!(matches!(error, StoreError::NewerFormat { found, .. } if found == rows::FORMAT + 1));
}

#[test]
fn a_file_that_is_no_store_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let path = directory.path().join(file::FILE_NAME);
    std::fs::write(&path, "not a store\n".repeat(1000)).expect("writes");
    let before = std::fs::read(&path).expect("reads");
    let error = ProfileStore::open(directory.path()).expect_err("no store");
    assert!(
        matches!(
            error,
            StoreError::Storage {
                operation: "open",
                ..
            }
        ),
        "{error:?}"
    );
    assert_eq!(std::fs::read(&path).expect("reads"), before);
}

#[test]
fn only_the_owner_can_read_it_and_a_shared_directory_is_refused() {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    let (store, directory) = store();
    let mode = |path: &Path| std::fs::metadata(path).expect("there").permissions().mode() & 0o777;
    assert_eq!(mode(store.path()), 0o600);
    assert_eq!(mode(store.path().parent().expect("in a directory")), 0o700);

    let shared = directory.path().join("shared");
    std::fs::create_dir(&shared).expect("creates");
    std::fs::set_permissions(&shared, std::fs::Permissions::from_mode(0o1777)).expect("sets");
    assert!(matches!(
        ProfileStore::open(&shared),
        Err(StoreError::DirectoryWritable { mode: 0o1777, .. })
    ));
    assert!(!shared.join(file::FILE_NAME).exists());

    let linked = directory.path().join("linked");
    std::fs::create_dir(&linked).expect("creates");
    symlink(directory.path().join("target"), linked.join(file::FILE_NAME)).expect("links");
    assert!(ProfileStore::open(&linked).is_err());
    assert!(!directory.path().join("target").exists());
}

#[test]
fn a_selector_names_one_thing_or_lists_the_candidates() {
    let (mut store, _directory) = store();
    let select = |image: &str, role: Option<&str>| Selector {
        image: image.to_owned(),
        role: role.map(|role| Role::new(role.into()).expect("a role")),
    };
    let none = select("app", None).profile(&store);
    assert!(matches!(none, Err(SelectError::NoImage { candidates, .. }) if candidates.is_empty()));
    store.ensure(&key(0x11, "/init")).expect("creates");
    store.ensure(&key(0x11, "/worker")).expect("creates");
    store.ensure(&key(0x12, "/init")).expect("creates");
    for (image, reference) in [
        (0x11, "app:1"),
        (0x12, "app:2"),
        (0x12, "app:shared"),
        (0x11, "app:shared"),
    ] {
        store
            .add_reference(&digest(image), Some(reference), Some(&digest(image + 0x80)))
            .expect("adds");
    }
    for image in [
        "sha256:1212",
        "1212",
        digest(0x12).as_str(),
        "app:2",
        digest(0x92).as_str(),
    ] {
        let found = select(image, None).profile(&store);
        assert_eq!(found, Ok(key(0x12, "/init")), "{image}");
    }
    assert_eq!(
        select("docker.io/library/app:1", Some("/worker")).profile(&store),
        Ok(key(0x11, "/worker"))
    );
    assert_eq!(
        select("app:1", None).profiles(&store).map(|found| found.len()),
        Ok(2)
    );
    for (image, role, text) in [
        ("app:1", None, "several roles: give one; they are: /init, /worker"),
        (
            "app:1",
            Some("/no"),
            "no profile of role `/no`; its roles are: /init, /worker",
        ),
        ("app:shared", None, "fits several images"),
        (
            "121",
            None,
            "no image in the profile store fits `121`; it holds: 111111111111 app:1",
        ),
        ("app:3", None, "121212121212 app:2"),
    ] {
        let error = select(image, role)
            .profile(&store)
            .expect_err("not one")
            .to_string();
        assert!(error.contains(text), "{error}");
    }
}
