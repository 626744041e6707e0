//! The mode that a pod asks for by its annotations, within what the node allows.
//!
//! Input: the pod's annotations, the mode that holds without them, the node's limits. Output: the mode that holds, and what is to be
//! said if it is not what was asked for. Failure: none; what cannot be read is not followed.
//!
//! A pod is written by somebody who need not have a say over the node: it may make its own containers' mode stricter, up to a limit, and
//! weaker only where the node's configuration says so, and never than what an operator set for that container or image.

use std::collections::BTreeMap;

use agent_common::domain::{Domain, Mode};

use super::mode::ModeSource;
use crate::tag::Tag as _;
use crate::text::ByteText;

/// The mode in all domains. With a dot and a domain's name behind it, the mode in that domain.
pub const MODE: &str = "driftlock.dev/mode";

/// What pods may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How weak a mode may take the default's place; `None` if the default may not be weakened.
    pub weakest: Option<Mode>,
    /// The strictest mode that may be asked for. What the node demands by itself may be stricter.
    pub strictest: Mode,
}

/// What holds in one domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The mode.
    pub mode: Mode,
    /// The annotation is why.
    pub is_asked: bool,
    /// Why it is not what was asked for.
    pub problem: Option<String>,
}

/// The mode that somebody may ask for by this word.
#[must_use]
pub fn settable(word: &[u8]) -> Option<Mode> {
    let settable = [Mode::Learn, Mode::Monitor, Mode::Enforce];
    settable.into_iter().find(|mode| mode.word().as_bytes() == word)
}

fn weaker(one: Mode, other: Mode) -> Mode {
    std::cmp::min_by_key(one, other, |mode| mode.strictness())
}

fn stricter(one: Mode, other: Mode) -> Mode {
    std::cmp::max_by_key(one, other, |mode| mode.strictness())
}

// === impl Limits ===

impl Default for Limits {
    /// `enforce` is an operator's word.
    fn default() -> Self {
        Self {
            weakest: None,
            strictest: Mode::Monitor,
        }
    }
}

