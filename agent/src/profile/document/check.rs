//! Between the document as it is written and the document as it is meant.
//!
//! Input: what the parser read. Output: a checked [`ProfileDocument`], and back. Failure: a [`Problem`] that names
//! the field and knows its place.

use std::collections::{BTreeMap, BTreeSet};

use agent_common::cap::{CapOutcome, UserNamespace};
use agent_common::domain::Domain;
use agent_common::file::{FileOperation, Layer};
use agent_common::syscall::{SyscallAbi, SyscallPhase};
use serde_saphyr::{Location, Spanned};

use super::{ProfileDocument, RoleProfile, wire};
use crate::behaviour::{
    Behaviour, CapBehaviour, Capability, ExecBehaviour, FileBehaviour, FilePattern, SyscallBehaviour, syscall,
};
use crate::profile::model::{
    self, AcceptedDrift, DRIFT_MAX, Evidence, ExecInEntry, ImageRecord, REFERENCES_MAX, Role,
};
use crate::profile::pattern::PathPattern;
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
        let mut own = Section::new(&mut profile.main);
        for Spanned {
            value, referenced, ..
        } in entry.exec
        {
            let behaviour = program(value.layer, value.path, value.applet);
            own.insert(
                "exec",
                referenced,
                behaviour,
                seen_in(value.windows, value.inherited),
            )?;
        }
        for Spanned {
            value, referenced, ..
        } in entry.files
        {
            let pattern = pattern("files", referenced, value.path, value.pattern)?;
            let behaviour = file(value.layer, pattern, value.operation);
            let evidence = Evidence {
                first_window: value.first_window,
                ..seen_in(value.windows, value.inherited)
            };
            own.insert("files", referenced, behaviour, evidence)?;
        }
        for Spanned {
            value, referenced, ..
        } in entry.capabilities
        {
            let behaviour = cap(value.capability, value.namespace, value.outcome);
            let evidence = seen_in(value.windows, value.inherited);
            own.insert("capabilities", referenced, behaviour, evidence)?;
        }
        for Spanned {
            value, referenced, ..
        } in entry.system_calls
        {
            let behaviour = system_call("systemCalls", referenced, &value.name, value.abi, value.phase)?;
            let evidence = seen_in(value.windows, value.inherited);
            own.insert("systemCalls", referenced, behaviour, evidence)?;
        }
        let mut entered = Section::new(&mut profile.exec_in);
        let proposal = |windows, inherited, accepted| ExecInEntry {
            evidence: seen_in(windows, inherited),
            accepted,
        };
        for Spanned {
            value, referenced, ..
        } in entry.exec_in
        {
            let behaviour = program(value.layer, value.path, value.applet);
            let entry = proposal(value.windows, value.inherited, value.accepted);
            entered.insert("execIn", referenced, behaviour, entry)?;
        }
        for Spanned {
            value, referenced, ..
        } in entry.files_in
        {
            let pattern = pattern("filesIn", referenced, value.path, value.pattern)?;
            let behaviour = file(value.layer, pattern, value.operation);
            let mut entry = proposal(value.windows, value.inherited, value.accepted);
            entry.evidence.first_window = value.first_window;
            entered.insert("filesIn", referenced, behaviour, entry)?;
        }
        for Spanned {
            value, referenced, ..
        } in entry.capabilities_in
        {
            let behaviour = cap(value.capability, value.namespace, value.outcome);
            let entry = proposal(value.windows, value.inherited, value.accepted);
            entered.insert("capabilitiesIn", referenced, behaviour, entry)?;
        }
        for Spanned {
            value, referenced, ..
        } in entry.system_calls_in
        {
            let behaviour = system_call("systemCallsIn", referenced, &value.name, value.abi, value.phase)?;
            let entry = proposal(value.windows, value.inherited, value.accepted);
            entered.insert("systemCallsIn", referenced, behaviour, entry)?;
        }
        profile.drift = drift(entry.accepted_drift)?;
        Ok(profile)
    }

    fn wire(&self, role: &Role) -> Option<wire::RoleEntry> {
        let mut entry = wire::RoleEntry {
            role: role.clone(),
            approved: self.approved,
            scripts: self.scripts,
            exec: Vec::new(),
            files: Vec::new(),
            capabilities: Vec::new(),
            system_calls: Vec::new(),
            exec_in: Vec::new(),
            files_in: Vec::new(),
            capabilities_in: Vec::new(),
            system_calls_in: Vec::new(),
            accepted_drift: Vec::new(),
            observation: self.counts.into(),
        };
        for (behaviour, evidence) in &self.main {
            let (windows, inherited) = (evidence.windows, evidence.inherited);
            match behaviour {
                Behaviour::Exec(exec) => entry.exec.push(wire::unplaced(wire::ExecEntry {
                    layer: wire::LearnedLayer::of(exec.layer)?,
                    path: exec.path.clone(),
                    applet: exec.applet.clone(),
                    windows,
                    inherited,
                })),
                Behaviour::File(file) => {
                    let (path, pattern) = path_and_pattern(&file.pattern);
                    entry.files.push(wire::unplaced(wire::FileEntry {
                        layer: file.layer,
                        path,
                        pattern,
                        operation: file.operation,
                        windows,
                        inherited,
                        first_window: evidence.first_window,
                    }));
                }
                Behaviour::Cap(cap) => entry.capabilities.push(wire::unplaced(wire::CapEntry {
                    capability: cap.capability,
                    namespace: cap.namespace,
                    outcome: cap.outcome,
                    windows,
                    inherited,
                })),
                Behaviour::Syscall(call) => entry.system_calls.push(wire::unplaced(wire::SyscallEntry {
                    name: call.name().into_owned(),
                    abi: call.abi,
                    phase: call.phase,
                    windows,
                    inherited,
                })),
            }
        }
        for (behaviour, held) in &self.exec_in {
            let (windows, accepted) = (held.evidence.windows, held.accepted);
            let inherited = held.evidence.inherited;
            match behaviour {
                Behaviour::Exec(exec) => entry.exec_in.push(wire::unplaced(wire::ExecInEntry {
                    layer: wire::LearnedLayer::of(exec.layer)?,
                    path: exec.path.clone(),
                    applet: exec.applet.clone(),
                    windows,
                    inherited,
                    accepted,
                })),
                Behaviour::File(file) => {
                    let (path, pattern) = path_and_pattern(&file.pattern);
                    entry.files_in.push(wire::unplaced(wire::FileInEntry {
                        layer: file.layer,
                        path,
                        pattern,
                        operation: file.operation,
                        windows,
                        inherited,
                        first_window: held.evidence.first_window,
                        accepted,
                    }));
                }
                Behaviour::Cap(cap) => entry.capabilities_in.push(wire::unplaced(wire::CapInEntry {
                    capability: cap.capability,
                    namespace: cap.namespace,
                    outcome: cap.outcome,
                    windows,
                    inherited,
                    accepted,
                })),
                Behaviour::Syscall(call) => {
                    entry.system_calls_in.push(wire::unplaced(wire::SyscallInEntry {
                        name: call.name().into_owned(),
                        abi: call.abi,
                        phase: call.phase,
                        windows,
                        inherited,
                        accepted,
                    }));
                }
            }
        }
        entry.accepted_drift = self.wire_drift()?;
        Some(entry)
    }

    fn wire_drift(&self) -> Option<Vec<Spanned<wire::DriftEntry>>> {
        let entries = self.drift.iter().map(|((layer, path), accepted)| {
            Some(wire::unplaced(wire::DriftEntry {
                layer: wire::DriftLayer::of(*layer)?,
                path: path.clone(),
                sha256: accepted.sha256.iter().copied().map(wire::unplaced).collect(),
                note: accepted.note.clone(),
            }))
        });
        entries.collect()
    }
}

