//! Domain file: is this use of a file in the profile?
//!
//! Input: an event and the profile of its container, if it is known. Output: whether the behaviour conforms by now, or a
//! [`Deviation`](super::Deviation). Failure: none. No layer is drift here: what a container writes and what is mounted into it
//! is part of what it does.

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
    with_profile(event, behaviour(file).into(), !is_cut, profile)
}

#[cfg(test)]
mod tests {
    use agent_common::domain::Section;
    use agent_common::file::{FileOperation, Layer};
    use agent_common::rule::Action;

    use super::*;
    use crate::compare::{Deviation, DeviationKind, compare};
    use crate::event::{Used, example};
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
