//! Domain exec: is a program that was executed in the profile?
//!
//! Input: an event and the profile of its container, if it is known. Output: whether the behaviour conforms by now, or a
//! [`Deviation`]. Failure: none.

use agent_common::file::Layer;
use agent_common::rule::Verdict;

use super::{Comparison, Deviation, DeviationKind, with_profile};
use crate::behaviour::{ExecBehaviour, is_multi_call};
use crate::event::{ExecUse, UseEvent};
use crate::profile::model::Profile;

/// The behaviour that an event tells of.
#[must_use]
pub fn behaviour(exec: &ExecUse) -> ExecBehaviour {
    let file = &exec.file;
    let is_image = exec.verified_as_image;
    let is_multi_call = is_multi_call(file.path.text.as_bytes()) && (is_image || !file.layer.is_drift());
    ExecBehaviour {
        layer: if is_image { Layer::Image } else { file.layer },
        path: file.path.text.clone(),
        applet: if is_multi_call {
            exec.invoked_as.clone()
        } else {
            None
        },
    }
}

/// Compares one program with `profile`.
pub(super) fn compare(event: &UseEvent, exec: &ExecUse, profile: Option<&Profile>) -> Comparison {
    if event.verdict == Verdict::Drift {
        return Comparison::Departs(Deviation {
            kind: DeviationKind::Drift,
            learnable: None,
        });
    }
    let behaviour = behaviour(exec);
    let is_cut = exec.file.path.too_long
        || event.verdict == Verdict::TooLong
        || (is_multi_call(behaviour.path.as_bytes()) && behaviour.applet.is_none());
    with_profile(event, behaviour.into(), !is_cut, profile)
}

#[cfg(test)]
mod tests {
    use agent_common::domain::Section;
    use agent_common::rule::Action;

    use super::*;
    use crate::event::{Used, example};
    use crate::profile::model::{Evidence, ProfileKey, Role};
    use crate::text::ByteText;

    fn profile(behaviour: &ExecBehaviour) -> Profile {
        let digest = format!("sha256:{}", "0".repeat(64)).parse().expect("a digest");
        let role = Role::new("/bin/sh".into()).expect("a role");
        let mut profile = Profile::new(1, ProfileKey { digest, role });
        profile.main.insert(behaviour.clone().into(), Evidence::default());
        profile
    }

    fn exec(event: &UseEvent) -> &ExecUse {
        match &event.used {
            Used::Exec(exec) => exec,
            _ => panic!("an execution"),
        }
    }

    /// The deviation, if it is one.
    fn deviation(event: &UseEvent, profile: Option<&Profile>) -> Option<Deviation> {
        match compare(event, exec(event), profile) {
            Comparison::Conforms(_) => None,
            Comparison::Departs(deviation) => Some(deviation),
        }
    }

    #[test]
    fn what_the_profile_holds_conforms() {
        let event = example::exec();
        let held = behaviour(exec(&event));
        let profile = profile(&held);
        assert_eq!(
            compare(&event, exec(&event), Some(&profile)),
            Comparison::Conforms(held.clone().into())
        );
        let kind = |event: &UseEvent| deviation(event, Some(&profile)).map(|deviation| deviation.kind);
        let entered = UseEvent {
            section: Section::ExecIn,
            ..event.clone()
        };
        assert_eq!(kind(&entered), Some(DeviationKind::Entered));
        let killed = UseEvent {
            action: Action::Killed,
            ..event.clone()
        };
        assert_eq!(kind(&killed), Some(DeviationKind::Unknown));
        let drift = UseEvent {
            verdict: Verdict::Drift,
            ..event.clone()
        };
        assert_eq!(kind(&drift), Some(DeviationKind::Drift));
        assert_eq!(
            deviation(&event, None).and_then(|found| found.learnable),
            Some(held.into())
        );
    }

    #[test]
    fn an_applet_is_part_of_the_behaviour_and_its_lack_is_not() {
        let mut event = example::exec();
        let invoked_as = |event: &mut UseEvent, name: Option<ByteText>| match &mut event.used {
            Used::Exec(exec) => {
                exec.file.path.text = "/bin/busybox".into();
                exec.invoked_as = name;
            }
            _ => panic!("an execution"),
        };
        invoked_as(&mut event, Some("ls".into()));
        assert_eq!(behaviour(exec(&event)).applet, Some("ls".into()));
        invoked_as(&mut event, None);
        let profile = profile(&behaviour(exec(&event)));
        let deviation = deviation(&event, Some(&profile)).expect("an unknown applet is not the lack of one");
        assert_eq!(deviation.learnable, None);
    }
}
