//! What differs between two profile documents in what they permit.
//!
//! Input: two documents. Output: [`ProfileDiff`], by role, section and behaviour, in the documents' order. Failure: none. How often something was
//! seen is evidence, not permission, and is not compared; nor are the images' references. Pure.

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
    /// Roles that differ.
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
        let roles: BTreeSet<_> = before.keys().chain(after.keys()).collect();
        let diffs = roles
            .into_iter()
            .filter_map(|role| RoleDiff::new(role.as_text().clone(), before.get(role), after.get(role)));
        Self {
            from: side(from),
            to: side(to),
            roles: diffs.collect(),
        }
    }

    /// Whether both permit the same.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.roles.is_empty()
    }
}

// === impl RoleDiff ===

impl RoleDiff {
    /// `None` if nothing differs.
    fn new(role: ByteText, from: Option<&RoleProfile>, to: Option<&RoleProfile>) -> Option<Self> {
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
        };
        let is_same =
            diff.change == Change::Changed && diff.settings.is_empty() && diff.behaviours.is_empty();
        (!is_same).then_some(diff)
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
