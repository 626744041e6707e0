//! Rules for more than one path that the evidence of a profile speaks for. Pure.
//!
//! Input: the exact paths of one section, layer and operation of a profile, each with the windows in which it was seen. Output:
//! [`Proposal`]s for a reviewer, who alone makes them rules. Failure: none; what is not supported is not proposed.
//!
//! No number of files is too many by itself. A form (or a directory) is proposed when new values of it came up in several windows,
//! and the estimate that the profile's coverage is told by says that more will come: the share of its future sightings that fall on
//! values which are known is below [`COVERED`]. A set of files that is used again and again stays exact, however large it is. What
//! is learned in one burst stays exact too, because nothing says whether it will ever happen again.

use std::collections::{BTreeMap, BTreeSet};

use agent_common::normal_form::{Form, Part, Pattern};

use super::coverage::Sightings;
use super::pattern::PathPattern;

/// A path that was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// Which.
    pub path: Vec<u8>,
    /// In how many windows. What is still in its first window, or was accepted unseen (0), speaks for nothing.
    pub windows: u64,
    /// How many windows the profile had when it was seen first: tells windows apart.
    pub first_window: u64,
}

/// A rule that is proposed in place of exact ones.
#[derive(Clone, Debug, PartialEq)]
pub struct Proposal {
    /// The rule.
    pub pattern: PathPattern,
    /// What speaks for it.
    pub support: Support,
    /// The paths that it would stand for, in order.
    pub replaces: Vec<Vec<u8>>,
}

/// What speaks for a rule.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Support {
    /// Different paths that it holds for.
    pub values: u64,
    /// Windows in which one of them came up for the first time.
    pub windows: u64,
    /// The estimated share, 0 to 1, of its future sightings that exact rules for these paths would hold for.
    pub covered: f64,
}

/// How much a rule must have for it at least.
struct Least {
    values: u64,
    windows: u64,
}

/// Of a form: its types say what varies.
const LEAST_OF_FORMS: Least = Least {
    values: 3,
    windows: 3,
};
/// Of everything below a directory, which says nothing of what varies.
const LEAST_OF_SUBTREES: Least = Least {
    values: 8,
    windows: 5,
};

/// A rule is not proposed where exact ones are estimated to hold for at least this share of what is to come.
pub const COVERED: f64 = 0.95;

/// Other paths of which [`allows`] names that many.
const OTHERS_SHOWN: usize = 3;

/// The rules that the evidence speaks for, in the order of their texts' forms: forms first, subtrees for what these leave.
/// `windows` is the number of windows of the profile that count. The order of the sightings does not matter; each path counts once.
#[must_use]
pub fn generalise(sightings: &[Sighting], windows: u64) -> Vec<Proposal> {
    let mut rest: BTreeMap<&[u8], (&Sighting, Form)> = BTreeMap::new();
    for sighting in sightings.iter().filter(|sighting| sighting.windows > 0) {
        let form = Form::of_path(&sighting.path);
        rest.insert(&sighting.path, (sighting, form));
    }
    let mut proposals = Vec::new();
    let of_forms = groups(&rest, |form| form.varies().then(|| form.clone()));
    propose(
        &mut proposals,
        &mut rest,
        of_forms,
        windows,
        &LEAST_OF_FORMS,
        Pattern::form,
    );
    // From the deepest directories on: what one of them is proposed for speaks for none above it.
    let deepest = rest.values().map(|(_, form)| form.names().count()).max();
    for names in (1..deepest.unwrap_or(0)).rev() {
        let of_directories = groups(&rest, |form| {
            (form.names().count() > names).then(|| form.directory(names))
        });
        propose(
            &mut proposals,
            &mut rest,
            of_directories,
            windows,
            &LEAST_OF_SUBTREES,
            Pattern::subtree,
        );
    }
    proposals
}

