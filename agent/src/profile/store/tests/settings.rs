use agent_common::domain::{Domain, Mode};

use super::*;
use crate::profile::mode::{ExecInto, ModeSource, Scope};

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
    for domain in [None, Some(Domain::Exec), Some(Domain::Library)] {
        assert!(matches!(
            store.set_mode(Scope::Default, domain, Some(Mode::Off)),
            Err(StoreError::AlwaysOn)
        ));
    }
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
