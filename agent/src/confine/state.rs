//! How far the agent is confined, as the kernel tells it.
//!
//! Input: `/proc/self/status` of the thread that asks. Output: [`State`]. Failure: what cannot be read counts as not confined.

use crate::behaviour::Capability;

/// What holds for a process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// The capabilities that it has, without `CAP_`, in the order of their numbers.
    pub capabilities: Vec<String>,
    /// It and what it executes gets no further privileges.
    pub no_new_privileges: bool,
    /// Its system calls are filtered.
    pub filtered: bool,
}

/// What holds for the thread that asks.
#[must_use]
pub fn state() -> State {
    of(&std::fs::read_to_string("/proc/thread-self/status").unwrap_or_default())
}

fn of(status: &str) -> State {
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.strip_prefix(':')).map(str::trim)
    };
    let effective = field("CapEff").and_then(|digits| u64::from_str_radix(digits, 16).ok());
    // Unread counts as all of them.
    let effective = effective.unwrap_or(u64::MAX);
    State {
        capabilities: (0..64)
            .filter(|number| effective & (1 << number) != 0)
            .filter_map(Capability::from_raw)
            .map(|capability| capability.name().trim_start_matches("CAP_").to_owned())
            .collect(),
        no_new_privileges: field("NoNewPrivs") == Some("1"),
        filtered: field("Seccomp") == Some("2"),
    }
}

impl State {
    /// Nothing more can be gained, and not everything can be called.
    #[must_use]
    pub const fn is_confined(&self) -> bool {
        self.no_new_privileges && self.filtered
    }
}

impl std::fmt::Display for State {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let word = |holds, yes, no| if holds { yes } else { no };
        write!(
            formatter,
            "{}; {}; {}",
            match self.capabilities.len() {
                0 => "no capabilities".to_owned(),
                1..=10 => self.capabilities.join(", "),
                many => format!("{many} capabilities"),
            },
            word(
                self.no_new_privileges,
                "no new privileges",
                "new privileges possible"
            ),
            word(
                self.filtered,
                "system calls filtered",
                "system calls not filtered"
            ),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_words_are_read_and_what_is_unread_counts_as_unconfined() {
        let state = of(
            "Name:\tdriftlock\nCapEff:\t000000c000080004\nNoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t1\n",
        );
        assert!(state.is_confined());
        assert_eq!(
            state.to_string(),
            "DAC_READ_SEARCH, SYS_PTRACE, PERFMON, BPF; no new privileges; system calls filtered"
        );
        let unread = of("");
        assert!(!unread.is_confined());
        assert!(
            unread
                .to_string()
                .ends_with("new privileges possible; system calls not filtered"),
            "{unread}"
        );
    }
}
