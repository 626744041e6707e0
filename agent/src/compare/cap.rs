//! Domain cap: is this use of a capability in the profile?
//!
//! Input: an event and the profile of its container, if it is known. Output: whether the behaviour conforms by now, or a
//! [`Deviation`](super::Deviation). Failure: none.

use super::{Comparison, with_profile};
use crate::behaviour::CapBehaviour;
use crate::event::{CapUse, UseEvent};
use crate::profile::model::Profile;

/// The behaviour that an event tells of.
fn behaviour(cap: &CapUse) -> CapBehaviour {
    CapBehaviour {
        capability: cap.capability,
        namespace: cap.namespace,
        outcome: cap.outcome,
    }
}

/// Compares one use of a capability with `profile`.
pub(super) fn compare(event: &UseEvent, cap: &CapUse, profile: Option<&Profile>) -> Comparison {
    with_profile(event, behaviour(cap).into(), true, profile)
}

#[cfg(test)]
mod tests {
    use agent_common::cap::{CapOutcome, UserNamespace};

    use super::*;
    use crate::compare::{Deviation, DeviationKind, compare};
    use crate::event::{Used, example};
    use crate::profile::model::{Evidence, ProfileKey, Role};

    #[test]
    fn a_capability_is_held_with_its_reach_and_its_outcome() {
        let event = example::cap();
        let Used::Cap(cap) = &event.used else {
            panic!("a capability")
        };
        let held = behaviour(cap);
        let digest = format!("sha256:{}", "0".repeat(64)).parse().expect("a digest");
        let role = Role::new("/bin/sh".into()).expect("a role");
        let mut profile = Profile::new(1, ProfileKey { digest, role });
        profile.main.insert(held.into(), Evidence::default());
        assert_eq!(compare(&event, Some(&profile)), Comparison::Conforms(held.into()));
        let refused = CapUse {
            outcome: CapOutcome::Refused,
            ..cap.clone()
        };
        let elsewhere = CapUse {
            namespace: UserNamespace::Other,
            ..cap.clone()
        };
        for other in [refused, elsewhere] {
            let learnable = Some(behaviour(&other).into());
            let event = UseEvent {
                used: Used::Cap(other),
                ..event.clone()
            };
            let unknown = Deviation {
                kind: DeviationKind::Unknown,
                learnable,
            };
            assert_eq!(compare(&event, Some(&profile)), Comparison::Departs(unknown));
        }
    }
}
