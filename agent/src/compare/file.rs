//! Domain file: is this use of a file in the profile?
//!
//! Input: an event and the profile of its container, if it is known. Output: whether the behaviour conforms by now, or a
//! [`Deviation`](super::Deviation). Failure: none. No layer is drift here: what a container writes and what is mounted into it
//! is part of what it does.

use agent_common::file::Layer;
use agent_common::rule::Verdict;

use super::{Comparison, with_profile};
use crate::behaviour::{FileBehaviour, FilePattern};
use crate::event::{FileUse, UseEvent};
use crate::profile::model::Profile;

/// The behaviour that an event tells of.
#[must_use]
pub fn behaviour(file: &FileUse) -> FileBehaviour {
    FileBehaviour {
        layer: file.file.layer,
        pattern: FilePattern::of(file.file.layer, file.file.path.text.clone()),
        operation: file.operation,
    }
}

/// Compares one use of a file with `profile`.
pub(super) fn compare(event: &UseEvent, file: &FileUse, profile: Option<&Profile>) -> Comparison {
    let is_cut = file.file.path.too_long || event.verdict == Verdict::TooLong;
    let behaviour = behaviour(file);
    let permitted = profile
        .filter(|_| file.typed.is_some())
        .and_then(|profile| permitted_elsewhere(event, &behaviour, profile));
    with_profile(event, permitted.unwrap_or(behaviour).into(), !is_cut, profile)
}

/// Where the file itself was not seen, it is not always found out in which layer it is: what was learned while it was known, or
/// was not, is the same use of it.
fn permitted_elsewhere(event: &UseEvent, typed: &FileBehaviour, profile: &Profile) -> Option<FileBehaviour> {
    let others: &[Layer] = match typed.layer {
        Layer::Unknown => &[Layer::Upper, Layer::Volume],
        _ => &[Layer::Unknown],
    };
    let permits = |behaviour: &FileBehaviour| {
        profile
            .permitting(event.section, &behaviour.clone().into())
            .is_some()
    };
    let elsewhere = others.iter().map(|layer| FileBehaviour {
        layer: *layer,
        ..typed.clone()
    });
    std::iter::once(typed.clone()).chain(elsewhere).find(permits)
}

#[cfg(test)]
mod tests {
    use agent_common::domain::Section;
    use agent_common::file::FileOperation;
    use agent_common::rule::Action;

    use super::*;
    use crate::compare::{Deviation, DeviationKind, compare};
    use crate::event::{TypedName, Used, example};
    use crate::profile::model::{Evidence, ProfileKey, Role};

    fn profile(behaviour: FileBehaviour) -> Profile {
        let digest = format!("sha256:{}", "0".repeat(64)).parse().expect("a digest");
        let role = Role::new("/bin/sh".into()).expect("a role");
        let mut profile = Profile::new(1, ProfileKey { digest, role });
        profile.main.insert(behaviour.into(), Evidence::default());
        profile
    }

    fn file(event: &mut UseEvent) -> &mut FileUse {
        match &mut event.used {
            Used::File(file) => file,
            _ => panic!("a file"),
        }
    }

    #[test]
    fn what_is_written_is_learned_from_every_layer_and_held_by_path_layer_and_operation() {
        let mut event = example::file_use();
        for &layer in Layer::ALL {
            file(&mut event).file.layer = layer;
            let held = behaviour(file(&mut event));
            let unknown = Comparison::Departs(Deviation {
                kind: DeviationKind::Unknown,
                learnable: Some(held.clone().into()),
            });
            assert_eq!(compare(&event, None), unknown, "{layer}");
            let profile = profile(held.clone());
            assert_eq!(
                compare(&event, Some(&profile)),
                Comparison::Conforms(held.into()),
                "{layer}"
            );
        }
        let profile = profile(behaviour(file(&mut event)));
        let departs = |event: &UseEvent| match compare(event, Some(&profile)) {
            Comparison::Departs(deviation) => deviation.kind,
            Comparison::Conforms(behaviour) => panic!("{behaviour}"),
        };
        let mut other = event.clone();
        file(&mut other).operation = FileOperation::Write;
        assert_eq!(departs(&other), DeviationKind::Unknown);
        let mut other = event.clone();
        other.section = Section::ExecIn;
        assert_eq!(departs(&other), DeviationKind::Entered);
        event.action = Action::Killed;
        assert_eq!(departs(&event), DeviationKind::Unknown);
    }

    #[test]
    fn a_typed_name_is_the_same_use_whether_or_not_its_layer_was_found_out() {
        let mut event = example::file_use();
        file(&mut event).operation = FileOperation::Rename;
        let conforms = |held: Layer, found: Layer, is_typed: bool| {
            let mut event = event.clone();
            let file = file(&mut event);
            file.file.layer = held;
            let profile = profile(behaviour(file));
            file.file.layer = found;
            file.typed = is_typed.then(|| TypedName {
                directory: "/".into(),
                name: "x".into(),
            });
            matches!(compare(&event, Some(&profile)), Comparison::Conforms(_))
        };
        for (held, found, is_same) in [
            (Layer::Unknown, Layer::Upper, true),
            (Layer::Unknown, Layer::Volume, true),
            (Layer::Upper, Layer::Unknown, true),
            (Layer::Volume, Layer::Unknown, true),
            (Layer::Upper, Layer::Volume, false),
            (Layer::Image, Layer::Unknown, false),
        ] {
            assert_eq!(conforms(held, found, true), is_same, "{held} {found}");
            assert!(!conforms(held, found, false), "{held} {found}: it was seen");
        }
    }

    #[test]
    fn what_was_cut_is_never_learned() {
        let cut = |change: fn(&mut UseEvent)| {
            let mut event = example::file_use();
            change(&mut event);
            match compare(&event, None) {
                Comparison::Departs(deviation) => deviation.learnable,
                Comparison::Conforms(behaviour) => panic!("{behaviour}"),
            }
        };
        assert!(cut(|_| {}).is_some());
        assert_eq!(cut(|event| event.verdict = Verdict::TooLong), None);
        assert_eq!(cut(|event| file(event).file.path.too_long = true), None);
    }
}
