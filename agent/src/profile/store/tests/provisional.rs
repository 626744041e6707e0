use super::*;

#[test]
fn a_provisional_profile_goes_with_its_container() {
    let (mut store, _directory) = store();
    let own = key(7, "/init");
    let other = key(8, "/init");
    let id = store.ensure_provisional(&own, true, "c1").expect("room");
    assert_eq!(store.ensure_provisional(&own, true, "c1").expect("there"), id);
    let images = store.ensure(&other, false).expect("room");
    assert_eq!(store.provisional_of(&own.digest), Some("c1"));
    assert_eq!(store.provisional_of(&other.digest), None);
    assert_eq!(store.provisional().collect::<Vec<_>>(), [(&own.digest, "c1")]);

    let mut store = reopen(store);
    assert!(store.profile(&own).expect("kept").scripts);
    assert_eq!(
        store.forget_provisional(&other.digest).expect("no error"),
        Vec::<u32>::new()
    );
    assert_eq!(
        store.forget_provisional(&own.digest).expect("forgotten"),
        vec![id]
    );
    assert!(store.profile(&own).is_none() && store.image(&own.digest).is_none());

    let mut store = reopen(store);
    assert_eq!(store.provisional().count(), 0);
    assert_eq!(store.profile(&other).expect("kept").id, images);
    assert!(store.ensure_provisional(&own, false, "c1").expect("room") > images);
}