impl Limits {
    /// The mode that holds in `domain`. `node`: the mode that holds without annotations, and where it comes from.
    #[must_use]
    pub fn apply(
        &self,
        annotations: &BTreeMap<ByteText, ByteText>,
        domain: Domain,
        node: (Mode, ModeSource),
    ) -> Outcome {
        let (mode, source) = node;
        // What the node does not pay for is not for a pod to switch on.
        if mode == Mode::Off {
            let own = ByteText::from(format!("{MODE}.{}", domain.word()).as_str());
            return Outcome {
                mode,
                is_asked: false,
                problem: annotations
                    .contains_key(&own)
                    .then(|| format!("its annotation {own} asks for a domain that is off on this node")),
            };
        }
        let unasked = |problem| Outcome {
            mode,
            is_asked: false,
            problem,
        };
        let own = format!("{MODE}.{}", domain.word());
        let asked = [own.as_str(), MODE]
            .into_iter()
            .find_map(|name| Some((name.to_owned(), annotations.get(&ByteText::from(name))?)));
        let Some((name, text)) = asked else {
            return unasked(None);
        };
        let Some(wanted) = settable(text.as_bytes()) else {
            return unasked(Some(format!(
                "its annotation {name} says `{text}`, which is no mode (learn, monitor, enforce)"
            )));
        };
        let weakest = match (source, self.weakest) {
            (ModeSource::Default, Some(weakest)) => weaker(weakest, mode),
            _ => mode,
        };
        let strictest = stricter(self.strictest, mode);
        let given = stricter(weaker(wanted, strictest), weakest);
        Outcome {
            mode: given,
            is_asked: given != mode,
            problem: (given != wanted).then(|| {
                let which = if given.strictness() < wanted.strictness() {
                    "at most"
                } else {
                    "at least"
                };
                format!(
                    "its annotation {name} asks for {}, the node allows {which} {}",
                    wanted.word(),
                    given.word()
                )
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MODES: [Mode; 3] = [Mode::Learn, Mode::Monitor, Mode::Enforce];

    fn asks(pairs: &[(&str, &str)]) -> BTreeMap<ByteText, ByteText> {
        pairs
            .iter()
            .map(|(name, value)| (ByteText::from(*name), ByteText::from(*value)))
            .collect()
    }

    #[test]
    fn a_pod_may_be_stricter_within_limits() {
        let node = (Mode::Learn, ModeSource::Default);
        let ask = |mode| asks(&[("driftlock.dev/mode", mode)]);
        let limits = Limits::default();
        let monitored = limits.apply(&ask("monitor"), Domain::Exec, node);
        assert_eq!((monitored.mode, monitored.is_asked), (Mode::Monitor, true));
        assert_eq!(monitored.problem, None);
        let enforced = limits.apply(&ask("enforce"), Domain::Exec, node);
        assert_eq!(enforced.mode, Mode::Monitor);
        assert!(enforced.problem.expect("it is said").contains("at most monitor"));
        let allowed = Limits {
            strictest: Mode::Enforce,
            ..limits
        };
        assert_eq!(
            allowed.apply(&ask("enforce"), Domain::Exec, node).mode,
            Mode::Enforce
        );
    }

    #[test]
    fn the_domains_own_word_goes_first() {
        let annotations = asks(&[
            ("driftlock.dev/mode", "monitor"),
            ("driftlock.dev/mode.library", "learn"),
        ]);
        let node = (Mode::Learn, ModeSource::Default);
        let mode = |domain| Limits::default().apply(&annotations, domain, node).mode;
        assert_eq!(mode(Domain::Exec), Mode::Monitor);
        assert_eq!(mode(Domain::Library), Mode::Learn);
    }

    #[test]
    fn only_the_default_is_weakened_and_only_as_far_as_allowed() {
        let limits = Limits {
            weakest: Some(Mode::Learn),
            ..Limits::default()
        };
        let ask = asks(&[("driftlock.dev/mode", "learn")]);
        let given = |source| limits.apply(&ask, Domain::Exec, (Mode::Enforce, source));
        assert_eq!(given(ModeSource::Default).mode, Mode::Learn);
        for source in [ModeSource::Reference, ModeSource::Image, ModeSource::Container] {
            let outcome = given(source);
            assert_eq!(outcome.mode, Mode::Enforce);
            assert!(outcome.problem.is_some() && !outcome.is_asked);
        }
    }

    #[test]
    fn what_is_no_mode_is_said_and_not_followed() {
        let node = (Mode::Monitor, ModeSource::Default);
        for text in ["", "off", "Enforce", "enforce\n", "pending"] {
            let outcome = Limits::default().apply(&asks(&[(MODE, text)]), Domain::Exec, node);
            assert_eq!(
                (outcome.mode, outcome.is_asked),
                (Mode::Monitor, false),
                "{text:?}"
            );
            assert!(outcome.problem.is_some(), "{text:?}");
        }
    }

    #[test]
    fn no_annotation_switches_a_domain_on() {
        let limits = Limits {
            weakest: None,
            strictest: Mode::Enforce,
        };
        let node = (Mode::Off, ModeSource::Default);
        let general = limits.apply(&asks(&[(MODE, "learn")]), Domain::Syscall, node);
        assert_eq!(
            (general.mode, general.is_asked, general.problem),
            (Mode::Off, false, None)
        );
        let own = limits.apply(
            &asks(&[("driftlock.dev/mode.syscall", "learn")]),
            Domain::Syscall,
            node,
        );
        assert_eq!((own.mode, own.is_asked), (Mode::Off, false));
        assert!(own.problem.is_some());
    }

    proptest! {
        #[test]
        fn no_annotation_weakens_what_the_node_demands(
            text in "learn|monitor|enforce|.{0,8}",
            node in 0_usize..3,
            strictest in 0_usize..3,
            weakest in 0_usize..3,
            is_set in any::<bool>(),
        ) {
            let source = if is_set { ModeSource::Image } else { ModeSource::Default };
            let limits = Limits { weakest: Some(MODES[weakest]), strictest: MODES[strictest] };
            let annotations = asks(&[(MODE, text.as_str())]);
            let outcome = limits.apply(&annotations, Domain::Exec, (MODES[node], source));
            let least = if is_set { MODES[node] } else { weaker(MODES[node], MODES[weakest]) };
            let most = stricter(MODES[node], MODES[strictest]);
            let range = least.strictness()..=most.strictness();
            prop_assert!(range.contains(&outcome.mode.strictness()), "{:?}", outcome);
        }
    }
}
