//! A recording: which behaviours were seen in which windows.
//!
//! Input: a file of tests/recordings (`cargo xtask record` writes and describes them). Output: the behaviours of each domain with their windows.
//! Failure: a panic that names the line.

use std::collections::BTreeMap;
use std::path::PathBuf;

use agent_common::normal_form::Form;

/// Most windows of a recording: one bit each.
const WINDOWS_MAX: u32 = 128;

/// Windows, a bit for each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Set(pub u128);

/// What was recorded of one workload.
pub struct Recording {
    /// Its name.
    pub name: &'static str,
    /// How many windows there are.
    pub windows: u32,
    /// By domain: in which windows each behaviour was seen. What is a domain here is [`DOMAINS`].
    pub seen: BTreeMap<&'static str, Vec<Set>>,
}

/// The workloads, in the order of the page.
pub const NAMES: [&str; 6] = ["compile", "shell", "python", "git", "packages", "server"];

/// What is measured apart. Files twice: by their exact paths, and by the normal form, as if a rule had been accepted for each.
pub const DOMAINS: [&str; 5] = ["exec", "file", "file by form", "cap", "syscall"];

// === impl Set ===

impl Set {
    /// The first `count` windows.
    pub fn first(count: u32) -> Self {
        Self(u128::MAX.checked_shr(128 - count).unwrap_or(0))
    }

    /// How many there are.
    pub fn len(self) -> u64 {
        self.0.count_ones().into()
    }

    /// Those of both.
    pub fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Those that are not in `other`.
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    fn insert(&mut self, window: u32) {
        self.0 |= 1 << window;
    }
}

// === impl Recording ===

impl Recording {
    /// Reads the recording of the workload `name`.
    pub fn read(name: &'static str) -> Self {
        let file: PathBuf = [env!("CARGO_MANIFEST_DIR"), "..", "tests", "recordings", name]
            .iter()
            .collect();
        let file = file.with_extension("txt");
        let text =
            std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        Self::parse(name, &text)
    }

    fn parse(name: &'static str, text: &str) -> Self {
        let mut windows = None;
        let mut by_text: BTreeMap<(&'static str, String), Set> = BTreeMap::new();
        let mut group = None;
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            if let Some(behaviour) = line.strip_prefix(' ') {
                let (domain, Set(seen)) = group.unwrap_or_else(|| panic!("{name}: seen when? {line}"));
                by_text.entry((domain, behaviour.to_owned())).or_default().0 |= seen;
                if domain == "file" {
                    by_text.entry(("file by form", by_form(behaviour))).or_default().0 |= seen;
                }
            } else if let Some(count) = line.strip_prefix("windows ") {
                windows = Some(count.parse().expect("a number of windows"));
            } else {
                group = group_of(line);
                assert!(group.is_some(), "{name}: not understood: {line}");
            }
        }
        let windows = windows.unwrap_or_else(|| panic!("{name}: how many windows there are is not said"));
        assert!(windows <= WINDOWS_MAX, "{name}: more than {WINDOWS_MAX} windows");
        let mut seen: BTreeMap<&'static str, Vec<Set>> = BTreeMap::new();
        for ((domain, _), set) in by_text {
            assert!(
                set.without(Set::first(windows)).len() == 0,
                "{name}: a window too many"
            );
            seen.entry(domain).or_default().push(set);
        }
        Self { name, windows, seen }
    }

    /// The windows from `first` on, counted from there.
    pub fn from(&self, first: u32) -> Self {
        let shifted = |sets: &Vec<Set>| {
            let sets = sets.iter().map(|set| Set(set.0 >> first));
            sets.filter(|set| set.len() > 0).collect()
        };
        Self {
            name: self.name,
            windows: self.windows - first,
            seen: self
                .seen
                .iter()
                .map(|(domain, sets)| (*domain, shifted(sets)))
                .collect(),
        }
    }
}

/// The domain and the windows of `exec 0-3,7`.
fn group_of(line: &str) -> Option<(&'static str, Set)> {
    let (word, ranges) = line.split_once(' ')?;
    let domain = DOMAINS.into_iter().find(|known| *known == word)?;
    Some((domain, ranges_of(ranges)?))
}

/// `0-3,7` as windows.
fn ranges_of(text: &str) -> Option<Set> {
    let mut set = Set::default();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        for window in first..=last {
            (window < WINDOWS_MAX).then(|| set.insert(window))?;
        }
    }
    Some(set)
}

/// The manner and the normal form of the path of `manner path`.
fn by_form(behaviour: &str) -> String {
    let (manner, path) = behaviour.split_once(' ').unwrap_or(("", behaviour));
    format!("{manner} {:?}", Form::of_path(path.as_bytes()))
}

#[test]
fn a_recording_is_read() {
    let text = "# of what\nwindows 4\nexec 0-1,3\n /bin/sh\nfile 1\n read /proc/12\nfile 2\n read /proc/77\nsyscall 0-3\n read\n";
    let found = Recording::parse("shell", text);
    assert_eq!(found.windows, 4);
    assert_eq!(found.seen["exec"], [Set(0b1011)]);
    assert_eq!(found.seen["file"], [Set(0b0010), Set(0b0100)]);
    assert_eq!(
        found.seen["file by form"],
        [Set(0b0110)],
        "one form, seen in two windows"
    );
    assert_eq!(found.from(2).seen["exec"], [Set(0b10)]);
    assert_eq!(found.from(2).windows, 2);
}
