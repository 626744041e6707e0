//! From deviations to decisions: what follows in the mode that holds. Pure.
//!
//! Input: the deviation, the mode that the hook saw, the mode that holds now, and what the kernel did. Output: a
//! [`Decision`]. Failure: none.

use agent_common::domain::Mode;
use agent_common::rule::Action;

use crate::behaviour::{Behaviour, runtime_call};
use crate::compare::{Deviation, DeviationKind};

/// What to do about a deviation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It goes into the profile: as permitted for the container's own processes, as a proposal for what entered.
    Learn,
    /// It is reported. `in_hand`: the kernel need not send its repeats.
    Alert {
        /// Whether repeats are counted in the kernel from now on: not where each is acted on.
        in_hand: bool,
    },
    /// The container's profile is not known yet, and what is only unknown waits for it.
    Wait,
    /// The domain was switched off meanwhile, or it is what any runtime does before it starts the program.
    Ignore,
}

/// Decides in the mode that held in the hook; where that was still pending, in the one that holds now.
#[must_use]
pub fn decide(deviation: &Deviation, mode_in_hook: Mode, mode_now: Mode, action: Action) -> Decision {
    let alert = Decision::Alert {
        in_hand: action == Action::None,
    };
    let mode = if mode_in_hook == Mode::Pending {
        mode_now
    } else {
        mode_in_hook
    };
    match mode {
        Mode::Learn if deviation.learnable.is_some() && action == Action::None => Decision::Learn,
        Mode::Pending if deviation.kind != DeviationKind::Drift && action == Action::None => Decision::Wait,
        Mode::Off if deviation.kind != DeviationKind::Drift && action == Action::None => Decision::Ignore,
        Mode::Monitor | Mode::Enforce if is_of_any_runtime(deviation) && action == Action::None => {
            Decision::Ignore
        }
        Mode::Off | Mode::Learn | Mode::Pending | Mode::Monitor | Mode::Enforce => alert,
    }
}

/// Whether it is no matter of the image: the exported filter permits it whatever was learned.
fn is_of_any_runtime(deviation: &Deviation) -> bool {
    matches!(&deviation.learnable, Some(Behaviour::Syscall(call)) if runtime_call::is_of_any_runtime(*call))
}

#[cfg(test)]
mod tests {
    use agent_common::file::Layer;
    use agent_common::syscall::{SyscallAbi, SyscallPhase};

    use super::*;
    use crate::behaviour::{ExecBehaviour, SyscallBehaviour, syscall_name};

    fn deviation(kind: DeviationKind) -> Deviation {
        let behaviour = ExecBehaviour {
            layer: Layer::Image,
            path: "/bin/a".into(),
            applet: None,
        };
        Deviation {
            kind,
            learnable: (kind != DeviationKind::Drift).then_some(behaviour.into()),
        }
    }

    #[test]
    fn drift_is_reported_in_every_mode_and_never_learned() {
        for &hook in Mode::ALL {
            for &now in Mode::ALL {
                let decision = decide(&deviation(DeviationKind::Drift), hook, now, Action::None);
                assert_eq!(decision, Decision::Alert { in_hand: true }, "{hook} {now}");
            }
        }
    }

    #[test]
    fn what_is_new_is_learned_only_in_learn_mode() {
        let unknown = deviation(DeviationKind::Unknown);
        let decide = |hook, now| decide(&unknown, hook, now, Action::None);
        assert_eq!(decide(Mode::Learn, Mode::Enforce), Decision::Learn);
        assert_eq!(decide(Mode::Pending, Mode::Learn), Decision::Learn);
        assert_eq!(decide(Mode::Pending, Mode::Pending), Decision::Wait);
        for (hook, now) in [
            (Mode::Monitor, Mode::Learn),
            (Mode::Enforce, Mode::Learn),
            (Mode::Pending, Mode::Monitor),
        ] {
            assert_eq!(
                decide(hook, now),
                Decision::Alert { in_hand: true },
                "{hook} {now}"
            );
        }
    }

    #[test]
    fn what_any_runtime_calls_is_learned_and_not_told() {
        let of = |name, phase| Deviation {
            kind: DeviationKind::Unknown,
            learnable: Some(
                SyscallBehaviour {
                    abi: SyscallAbi::X86_64,
                    number: syscall_name::number(SyscallAbi::X86_64, name).expect("a call"),
                    phase,
                }
                .into(),
            ),
        };
        let alert = Decision::Alert { in_hand: true };
        for (name, phase, told) in [
            ("rt_sigreturn", SyscallPhase::Runtime, Decision::Ignore),
            ("rt_sigreturn", SyscallPhase::Program, alert),
            ("ptrace", SyscallPhase::Runtime, alert),
        ] {
            let deviation = of(name, phase);
            let decide = |mode| decide(&deviation, mode, mode, Action::None);
            assert_eq!(decide(Mode::Learn), Decision::Learn, "{name}");
            assert_eq!(decide(Mode::Monitor), told, "{name}");
            assert_eq!(decide(Mode::Enforce), told, "{name}");
        }
    }

    #[test]
    fn each_action_is_reported() {
        for action in [Action::Denied, Action::Killed] {
            let unknown = deviation(DeviationKind::Unknown);
            let decision = decide(&unknown, Mode::Enforce, Mode::Learn, action);
            assert_eq!(decision, Decision::Alert { in_hand: false }, "{action}");
        }
    }
}
