//! Between the document as it is written and the document as it is meant.
//!
//! Input: what the parser read. Output: a checked [`ProfileDocument`], and back. Failure: a [`Problem`] that names
//! the field and knows its place.

use std::collections::{BTreeMap, BTreeSet};

use agent_common::file::Layer;
use serde_saphyr::{Location, Spanned};

use super::{ProfileDocument, RoleProfile, wire};
use crate::behaviour::ExecBehaviour;
use crate::profile::model::{
    self, AcceptedDrift, BEHAVIOURS_MAX, DRIFT_MAX, Evidence, ExecInEntry, ImageRecord, REFERENCES_MAX, Role,
};
use crate::text::ByteText;

/// What is wrong, and where.
pub(super) struct Problem {
    pub(super) location: Location,
    pub(super) text: String,
}

impl ProfileDocument {
    /// What the document means.
    pub(super) fn check(document: wire::Document) -> Result<Self, Problem> {
        let image = ImageRecord {
            references: unique("image.references", document.image.references, REFERENCES_MAX)?,
            manifests: unique("image.manifests", document.image.manifests, REFERENCES_MAX)?,
            descends_from: document.descends_from,
            provisional_of: None,
        };
        let mut roles = BTreeMap::new();
        for Spanned {
            value, referenced, ..
        } in document.roles
        {
            let role = value.role.clone();
            let profile = RoleProfile::check(value)?;
            if roles.insert(role.clone(), profile).is_some() {
                return Err(problem(referenced, format!("roles: role `{role}` occurs twice")));
            }
        }
        Ok(Self {
            digest: document.image.digest,
            image,
            roles,
        })
    }

    /// The document to write; `None` if it holds what no document can say.
    pub(super) fn wire(&self) -> Option<wire::Document> {
        let roles = self
            .roles
            .iter()
            .map(|(role, profile)| profile.wire(role).map(wire::unplaced));
        Some(wire::Document {
            api_version: wire::ApiVersion::V1,
            kind: wire::Kind::ImageProfile,
            image: wire::Image {
                digest: self.digest.clone(),
                manifests: self.image.manifests.iter().cloned().map(wire::unplaced).collect(),
                references: self
                    .image
                    .references
                    .iter()
                    .cloned()
                    .map(wire::unplaced)
                    .collect(),
            },
            descends_from: self.image.descends_from.clone(),
            roles: roles.collect::<Option<_>>()?,
        })
    }
}

impl RoleProfile {
    fn check(entry: wire::RoleEntry) -> Result<Self, Problem> {
        let mut profile = Self {
            approved: entry.approved,
            scripts: entry.scripts,
            counts: entry.observation.into(),
            ..Self::default()
        };
        for Spanned {
            value, referenced, ..
        } in entry.exec
        {
            let behaviour = behaviour("exec", referenced, value.layer, value.path, value.applet)?;
            let evidence = Evidence {
                windows: value.windows,
            };
            insert("exec", referenced, &mut profile.exec, behaviour, evidence)?;
        }
        for Spanned {
            value, referenced, ..
        } in entry.exec_in
        {
            let behaviour = behaviour("execIn", referenced, value.layer, value.path, value.applet)?;
            let entry = ExecInEntry {
                evidence: Evidence {
                    windows: value.windows,
                },
                accepted: value.accepted,
            };
            insert("execIn", referenced, &mut profile.exec_in, behaviour, entry)?;
        }
        let mut contents = 0;
        for Spanned {
            value, referenced, ..
        } in entry.accepted_drift
        {
            let file = (Layer::from(value.layer), value.path);
            model::check_acceptable(file.0, &file.1)
                .map_err(|error| problem(referenced, format!("acceptedDrift: {error}")))?;
            let sha256 = unique("acceptedDrift.sha256", value.sha256, DRIFT_MAX)?;
            contents += sha256.len();
            if sha256.is_empty() {
                return Err(problem(referenced, "acceptedDrift: sha256 is empty".into()));
            }
            if contents > DRIFT_MAX {
                return Err(problem(
                    referenced,
                    format!("acceptedDrift: more than {DRIFT_MAX} contents in one role"),
                ));
            }
            let note = value.note;
            model::check_text("note", &note)
                .map_err(|error| problem(referenced, format!("acceptedDrift: {error}")))?;
            let shown = format!("{} {}", file.0, file.1);
            if profile
                .drift
                .insert(file, AcceptedDrift { sha256, note })
                .is_some()
            {
                return Err(problem(
                    referenced,
                    format!("acceptedDrift: `{shown}` occurs twice"),
                ));
            }
        }
        Ok(profile)
    }

