//! Domain exec: is a program that was executed in the profile?
//!
//! Input: an event and the profile of its container, if it is known. Output: `None` if the behaviour conforms by now (it
//! may have been learned since the hook looked), else a [`Deviation`]. Failure: none.

use agent_common::domain::Section;
use agent_common::file::Layer;
use agent_common::rule::{Action, Verdict};

use crate::behaviour::{ExecBehaviour, is_multi_call};
use crate::event::ExecEvent;
use crate::profile::model::{Holding, Profile};

/// How a behaviour departs from the profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeviationKind {
    /// It did not come with the image.
    Drift,
    /// One of the container's own processes did what the profile does not hold.
    Unknown,
    /// What entered from outside did what the profile does not hold as accepted.
    Entered,
}

/// A behaviour that departs from the profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deviation {
    /// How.
    pub kind: DeviationKind,
    /// The behaviour.
    pub behaviour: ExecBehaviour,
    /// Whether it could be learned: its path and applet are known in full, and it is no drift.
    pub is_learnable: bool,
}

/// The behaviour that an event tells of.
#[must_use]
pub fn behaviour(event: &ExecEvent) -> ExecBehaviour {
    let is_image = event.verified_as_image;
    let is_multi_call = is_multi_call(event.path.text.as_bytes()) && (is_image || !event.layer.is_drift());
    ExecBehaviour {
        layer: if is_image { Layer::Image } else { event.layer },
        path: event.path.text.clone(),
        applet: if is_multi_call {
            event.invoked_as.clone()
        } else {
            None
        },
    }
}

/// Compares one program with `profile`; `None` for a container whose profile is not known yet.
#[must_use]
pub fn compare(event: &ExecEvent, profile: Option<&Profile>) -> Option<Deviation> {
    let behaviour = behaviour(event);
    let kind = match (event.verdict, event.section) {
        (Verdict::Drift, _) => DeviationKind::Drift,
        (_, Section::Main) => DeviationKind::Unknown,
        (_, Section::ExecIn) => DeviationKind::Entered,
    };
    let is_cut = event.path.too_long
        || event.verdict == Verdict::TooLong
        || (is_multi_call(behaviour.path.as_bytes()) && behaviour.applet.is_none());
    let holds = !is_cut
        && kind != DeviationKind::Drift
        && profile.is_some_and(|profile| profile.holds(event.section, &behaviour) == Holding::Yes);
    // What the kernel acted on is told whatever the profile says by now.
    if holds && event.action == Action::None && event.action_error.is_none() {
        return None;
    }
    Some(Deviation {
        kind,
        behaviour,
        is_learnable: !is_cut && kind != DeviationKind::Drift,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::example;
    use crate::profile::model::{Evidence, ProfileKey, Role};

    fn profile(behaviour: &ExecBehaviour) -> Profile {
        let digest = format!("sha256:{}", "0".repeat(64)).parse().expect("a digest");
        let role = Role::new("/bin/sh".into()).expect("a role");
        let mut profile = Profile::new(1, ProfileKey { digest, role });
        profile.exec.insert(behaviour.clone(), Evidence::default());
        profile
    }

    #[test]
    fn what_the_profile_holds_conforms() {
        let event = example::exec();
        let profile = profile(&behaviour(&event));
        assert_eq!(compare(&event, Some(&profile)), None);
        let kind = |event: &ExecEvent| compare(event, Some(&profile)).map(|deviation| deviation.kind);
        let entered = ExecEvent {
            section: Section::ExecIn,
            ..event.clone()
        };
        assert_eq!(kind(&entered), Some(DeviationKind::Entered));
        let killed = ExecEvent {
            action: Action::Killed,
            ..event.clone()
        };
        assert_eq!(kind(&killed), Some(DeviationKind::Unknown));
        let drift = ExecEvent {
            verdict: Verdict::Drift,
            layer: Layer::Upper,
            ..event.clone()
        };
        assert_eq!(kind(&drift), Some(DeviationKind::Drift));
        assert_eq!(
            compare(&event, None).map(|deviation| deviation.is_learnable),
            Some(true)
        );
    }

    #[test]
    fn an_applet_is_part_of_the_behaviour_and_its_lack_is_not() {
        let mut event = example::exec();
        event.path.text = "/bin/busybox".into();
        event.invoked_as = Some("ls".into());
        assert_eq!(behaviour(&event).applet, Some("ls".into()));
        event.invoked_as = None;
        let profile = profile(&behaviour(&event));
        let deviation = compare(&event, Some(&profile)).expect("an unknown applet is not the lack of one");
        assert!(!deviation.is_learnable);
    }
}