/// A section of a profile that is being read.
struct Section<'a, T> {
    map: &'a mut BTreeMap<Behaviour, T>,
    /// The domain of the entries that are being read, and how many there were.
    read: (Option<Domain>, usize),
}

impl<'a, T> Section<'a, T> {
    fn new(map: &'a mut BTreeMap<Behaviour, T>) -> Self {
        Self { map, read: (None, 0) }
    }

    /// Takes in what an entry of the list `field` says; each list is read in one go.
    fn insert(
        &mut self,
        field: &str,
        location: Location,
        behaviour: Behaviour,
        value: T,
    ) -> Result<(), Problem> {
        model::check_learnable(&behaviour).map_err(|error| problem(location, format!("{field}: {error}")))?;
        if self.map.contains_key(&behaviour) {
            return Err(problem(location, format!("{field}: `{behaviour}` occurs twice")));
        }
        let domain = behaviour.domain();
        if self.read.0 != Some(domain) {
            self.read = (Some(domain), 0);
        }
        self.read.1 += 1;
        let limit = model::behaviours_max(domain);
        if self.read.1 > limit {
            return Err(problem(
                location,
                format!("{field}: more than {limit} behaviours in one role"),
            ));
        }
        self.map.insert(behaviour, value);
        Ok(())
    }
}