/// What a rule would allow beyond what was seen, in lines for a reviewer: what each varying part stands for, and of `others`, paths
/// that are known for another reason (what the image holds, or what the profile permits otherwise), those that it holds for.
#[must_use]
pub fn allows<'a>(pattern: &Pattern, others: impl IntoIterator<Item = &'a [u8]>) -> Vec<String> {
    let (form, is_subtree) = match pattern {
        Pattern::Form(form) => (form, false),
        Pattern::Subtree(directory) => (directory, true),
    };
    let kinds: BTreeSet<_> = form
        .names()
        .flatten()
        .filter_map(|part| match part {
            Part::Varying(kind) => Some(kind),
            Part::Literal(_) => None,
        })
        .collect();
    let mut lines: Vec<String> = kinds
        .into_iter()
        .map(|kind| format!("{{{}}}: {}", kind.as_str(), kind.description()))
        .collect();
    if is_subtree {
        lines.push("/**: any name, at any depth".to_owned());
    }
    let mut held = others.into_iter().filter(|path| pattern.holds_for(path));
    for path in held.by_ref().take(OTHERS_SHOWN) {
        lines.push(format!("also {}", crate::text::escape(path)));
    }
    match held.count() {
        0 => {}
        more => lines.push(format!("and {more} more that are known")),
    }
    lines
}

/// Paths by what they have in common.
type Groups<'a> = BTreeMap<Form, Vec<&'a Sighting>>;

fn groups<'a>(
    rest: &BTreeMap<&'a [u8], (&'a Sighting, Form)>,
    common: impl Fn(&Form) -> Option<Form>,
) -> Groups<'a> {
    let mut groups = Groups::new();
    for (sighting, form) in rest.values() {
        if let Some(common) = common(form) {
            groups.entry(common).or_default().push(sighting);
        }
    }
    groups
}

/// Adds what is supported, and takes what it stands for out of the rest.
fn propose<'a>(
    proposals: &mut Vec<Proposal>,
    rest: &mut BTreeMap<&'a [u8], (&'a Sighting, Form)>,
    groups: Groups<'a>,
    windows: u64,
    least: &Least,
    rule: impl Fn(Form) -> Result<Pattern, agent_common::normal_form::PatternError>,
) {
    for (common, sightings) in groups {
        let Some(support) = support(&sightings, windows).filter(|support| support.reaches(least)) else {
            continue;
        };
        // A path has each of these forms; a rule for one that were refused would be in vain.
        let Ok(pattern) = rule(common) else { continue };
        for sighting in &sightings {
            rest.remove(sighting.path.as_slice());
        }
        proposals.push(Proposal {
            pattern: pattern.into(),
            support,
            replaces: sightings.iter().map(|sighting| sighting.path.clone()).collect(),
        });
    }
}

/// What speaks for a rule for these; `None` while there is too little to tell.
fn support(sightings: &[&Sighting], windows: u64) -> Option<Support> {
    let covered = Sightings::new(windows, sightings.iter().map(|sighting| sighting.windows)).coverage()?;
    let firsts: BTreeSet<_> = sightings.iter().map(|sighting| sighting.first_window).collect();
    Some(Support {
        values: sightings.len() as u64,
        windows: firsts.len() as u64,
        covered,
    })
}

