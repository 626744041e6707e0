//! What differs between two profile documents in what they permit.
//!
//! Input: two documents. Output: [`ProfileDiff`], by role, section and behaviour, in the documents' order. Failure: none. How often something was
//! seen is evidence, not permission, and is not compared; nor are the images' references. Where the second document's image follows the
//! first's, it is told too which rules were inherited and which were seen anew, because what they name changed. Pure.

use std::collections::{BTreeMap, BTreeSet};

use agent_common::domain::Section;
use serde::Serialize;

use crate::behaviour::{Behaviour, BehaviourParts, ExecBehaviour};
use crate::image::ImageDigest;
use crate::profile::document::{ProfileDocument, RoleProfile};
use crate::profile::model::AcceptedDrift;
use crate::text::ByteText;

/// What differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ProfileDiff {
    /// The first document.
    pub from: DiffSide,
    /// The second document.
    pub to: DiffSide,
    /// Roles that differ, or of which one is the other's heir.
    pub roles: Vec<RoleDiff>,
}

/// One of the two documents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DiffSide {
    /// What it was called by: a file's name, a reference or a digest.
    pub name: String,
    /// Config digest of its image.
    pub digest: ImageDigest,
}

/// A role that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RoleDiff {
    /// The role.
    pub role: ByteText,
    /// Whether both documents have it.
    pub change: Change,
    /// What differs about the profile as a whole.
    pub settings: Vec<SettingDiff>,
    /// What differs in behaviours.
    pub behaviours: Vec<BehaviourDiff>,
    /// What became of the rules that both hold; null unless the second image follows the first.
    pub descent: Option<Descent>,
}

/// What became of rules of the image before that the one after holds too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Descent {
    /// How many were inherited: what they name is the same in both images.
    pub inherited: u64,
    /// Those that were not, and came in anew: what they name changed, or could not be compared.
    pub anew: Vec<RuleParts>,
}

/// A rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RuleParts {
    /// For whom.
    #[serde(with = "crate::tag")]
    pub section: Section,
    /// What it consists of.
    #[serde(flatten)]
    pub parts: BehaviourParts,
}

/// How something differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// Only the second document has it.
    Added,
    /// Only the first document has it.
    Removed,
    /// Both have it, and it differs.
    Changed,
}

/// Something about a profile as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SettingDiff {
    /// The document's field.
    pub name: &'static str,
    /// In the first document; null if it does not have the role.
    pub from: Option<bool>,
    /// In the second document; null if it does not have the role.
    pub to: Option<bool>,
}

/// A behaviour.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BehaviourDiff {
    /// How it differs.
    pub change: Change,
    /// For whom; null for accepted drift, which counts for all.
    #[serde(with = "crate::tag::option")]
    pub section: Option<Section>,
    /// What it consists of.
    #[serde(flatten)]
    pub parts: BehaviourParts,
    /// What the first document says of it; null if it does not hold it.
    pub from: Option<Said>,
    /// What the second document says of it; null if it does not hold it.
    pub to: Option<Said>,
}

/// What a document says of a behaviour.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Said {
    /// It is permitted; otherwise it is a proposal.
    pub permitted: bool,
    /// The contents that are permitted, SHA-256 in hexadecimal; empty where the content does not matter.
    pub sha256: BTreeSet<String>,
    /// Why, in an operator's words.
    pub note: Option<String>,
}

/// What of a behaviour is compared.
type Behaviours = BTreeMap<(Option<SectionOrder>, Behaviour), Said>;

/// Sections in the documents' order.
type SectionOrder = u8;

// === impl ProfileDiff ===

impl ProfileDiff {
    /// Compares two documents; the names are what they were called by.
    #[must_use]
    pub fn new(from: (&str, &ProfileDocument), to: (&str, &ProfileDocument)) -> Self {
        let side = |(name, document): (&str, &ProfileDocument)| DiffSide {
            name: name.to_owned(),
            digest: document.digest.clone(),
        };
        let (before, after) = (&from.1.roles, &to.1.roles);
        let follows = to.1.image.descends_from.as_ref() == Some(&from.1.digest);
        let roles: BTreeSet<_> = before.keys().chain(after.keys()).collect();
        let diffs = roles.into_iter().filter_map(|role| {
            RoleDiff::new(role.as_text().clone(), before.get(role), after.get(role), follows)
        });
        Self {
            from: side(from),
            to: side(to),
            roles: diffs.collect(),
        }
    }