/// What did not come with the image and may run all the same.
fn drift(
    entries: Vec<Spanned<wire::DriftEntry>>,
) -> Result<BTreeMap<(Layer, ByteText), AcceptedDrift>, Problem> {
    let mut accepted = BTreeMap::new();
    let mut contents = 0;
    for Spanned {
        value, referenced, ..
    } in entries
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
        if accepted.insert(file, AcceptedDrift { sha256, note }).is_some() {
            return Err(problem(
                referenced,
                format!("acceptedDrift: `{shown}` occurs twice"),
            ));
        }
    }
    Ok(accepted)
}

fn seen_in(windows: u64, inherited: bool) -> Evidence {
    Evidence {
        inherited,
        ..Evidence::of_windows(windows)
    }
}

fn program(layer: wire::LearnedLayer, path: ByteText, applet: Option<ByteText>) -> Behaviour {
    let layer = layer.into();
    Behaviour::Exec(ExecBehaviour { layer, path, applet })
}

fn file(layer: Layer, pattern: FilePattern, operation: FileOperation) -> Behaviour {
    Behaviour::File(FileBehaviour {
        layer,
        pattern,
        operation,
    })
}

/// Which files an entry of the list `field` is about.
fn pattern(
    field: &str,
    location: Location,
    path: Option<ByteText>,
    pattern: Option<PathPattern>,
) -> Result<FilePattern, Problem> {
    match (path, pattern) {
        (Some(path), None) => Ok(FilePattern::Exact(path)),
        (None, Some(pattern)) => Ok(FilePattern::Pattern(pattern)),
        _ => Err(problem(
            location,
            format!("{field}: exactly one of `path` and `pattern` must be given"),
        )),
    }
}

/// The two fields of which an entry about files has one.
fn path_and_pattern(pattern: &FilePattern) -> (Option<ByteText>, Option<PathPattern>) {
    match pattern {
        FilePattern::Exact(path) => (Some(path.clone()), None),
        FilePattern::Pattern(pattern) => (None, Some(pattern.clone())),
    }
}

fn cap(capability: Capability, namespace: UserNamespace, outcome: CapOutcome) -> Behaviour {
    Behaviour::Cap(CapBehaviour {
        capability,
        namespace,
        outcome,
    })
}

fn system_call(
    field: &str,
    location: Location,
    name: &str,
    abi: SyscallAbi,
    phase: SyscallPhase,
) -> Result<Behaviour, Problem> {
    let number = syscall::number(abi, name).ok_or_else(|| {
        let name: String = name.chars().take(100).flat_map(char::escape_debug).collect();
        problem(location, format!("{field}: `{name}` is no system call of {abi}"))
    })?;
    Ok(Behaviour::Syscall(SyscallBehaviour { abi, number, phase }))
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
