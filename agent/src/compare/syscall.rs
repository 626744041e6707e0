//! Domain syscall: is this system call in the profile?
//!
//! Input: an event and the profile of its container, if it is known. Output: whether it conforms by now, or a
//! [`Deviation`](super::Deviation). Failure: none.

use super::{Comparison, with_profile};
use crate::event::{SyscallUse, UseEvent};
use crate::profile::model::Profile;

/// Compares one system call with `profile`.
pub(super) fn compare(event: &UseEvent, call: &SyscallUse, profile: Option<&Profile>) -> Comparison {
    with_profile(event, call.behaviour.into(), true, profile)
}

#[cfg(test)]
mod tests {
    use agent_common::syscall::{SyscallAbi, SyscallPhase};

    use super::*;
    use crate::behaviour::SyscallBehaviour;
    use crate::compare::{Deviation, DeviationKind, compare};
    use crate::event::{Used, example};
    use crate::profile::model::{Evidence, ProfileKey, Role};

    #[test]
    fn a_system_call_is_held_with_its_interface_and_its_phase() {
        let event = example::syscall();
        let Used::Syscall(call) = &event.used else {
            panic!("a system call")
        };
        let held = call.behaviour;
        let digest = format!("sha256:{}", "0".repeat(64)).parse().expect("a digest");
        let role = Role::new("/bin/sh".into()).expect("a role");
        let mut profile = Profile::new(1, ProfileKey { digest, role });
        profile.main.insert(held.into(), Evidence::default());
        assert_eq!(compare(&event, Some(&profile)), Comparison::Conforms(held.into()));
        let others = [
            SyscallBehaviour {
                abi: SyscallAbi::I386,
                ..held
            },
            SyscallBehaviour {
                phase: SyscallPhase::Runtime,
                ..held
            },
            SyscallBehaviour {
                number: held.number + 1,
                ..held
            },
        ];
        for behaviour in others {
            let event = UseEvent {
                used: Used::Syscall(SyscallUse {
                    behaviour,
                    ..call.clone()
                }),
                ..event.clone()
            };
            let unknown = Deviation {
                kind: DeviationKind::Unknown,
                learnable: Some(behaviour.into()),
            };
            assert_eq!(compare(&event, Some(&profile)), Comparison::Departs(unknown));
        }
    }
}