    /// Whether both permit the same.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.roles.iter().all(RoleDiff::permits_the_same)
    }
}

// === impl RoleDiff ===

impl RoleDiff {
    /// `None` if nothing differs, and nothing was inherited.
    fn new(
        role: ByteText,
        from: Option<&RoleProfile>,
        to: Option<&RoleProfile>,
        follows: bool,
    ) -> Option<Self> {
        let setting = |name, of: fn(&RoleProfile) -> bool| {
            let (from, to) = (from.map(of), to.map(of));
            (from != to).then_some(SettingDiff { name, from, to })
        };
        let settings = [
            setting("approved", |profile| profile.approved),
            setting("scripts", |profile| profile.scripts),
        ];
        let mut before = from.map(behaviours).unwrap_or_default();
        let mut keys: BTreeSet<_> = before.keys().cloned().collect();
        let mut after = to.map(behaviours).unwrap_or_default();
        keys.extend(after.keys().cloned());
        let behaviours = keys.into_iter().filter_map(|key| {
            let (from, to) = (before.remove(&key), after.remove(&key));
            let (section, behaviour) = key;
            (from != to).then(|| BehaviourDiff {
                change: Change::of(from.is_some(), to.is_some()),
                section: section.map(section_of),
                parts: BehaviourParts::from(&behaviour),
                from,
                to,
            })
        });
        let diff = Self {
            role,
            change: Change::of(from.is_some(), to.is_some()),
            settings: settings.into_iter().flatten().collect(),
            behaviours: behaviours.collect(),
            descent: from
                .zip(to)
                .filter(|_| follows)
                .map(|(from, to)| Descent::new(from, to)),
        };
        (!diff.permits_the_same() || diff.descent.is_some()).then_some(diff)
    }

    /// Whether nothing differs in what is permitted.
    #[must_use]
    pub fn permits_the_same(&self) -> bool {
        self.change == Change::Changed && self.settings.is_empty() && self.behaviours.is_empty()
    }
}

// === impl Descent ===

impl Descent {
    fn new(before: &RoleProfile, after: &RoleProfile) -> Self {
        let main = after.main.iter().filter(|(one, _)| before.main.contains_key(one));
        let main = main.map(|(one, evidence)| (Section::Main, one, evidence.inherited));
        let was_permitted = |one| before.exec_in.get(one).is_some_and(|entry| entry.accepted);
        let exec_in = after.exec_in.iter().filter(|(one, _)| was_permitted(one));
        let exec_in = exec_in.map(|(one, entry)| (Section::ExecIn, one, entry.evidence.inherited));
        let (mut inherited, mut anew) = (0, Vec::new());
        for (section, behaviour, is_inherited) in main.chain(exec_in) {
            if is_inherited {
                inherited += 1;
            } else {
                let parts = BehaviourParts::from(behaviour);
                anew.push(RuleParts { section, parts });
            }
        }
        Self { inherited, anew }
    }
}

// === impl Change ===

impl Change {
    fn of(before: bool, after: bool) -> Self {
        match (before, after) {
            (false, _) => Self::Added,
            (true, false) => Self::Removed,
            (true, true) => Self::Changed,
        }
    }
}

fn behaviours(profile: &RoleProfile) -> Behaviours {
    let key = |section: Section, behaviour: &Behaviour| (Some(section as SectionOrder), behaviour.clone());
    let main = profile
        .main
        .keys()
        .map(|behaviour| (key(Section::Main, behaviour), Said::plainly(true)));
    let exec_in = profile
        .exec_in
        .iter()
        .map(|(behaviour, entry)| (key(Section::ExecIn, behaviour), Said::plainly(entry.accepted)));
    let drift = profile.drift.iter().map(|((layer, path), accepted)| {
        let program = ExecBehaviour {
            layer: *layer,
            path: path.clone(),
            applet: None,
        };
        ((None, program.into()), Said::by_content(accepted))
    });
    main.chain(exec_in).chain(drift).collect()
}