    fn wire(&self, role: &Role) -> Option<wire::RoleEntry> {
        let exec = self.exec.iter().map(|(behaviour, evidence)| {
            Some(wire::unplaced(wire::ExecEntry {
                layer: wire::LearnedLayer::of(behaviour.layer)?,
                path: behaviour.path.clone(),
                applet: behaviour.applet.clone(),
                windows: evidence.windows,
            }))
        });
        let exec_in = self.exec_in.iter().map(|(behaviour, entry)| {
            Some(wire::unplaced(wire::ExecInEntry {
                layer: wire::LearnedLayer::of(behaviour.layer)?,
                path: behaviour.path.clone(),
                applet: behaviour.applet.clone(),
                windows: entry.evidence.windows,
                accepted: entry.accepted,
            }))
        });
        let accepted_drift = self.drift.iter().map(|((layer, path), accepted)| {
            Some(wire::unplaced(wire::DriftEntry {
                layer: wire::DriftLayer::of(*layer)?,
                path: path.clone(),
                sha256: accepted.sha256.iter().copied().map(wire::unplaced).collect(),
                note: accepted.note.clone(),
            }))
        });
        Some(wire::RoleEntry {
            role: role.clone(),
            approved: self.approved,
            scripts: self.scripts,
            exec: exec.collect::<Option<_>>()?,
            exec_in: exec_in.collect::<Option<_>>()?,
            accepted_drift: accepted_drift.collect::<Option<_>>()?,
            observation: self.counts.into(),
        })
    }
}

fn behaviour(
    field: &str,
    location: Location,
    layer: wire::LearnedLayer,
    path: ByteText,
    applet: Option<ByteText>,
) -> Result<ExecBehaviour, Problem> {
    let behaviour = ExecBehaviour {
        layer: layer.into(),
        path,
        applet,
    };
    match model::check_learnable(&behaviour) {
        Ok(()) => Ok(behaviour),
        Err(error) => Err(problem(location, format!("{field}: {error}"))),
    }
}

fn insert<T>(
    field: &str,
    location: Location,
    map: &mut BTreeMap<ExecBehaviour, T>,
    behaviour: ExecBehaviour,
    value: T,
) -> Result<(), Problem> {
    if map.contains_key(&behaviour) {
        return Err(problem(location, format!("{field}: `{behaviour}` occurs twice")));
    }
    if map.len() >= BEHAVIOURS_MAX {
        return Err(problem(
            location,
            format!("{field}: more than {BEHAVIOURS_MAX} behaviours in one role"),
        ));
    }
    map.insert(behaviour, value);
    Ok(())
}

fn unique<T: Ord + std::fmt::Display>(
    field: &str,
    list: Vec<Spanned<T>>,
    limit: usize,
) -> Result<BTreeSet<T>, Problem> {
    let mut set = BTreeSet::new();
    for Spanned {
        value, referenced, ..
    } in list
    {
        let shown = value.to_string();
        model::check_text("text", &shown)
            .map_err(|error| problem(referenced, format!("{field}: {error}")))?;
        if set.len() >= limit {
            return Err(problem(referenced, format!("{field}: more than {limit} entries")));
        }
        if !set.insert(value) {
            return Err(problem(referenced, format!("{field}: `{shown}` occurs twice")));
        }
    }
    Ok(set)
}

fn problem(location: Location, text: String) -> Problem {
    Problem { location, text }
}
