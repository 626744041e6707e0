use super::*;
use crate::profile::model::Role;
use crate::profile::{SelectError, Selector};

#[test]
fn a_selector_names_one_thing_or_lists_the_candidates() {
    let (mut store, _directory) = store();
    let select = |image: &str, role: Option<&str>| Selector {
        image: image.to_owned(),
        role: role.map(|role| Role::new(role.into()).expect("a role")),
    };
    let none = select("app", None).profile(&store);
    assert!(matches!(none, Err(SelectError::NoImage { candidates, .. }) if candidates.is_empty()));
    store.ensure(&key(0x11, "/init"), false).expect("creates");
    store.ensure(&key(0x11, "/worker"), false).expect("creates");
    store.ensure(&key(0x12, "/init"), false).expect("creates");
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