fn section_of(order: SectionOrder) -> Section {
    if order == Section::Main as SectionOrder {
        Section::Main
    } else {
        Section::ExecIn
    }
}

// === impl Said ===

impl Said {
    fn plainly(permitted: bool) -> Self {
        Self {
            permitted,
            sha256: BTreeSet::new(),
            note: None,
        }
    }

    fn by_content(accepted: &AcceptedDrift) -> Self {
        Self {
            permitted: true,
            sha256: accepted.sha256.iter().map(ToString::to_string).collect(),
            note: (!accepted.note.is_empty()).then(|| accepted.note.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::profile::document::tests::document;
    use crate::profile::model::{Evidence, ImageRecord, Role};

    #[test]
    fn an_heir_tells_what_it_inherited_and_what_came_in_anew() {
        let program = |path: &str| {
            Behaviour::Exec(ExecBehaviour {
                layer: agent_common::file::Layer::Image,
                path: path.into(),
                applet: None,
            })
        };
        let document = |number: u8, programs: &[(&str, Evidence)]| {
            let mut profile = RoleProfile::default();
            let programs = programs.iter().map(|(path, evidence)| (program(path), *evidence));
            profile.main.extend(programs);
            ProfileDocument {
                digest: format!("sha256:{number:064x}").parse().expect("a digest"),
                image: ImageRecord::default(),
                roles: [(Role::new("/init".into()).expect("a role"), profile)].into(),
            }
        };
        let seen = Evidence::of_windows(3);
        let before = document(1, &[("/a", seen), ("/b", seen), ("/gone", seen)]);
        let mut after = document(2, &[("/a", Evidence::INHERITED), ("/b", seen), ("/new", seen)]);
        let stranger = ProfileDiff::new(("before", &before), ("after", &after));
        assert_eq!(stranger.roles[0].descent, None);
        after.image.descends_from = Some(before.digest.clone());
        let diff = ProfileDiff::new(("before", &before), ("after", &after));
        assert_eq!(diff.roles[0].behaviours, stranger.roles[0].behaviours);
        assert_eq!(diff.roles[0].behaviours.len(), 2, "one gone, one new");
        let anew = RuleParts {
            section: Section::Main,
            parts: BehaviourParts::from(&program("/b")),
        };
        let expected = Descent {
            inherited: 1,
            anew: vec![anew],
        };
        assert_eq!(diff.roles[0].descent, Some(expected));
        // The same is permitted, and what was inherited is told all the same.
        let mut same = before.clone();
        same.digest = after.digest.clone();
        same.image.descends_from = Some(before.digest.clone());
        let diff = ProfileDiff::new(("before", &before), ("same", &same));
        assert!(diff.is_empty() && diff.roles.len() == 1, "{diff:?}");
    }

    proptest! {
        #[test]
        fn a_document_is_like_itself_whatever_was_seen_how_often(one in document()) {
            let mut other = one.clone();
            for profile in other.roles.values_mut() {
                profile.counts.exec.windows = profile.counts.exec.windows.wrapping_add(1);
                profile.main.values_mut().for_each(|evidence| evidence.windows = evidence.windows.wrapping_add(1));
            }
            prop_assert!(ProfileDiff::new(("one", &one), ("other", &other)).is_empty());
        }

        #[test]
        fn what_is_added_one_way_is_removed_the_other(one in document(), other in document()) {
            let there = ProfileDiff::new(("one", &one), ("other", &other));
            let back = ProfileDiff::new(("other", &other), ("one", &one));
            let mirrored = |change| match change {
                Change::Added => Change::Removed,
                Change::Removed => Change::Added,
                Change::Changed => Change::Changed,
            };
            prop_assert_eq!(there.roles.len(), back.roles.len());
            for (there, back) in there.roles.iter().zip(&back.roles) {
                prop_assert_eq!(mirrored(there.change), back.change);
                prop_assert_eq!(there.behaviours.len(), back.behaviours.len());
                for (there, back) in there.behaviours.iter().zip(&back.behaviours) {
                    prop_assert_eq!(mirrored(there.change), back.change);
                    prop_assert_eq!((&there.from, &there.to), (&back.to, &back.from));
                }
            }
        }
    }
}