impl Support {
    fn reaches(&self, least: &Least) -> bool {
        self.values >= least.values && self.windows >= least.windows && self.covered < COVERED
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn seen(path: &str, windows: u64, first_window: u64) -> Sighting {
        Sighting {
            path: path.as_bytes().to_vec(),
            windows,
            first_window,
        }
    }

    fn texts(proposals: &[Proposal]) -> Vec<String> {
        proposals
            .iter()
            .map(|proposal| proposal.pattern.to_string())
            .collect()
    }

    #[test]
    fn new_values_in_several_windows_speak_for_a_form() {
        let sightings: Vec<_> = (0..4)
            .map(|window| seen(&format!("/run/app-{}.sock", 1000 + window), 1, window))
            .collect();
        let proposals = generalise(&sightings, 10);
        assert_eq!(texts(&proposals), ["/run/app-{decimal}.sock"]);
        let support = proposals[0].support;
        assert_eq!((support.values, support.windows), (4, 4));
        assert!(support.covered < 0.5, "{support:?}");
        assert!(generalise(&sightings[..2], 10).is_empty(), "two are too few");
    }

    #[test]
    fn a_burst_in_one_window_speaks_for_nothing() {
        let sightings: Vec<_> = (0..100)
            .map(|number| seen(&format!("/run/app-{}.sock", 1000 + number), 1, 7))
            .collect();
        assert_eq!(generalise(&sightings, 10), []);
    }

    #[test]
    fn what_is_used_again_and_again_stays_exact() {
        let sightings: Vec<_> = (0..50)
            .map(|number| seen(&format!("/srv/data/issue-{}.txt", 1000 + number), 20, number % 5))
            .collect();
        assert_eq!(generalise(&sightings, 20), []);
    }

    #[test]
    fn the_deepest_directory_that_is_supported_is_proposed() {
        let mut sightings: Vec<_> = [
            "anna", "berta", "carla", "dora", "emma", "frieda", "gerda", "hanna", "ida",
        ]
        .iter()
        .zip(0..)
        .map(|(name, window)| seen(&format!("/srv/home/{name}/mail"), 1, window))
        .collect();
        sightings.push(seen("/srv/app.conf", 30, 0));
        let proposals = generalise(&sightings, 30);
        assert_eq!(texts(&proposals), ["/srv/home/**"]);
        assert_eq!(proposals[0].replaces.len(), 9);
    }

    #[test]
    fn a_subtree_below_names_that_vary_is_below_their_form() {
        let sightings: Vec<_> = (0..10)
            .map(|window| {
                seen(
                    &format!(
                        "/tmp/go-build{}/{}/x",
                        1_000_000 + window,
                        "abcdefghij".split_at(1 + window).0
                    ),
                    1,
                    window as u64,
                )
            })
            .collect();
        assert_eq!(texts(&generalise(&sightings, 30)), ["/tmp/go-build{decimal}/**"]);
    }

    #[test]
    fn a_reviewer_is_told_what_else_it_would_allow() {
        let pattern = |text: &str| text.parse::<PathPattern>().expect("a rule");
        let others: [&[u8]; 2] = [b"/run/app-9999.sock", b"/run/other"];
        assert_eq!(
            allows(pattern("/run/app-{decimal}.sock").pattern(), others),
            ["{decimal}: any number", "also /run/app-9999.sock"]
        );
        let others = ["/run/a", "/run/b", "/run/c", "/run/d", "/run/e"].map(str::as_bytes);
        assert_eq!(
            allows(pattern("/run/**").pattern(), others),
            [
                "/**: any name, at any depth",
                "also /run/a",
                "also /run/b",
                "also /run/c",
                "and 2 more that are known"
            ]
        );
    }

    fn sightings() -> impl Strategy<Value = Vec<Sighting>> {
        let path = "(/(run|tmp|srv|[0-9]{4,6}|[a-z]{1,3}|x-[0-9]{4}|[0-9a-f]{8})){1,4}";
        let sighting = (path, 0..4u64, 0..12u64);
        prop::collection::vec(
            sighting.prop_map(|(path, windows, first)| seen(&path, windows, first)),
            0..120,
        )
    }

    proptest! {
        #[test]
        fn a_rule_holds_for_what_it_replaces_and_nothing_is_replaced_twice(sightings in sightings(), windows in 0..60u64) {
            let mut replaced = BTreeSet::new();
            for proposal in generalise(&sightings, windows) {
                prop_assert_eq!(proposal.support.values, proposal.replaces.len() as u64);
                prop_assert!(proposal.support.windows <= proposal.support.values);
                let text = proposal.pattern.to_string();
                prop_assert_eq!(text.parse(), Ok(proposal.pattern.clone()));
                for path in proposal.replaces {
                    prop_assert!(proposal.pattern.pattern().holds_for(&path), "{}", text);
                    prop_assert!(sightings.iter().any(|sighting| sighting.path == path && sighting.windows > 0));
                    prop_assert!(replaced.insert(path), "{} replaces again", text);
                }
            }
        }

        #[test]
        fn the_order_does_not_matter(mut sightings in sightings(), windows in 0..60u64) {
            sightings.sort_by(|a, b| a.path.cmp(&b.path));
            sightings.dedup_by(|a, b| a.path == b.path);
            let proposals = generalise(&sightings, windows);
            sightings.reverse();
            prop_assert_eq!(generalise(&sightings, windows), proposals);
        }
    }
}
