//! The store's rows: how state, changes of it and tables correspond.
//!
//! Purpose: one [`Change`] is one row written or removed, in the file and in memory alike, so that the two cannot
//! drift apart. Input: changes, or the file's rows. Output: rows, or a [`State`]. Failure: a row that cannot be read
//! is a [`RowError`] that names its table.

use std::borrow::Cow;
use std::collections::BTreeMap;

use agent_common::cap::{CapOutcome, UserNamespace};
use agent_common::domain::{Domain, Mode, Section};
use agent_common::file::{FileOperation, Layer};
use agent_common::syscall::{SyscallAbi, SyscallPhase};
use redb::{ReadTransaction, ReadableTable as _, TableDefinition, WriteTransaction};
use serde::{Deserialize, Serialize};

use crate::behaviour::{
    Behaviour, CapBehaviour, Capability, ExecBehaviour, FileBehaviour, FilePattern, SyscallBehaviour,
};
use crate::image::ImageDigest;
use crate::profile::document::ProfileDocument;
use crate::profile::mode::{ExecInto, PolicyTable, Scope};
use crate::profile::model::{
    AcceptedDrift, Evidence, ExecInEntry, ImageOnNode, ImageRecord, ObservationCounts, Profile, ProfileKey,
    Role, Succession, WINDOWS_MAX,
};
use crate::profile::pattern::PathPattern;
use crate::profile::signed::SignedDocument;
use crate::signature::Signature;
use crate::text::ByteText;

/// Version of everything in this file. The first had neither [`FILES`] nor [`CAPABILITIES`], the second neither [`SIGNED`] nor
/// [`SYSCALLS`], the third neither [`IMAGES_ON_NODE`] nor [`INHERITED`]; they are else the same.
pub(super) const FORMAT: u64 = 4;

/// Key of a program: profile number, section, layer, path, applet.
type ExecRow = (u32, u8, u8, &'static [u8], Option<&'static [u8]>);
/// Key of a use of files: profile number, section, layer, kind of pattern, its text, operation.
type FileRow = (u32, u8, u8, u8, &'static [u8], u8);
/// Key of a use of a capability: profile number, section, capability, user namespace, outcome.
type CapRow = (u32, u8, u8, u8, u8);
/// Key of a system call: profile number, section, interface, number, phase.
type SyscallRow = (u32, u8, u8, u16, u8);
/// Number of windows with [`INHERITED`], and whether it is accepted (always in the main section).
type SupportRow = (u64, bool);
/// The same for a use of files, and in which window it was seen first.
type FileSupportRow = (u64, bool, u64);

/// [`FORMAT`] and [`NEXT_ID`].
pub(super) const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
/// Image digest to [`ImageRecord`] as JSON.
const IMAGES: TableDefinition<&str, &[u8]> = TableDefinition::new("images");
/// Image digest to [`ImageOnNode`] as JSON.
const IMAGES_ON_NODE: TableDefinition<&str, &[u8]> = TableDefinition::new("images_on_node");
/// Profile number to [`Header`] as JSON.
const PROFILES: TableDefinition<u32, &[u8]> = TableDefinition::new("profiles");
/// Programs.
const BEHAVIOURS: TableDefinition<ExecRow, SupportRow> = TableDefinition::new("behaviours");
/// Uses of files.
const FILES: TableDefinition<FileRow, FileSupportRow> = TableDefinition::new("files");
/// Uses of capabilities.
const CAPABILITIES: TableDefinition<CapRow, SupportRow> = TableDefinition::new("capabilities");
/// System calls.
const SYSCALLS: TableDefinition<SyscallRow, SupportRow> = TableDefinition::new("syscalls");
/// Profile number, layer and path to [`AcceptedDrift`] as JSON.
const DRIFT: TableDefinition<(u32, u8, &[u8]), &[u8]> = TableDefinition::new("drift");
/// Image digest to the bytes of the document that was imported, and its signature.
const SIGNED: TableDefinition<&str, (&[u8], &[u8])> = TableDefinition::new("signed");
/// [`Scope`] as JSON and domain ([`ALL_DOMAINS`] for the general setting) to mode.
const MODES: TableDefinition<(&[u8], u8), u8> = TableDefinition::new("modes");
/// [`Scope`] as JSON to whether the policy is `deny`.
const EXEC_INTO: TableDefinition<&[u8], bool> = TableDefinition::new("exec_into");

/// Row of [`META`]: the version of the format.
pub(super) const FORMAT_KEY: &str = "format";
/// Row of [`META`]: the lowest profile number that was never given.
const NEXT_ID: &str = "next_profile_id";
/// Stands for "no particular domain" in [`MODES`].
const ALL_DOMAINS: u8 = u8::MAX;
/// Bit of a number of windows: the behaviour came from the profile of the image before. No number of minutes has it.
const INHERITED: u64 = WINDOWS_MAX + 1;
/// Kind of pattern: one path.
const EXACT: u8 = 0;
/// Kind of pattern: a rule for several paths, as its text.
const PATTERN: u8 = 1;

/// A row that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("table `{table}`: {problem}")]
pub struct RowError {
    table: &'static str,
    problem: String,
}

/// A failure while rows are read.
#[derive(Debug, thiserror::Error)]
pub(super) enum LoadError {
    #[error(transparent)]
    Storage(#[from] redb::Error),
    #[error(transparent)]
    Row(#[from] RowError),
}

/// What of a profile is one row.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Header {
    pub(super) digest: ImageDigest,
    pub(super) role: Role,
    pub(super) approved: bool,
    /// Not in rows of the first version, which saw no scripts.
    #[serde(default)]
    pub(super) scripts: bool,
    /// Not in rows that were written before profiles inherited.
    #[serde(default)]
    pub(super) succession: Succession,
    pub(super) counts: ObservationCounts,
}

/// One row written, or removed (`None`).
#[derive(Clone, Debug)]
pub(super) enum Change {
    NextId(u32),
    Image(ImageDigest, Option<ImageRecord>),
    OnNode(ImageDigest, Option<ImageOnNode>),
    /// Creates the profile if it does not exist; `None` removes it with all its rows.
    Profile(u32, Option<Header>),
    Main(u32, Behaviour, Option<Evidence>),
    ExecIn(u32, Behaviour, Option<ExecInEntry>),
    Drift(u32, (Layer, ByteText), Option<AcceptedDrift>),
    Signed(ImageDigest, Option<Box<SignedRow>>),
    Mode((Scope, Option<Domain>), Option<Mode>),
    ExecInto(Scope, Option<ExecInto>),
}

/// A document that was imported with its signature.
#[derive(Clone, Debug)]
pub(super) struct SignedRow {
    /// The document's bytes, which are what was signed.
    pub(super) document: Vec<u8>,
    pub(super) signed: SignedDocument,
}

/// Everything that the store holds.
#[derive(Debug)]
pub(super) struct State {
    pub(super) next_id: u32,
    pub(super) images: BTreeMap<ImageDigest, ImageRecord>,
    pub(super) on_node: BTreeMap<ImageDigest, ImageOnNode>,
    pub(super) profiles: BTreeMap<ProfileKey, Profile>,
    pub(super) keys: BTreeMap<u32, ProfileKey>,
    pub(super) signed: BTreeMap<ImageDigest, SignedDocument>,
    pub(super) policies: PolicyTable,
}

impl Default for State {
    fn default() -> Self {
        Self {
            next_id: 1,
            images: BTreeMap::new(),
            on_node: BTreeMap::new(),
            profiles: BTreeMap::new(),
            keys: BTreeMap::new(),
            signed: BTreeMap::new(),
            policies: PolicyTable::default(),
        }
    }
}

impl Header {
    pub(super) fn of(profile: &Profile) -> Self {
        Self {
            digest: profile.key.digest.clone(),
            role: profile.key.role.clone(),
            approved: profile.approved,
            scripts: profile.scripts,
            succession: profile.succession,
            counts: profile.counts,
        }
    }
}

impl State {
    /// The profile with number `id`.
    pub(super) fn by_id(&self, id: u32) -> Option<&Profile> {
        self.profiles.get(self.keys.get(&id)?)
    }

    /// Makes `change` in memory. Rows of a profile that does not exist are dropped; [`State::load`] reports them.
    pub(super) fn apply(&mut self, change: Change) {
        match change {
            Change::NextId(next) => self.next_id = next,
            Change::Image(digest, record) => put(&mut self.images, digest, record),
            Change::OnNode(digest, found) => put(&mut self.on_node, digest, found),
            Change::Profile(id, Some(header)) => {
                let key = ProfileKey {
                    digest: header.digest,
                    role: header.role,
                };
                let profile = self
                    .profiles
                    .entry(key.clone())
                    .or_insert_with(|| Profile::new(id, key.clone()));
                profile.approved = header.approved;
                profile.scripts = header.scripts;
                profile.succession = header.succession;
                profile.counts = header.counts;
                self.keys.insert(id, key);
            }
            Change::Profile(id, None) => {
                if let Some(key) = self.keys.remove(&id) {
                    self.profiles.remove(&key);
                }
            }
            Change::Main(id, behaviour, evidence) => {
                if let Some(profile) = self.profile_mut(id) {
                    profile.main.put(&behaviour, evidence);
                }
            }
            Change::ExecIn(id, behaviour, entry) => {
                if let Some(profile) = self.profile_mut(id) {
                    profile.exec_in.put(&behaviour, entry);
                }
            }
            Change::Drift(id, file, accepted) => {
                if let Some(profile) = self.profile_mut(id) {
                    put(&mut profile.drift, file, accepted);
                }
            }
            Change::Signed(digest, row) => put(&mut self.signed, digest, row.map(|row| row.signed)),
            Change::Mode(key, mode) => put(&mut self.policies.modes, key, mode),
            Change::ExecInto(scope, policy) => put(&mut self.policies.exec_into, scope, policy),
        }
    }

    fn profile_mut(&mut self, id: u32) -> Option<&mut Profile> {
        self.profiles.get_mut(self.keys.get(&id)?)
    }

    /// Reads everything.
    pub(super) fn load(transaction: &ReadTransaction) -> Result<Self, LoadError> {
        let mut state = Self::default();
        let storage = |error: redb::StorageError| LoadError::Storage(error.into());
        if let Some(next) = open(transaction, META)?.get(NEXT_ID).map_err(storage)? {
            state.next_id = u32::try_from(next.value()).map_err(|error| row_error("meta", error))?;
        }
        for row in open(transaction, IMAGES)?.iter().map_err(storage)? {
            let (digest, record) = row.map_err(storage)?;
            let digest = digest
                .value()
                .parse()
                .map_err(|error| row_error("images", error))?;
            state.apply(Change::Image(digest, Some(from_json("images", record.value())?)));
        }
        for row in open(transaction, IMAGES_ON_NODE)?.iter().map_err(storage)? {
            let (digest, found) = row.map_err(storage)?;
            let digest = digest
                .value()
                .parse()
                .map_err(|error| row_error("images_on_node", error))?;
            let found = from_json("images_on_node", found.value())?;
            state.apply(Change::OnNode(digest, Some(found)));
        }
        for row in open(transaction, PROFILES)?.iter().map_err(storage)? {
            let (id, header) = row.map_err(storage)?;
            if id.value() == 0 || id.value() >= state.next_id {
                return Err(row_error("profiles", "a number that was never given").into());
            }
            state.apply(Change::Profile(
                id.value(),
                Some(from_json("profiles", header.value())?),
            ));
        }
        state.load_behaviours(transaction)?;
        state.profiles.values_mut().for_each(Profile::compact);
        for row in open(transaction, DRIFT)?.iter().map_err(storage)? {
            let (key, value) = row.map_err(storage)?;
            let (id, layer, path) = key.value();
            state.check_owner("drift", id)?;
            let file = (layer_of("drift", layer)?, ByteText::from(path));
            state.apply(Change::Drift(id, file, Some(from_json("drift", value.value())?)));
        }
        for row in open(transaction, SIGNED)?.iter().map_err(storage)? {
            let (digest, value) = row.map_err(storage)?;
            let (document, signature) = value.value();
            let signed = signed_of(document, signature)?;
            let digest = digest
                .value()
                .parse()
                .map_err(|error| row_error("signed", error))?;
            state.signed.insert(digest, signed);
        }
        for row in open(transaction, MODES)?.iter().map_err(storage)? {
            let (key, mode) = row.map_err(storage)?;
            let (scope, domain) = key.value();
            let domain = match domain {
                ALL_DOMAINS => None,
                raw => Some(Domain::from_raw(raw).ok_or_else(|| row_error("modes", "no such domain"))?),
            };
            let mode = Mode::from_raw(mode.value()).ok_or_else(|| row_error("modes", "no such mode"))?;
            state.apply(Change::Mode((from_json("modes", scope)?, domain), Some(mode)));
        }
        for row in open(transaction, EXEC_INTO)?.iter().map_err(storage)? {
            let (scope, denies) = row.map_err(storage)?;
            let policy = if denies.value() {
                ExecInto::Deny
            } else {
                ExecInto::Alert
            };
            state.apply(Change::ExecInto(
                from_json("exec_into", scope.value())?,
                Some(policy),
            ));
        }
        Ok(state)
    }

    fn load_behaviours(&mut self, transaction: &ReadTransaction) -> Result<(), LoadError> {
        let storage = |error: redb::StorageError| LoadError::Storage(error.into());
        for row in open(transaction, BEHAVIOURS)?.iter().map_err(storage)? {
            let (key, support) = row.map_err(storage)?;
            let (id, section, layer, path, applet) = key.value();
            let behaviour = ExecBehaviour {
                layer: layer_of("behaviours", layer)?,
                path: path.into(),
                applet: applet.map(Into::into),
            };
            self.load_behaviour(
                "behaviours",
                (id, section),
                behaviour.into(),
                of_row(support.value()),
            )?;
        }
        for row in open(transaction, FILES)?.iter().map_err(storage)? {
            let (key, support) = row.map_err(storage)?;
            let (id, section, layer, kind, text, operation) = key.value();
            let behaviour = FileBehaviour {
                layer: layer_of("files", layer)?,
                pattern: match kind {
                    EXACT => FilePattern::Exact(text.into()),
                    PATTERN => FilePattern::Pattern(pattern_of(text)?),
                    _ => return Err(row_error("files", "no such kind of pattern").into()),
                },
                operation: FileOperation::from_raw(operation)
                    .ok_or_else(|| row_error("files", "no such operation"))?,
            };
            let (windows, accepted, first_window) = support.value();
            let evidence = Evidence {
                first_window,
                ..evidence_of(windows)
            };
            self.load_behaviour("files", (id, section), behaviour.into(), (evidence, accepted))?;
        }
        for row in open(transaction, CAPABILITIES)?.iter().map_err(storage)? {
            let (key, support) = row.map_err(storage)?;
            let (id, section, capability, namespace, outcome) = key.value();
            let behaviour = cap_of(capability, namespace, outcome)
                .ok_or_else(|| row_error("capabilities", "no such capability, user namespace or outcome"))?;
            self.load_behaviour(
                "capabilities",
                (id, section),
                behaviour.into(),
                of_row(support.value()),
            )?;
        }
        for row in open(transaction, SYSCALLS)?.iter().map_err(storage)? {
            let (key, support) = row.map_err(storage)?;
            let (id, section, abi, number, phase) = key.value();
            let behaviour = syscall_of(abi, number, phase)
                .ok_or_else(|| row_error("syscalls", "no such interface or phase"))?;
            self.load_behaviour(
                "syscalls",
                (id, section),
                behaviour.into(),
                of_row(support.value()),
            )?;
        }
        Ok(())
    }

    fn load_behaviour(
        &mut self,
        table: &'static str,
        (id, section): (u32, u8),
        behaviour: Behaviour,
        (evidence, accepted): (Evidence, bool),
    ) -> Result<(), RowError> {
        self.check_owner(table, id)?;
        self.apply(match Section::from_raw(section) {
            Some(Section::Main) => Change::Main(id, behaviour, Some(evidence)),
            Some(Section::ExecIn) => Change::ExecIn(id, behaviour, Some(ExecInEntry { evidence, accepted })),
            None => return Err(row_error(table, "no such section")),
        });
        Ok(())
    }

    fn check_owner(&self, table: &'static str, id: u32) -> Result<(), RowError> {
        if self.keys.contains_key(&id) {
            Ok(())
        } else {
            Err(row_error(
                table,
                format_args!("a row of profile {id}, which does not exist"),
            ))
        }
    }
}

/// Creates every table that is missing.
pub(super) fn create_tables(transaction: &WriteTransaction) -> Result<(), redb::Error> {
    transaction.open_table(META)?;
    transaction.open_table(IMAGES)?;
    transaction.open_table(IMAGES_ON_NODE)?;
    transaction.open_table(PROFILES)?;
    transaction.open_table(BEHAVIOURS)?;
    transaction.open_table(FILES)?;
    transaction.open_table(CAPABILITIES)?;
    transaction.open_table(SYSCALLS)?;
    transaction.open_table(DRIFT)?;
    transaction.open_table(SIGNED)?;
    transaction.open_table(MODES)?;
    transaction.open_table(EXEC_INTO)?;
    Ok(())
}

/// The tables that changes go into, open for the length of one transaction.
pub(super) struct Writer<'txn> {
    meta: redb::Table<'txn, &'static str, u64>,
    images: redb::Table<'txn, &'static str, &'static [u8]>,
    images_on_node: redb::Table<'txn, &'static str, &'static [u8]>,
    profiles: redb::Table<'txn, u32, &'static [u8]>,
    behaviours: redb::Table<'txn, ExecRow, SupportRow>,
    files: redb::Table<'txn, FileRow, FileSupportRow>,
    capabilities: redb::Table<'txn, CapRow, SupportRow>,
    syscalls: redb::Table<'txn, SyscallRow, SupportRow>,
    drift: redb::Table<'txn, (u32, u8, &'static [u8]), &'static [u8]>,
    signed: redb::Table<'txn, &'static str, (&'static [u8], &'static [u8])>,
    modes: redb::Table<'txn, (&'static [u8], u8), u8>,
    exec_into: redb::Table<'txn, &'static [u8], bool>,
}

impl<'txn> Writer<'txn> {
    pub(super) fn open(transaction: &'txn WriteTransaction) -> Result<Self, redb::Error> {
        Ok(Self {
            meta: transaction.open_table(META)?,
            images: transaction.open_table(IMAGES)?,
            images_on_node: transaction.open_table(IMAGES_ON_NODE)?,
            profiles: transaction.open_table(PROFILES)?,
            behaviours: transaction.open_table(BEHAVIOURS)?,
            files: transaction.open_table(FILES)?,
            capabilities: transaction.open_table(CAPABILITIES)?,
            syscalls: transaction.open_table(SYSCALLS)?,
            drift: transaction.open_table(DRIFT)?,
            signed: transaction.open_table(SIGNED)?,
            modes: transaction.open_table(MODES)?,
            exec_into: transaction.open_table(EXEC_INTO)?,
        })
    }

    /// Makes `change` in the file.
    pub(super) fn write(&mut self, change: &Change) -> Result<(), redb::Error> {
        match change {
            Change::NextId(next) => drop(self.meta.insert(NEXT_ID, u64::from(*next))?),
            Change::Image(digest, Some(record)) => {
                self.images.insert(digest.as_str(), to_json(record).as_slice())?;
            }
            Change::Image(digest, None) => drop(self.images.remove(digest.as_str())?),
            Change::OnNode(digest, Some(found)) => {
                self.images_on_node
                    .insert(digest.as_str(), to_json(found).as_slice())?;
            }
            Change::OnNode(digest, None) => drop(self.images_on_node.remove(digest.as_str())?),
            Change::Profile(id, Some(header)) => drop(self.profiles.insert(id, to_json(header).as_slice())?),
            Change::Profile(id, None) => self.remove_profile(*id)?,
            Change::Main(id, behaviour, evidence) => {
                let row = evidence.map(|evidence| (evidence, true));
                self.write_behaviour(*id, Section::Main, behaviour, row)?;
            }
            Change::ExecIn(id, behaviour, entry) => {
                let row = entry.map(|entry| (entry.evidence, entry.accepted));
                self.write_behaviour(*id, Section::ExecIn, behaviour, row)?;
            }
            Change::Drift(id, (layer, path), accepted) => {
                let key = (*id, *layer as u8, path.as_bytes());
                match accepted {
                    Some(accepted) => drop(self.drift.insert(key, to_json(accepted).as_slice())?),
                    None => drop(self.drift.remove(key)?),
                }
            }
            Change::Signed(digest, Some(row)) => {
                let signature = row.signed.signature().render();
                let value = (row.document.as_slice(), signature.as_bytes());
                self.signed.insert(digest.as_str(), value)?;
            }
            Change::Signed(digest, None) => drop(self.signed.remove(digest.as_str())?),
            Change::Mode((scope, domain), mode) => {
                let scope = to_json(scope);
                let key = (
                    scope.as_slice(),
                    domain.map_or(ALL_DOMAINS, |domain| domain as u8),
                );
                match mode {
                    Some(mode) => drop(self.modes.insert(key, *mode as u8)?),
                    None => drop(self.modes.remove(key)?),
                }
            }
            Change::ExecInto(scope, policy) => {
                let scope = to_json(scope);
                match policy {
                    Some(policy) => {
                        drop(
                            self.exec_into
                                .insert(scope.as_slice(), *policy == ExecInto::Deny)?,
                        );
                    }
                    None => drop(self.exec_into.remove(scope.as_slice())?),
                }
            }
        }
        Ok(())
    }

    fn write_behaviour(
        &mut self,
        id: u32,
        section: Section,
        behaviour: &Behaviour,
        row: Option<(Evidence, bool)>,
    ) -> Result<(), redb::Error> {
        let section = section as u8;
        let short = row.map(|(evidence, accepted)| (windows_of(evidence), accepted));
        match behaviour {
            Behaviour::Exec(exec) => {
                let applet = exec.applet.as_ref().map(ByteText::as_bytes);
                let key = (id, section, exec.layer as u8, exec.path.as_bytes(), applet);
                match short {
                    Some(row) => drop(self.behaviours.insert(key, row)?),
                    None => drop(self.behaviours.remove(key)?),
                }
            }
            Behaviour::File(file) => {
                let (kind, text) = match &file.pattern {
                    FilePattern::Exact(path) => (EXACT, Cow::Borrowed(path.as_bytes())),
                    FilePattern::Pattern(pattern) => (PATTERN, pattern.to_string().into_bytes().into()),
                };
                let layer = file.layer as u8;
                let key = (id, section, layer, kind, &text[..], file.operation as u8);
                match row {
                    Some((evidence, accepted)) => {
                        let row = (windows_of(evidence), accepted, evidence.first_window);
                        drop(self.files.insert(key, row)?);
                    }
                    None => drop(self.files.remove(key)?),
                }
            }
            Behaviour::Cap(cap) => {
                let capability = cap.capability.number();
                let key = (id, section, capability, cap.namespace as u8, cap.outcome as u8);
                match short {
                    Some(row) => drop(self.capabilities.insert(key, row)?),
                    None => drop(self.capabilities.remove(key)?),
                }
            }
            Behaviour::Syscall(call) => {
                let key = (id, section, call.abi as u8, call.number, call.phase as u8);
                match short {
                    Some(row) => drop(self.syscalls.insert(key, row)?),
                    None => drop(self.syscalls.remove(key)?),
                }
            }
        }
        Ok(())
    }

    fn remove_profile(&mut self, id: u32) -> Result<(), redb::Error> {
        self.profiles.remove(id)?;
        self.behaviours.retain_in(
            (id, 0, 0, &b""[..], None)..(id + 1, 0, 0, &b""[..], None),
            |_, _| false,
        )?;
        self.files.retain_in(
            (id, 0, 0, 0, &b""[..], 0)..(id + 1, 0, 0, 0, &b""[..], 0),
            |_, _| false,
        )?;
        self.capabilities
            .retain_in((id, 0, 0, 0, 0)..(id + 1, 0, 0, 0, 0), |_, _| false)?;
        self.syscalls
            .retain_in((id, 0, 0, 0, 0)..(id + 1, 0, 0, 0, 0), |_, _| false)?;
        self.drift
            .retain_in((id, 0, &b""[..])..(id + 1, 0, &b""[..]), |_, _| false)?;
        Ok(())
    }
}

/// What a row says that tells nothing of the first window.
fn of_row((windows, accepted): SupportRow) -> (Evidence, bool) {
    (evidence_of(windows), accepted)
}

/// What stands in the column of windows.
fn windows_of(evidence: Evidence) -> u64 {
    let mark = if evidence.inherited { INHERITED } else { 0 };
    evidence.windows.min(WINDOWS_MAX) | mark
}

/// What the column of windows says.
fn evidence_of(windows: u64) -> Evidence {
    Evidence {
        inherited: windows & INHERITED != 0,
        ..Evidence::of_windows(windows & !INHERITED)
    }
}

fn signed_of(document: &[u8], signature: &[u8]) -> Result<SignedDocument, RowError> {
    let signature = Signature::parse(signature).map_err(|error| row_error("signed", error))?;
    let read = ProfileDocument::parse(document, "signed").map_err(|error| row_error("signed", error))?;
    Ok(SignedDocument::new(&read, document, signature))
}

fn pattern_of(text: &[u8]) -> Result<PathPattern, RowError> {
    std::str::from_utf8(text)
        .map_err(|error| row_error("files", error))?
        .parse()
        .map_err(|error| row_error("files", error))
}

fn cap_of(capability: u8, namespace: u8, outcome: u8) -> Option<CapBehaviour> {
    Some(CapBehaviour {
        capability: Capability::from_raw(capability)?,
        namespace: UserNamespace::from_raw(namespace)?,
        outcome: CapOutcome::from_raw(outcome)?,
    })
}

fn syscall_of(abi: u8, number: u16, phase: u8) -> Option<SyscallBehaviour> {
    Some(SyscallBehaviour {
        abi: SyscallAbi::from_raw(abi)?,
        number,
        phase: SyscallPhase::from_raw(phase)?,
    })
}

fn open<K: redb::Key + 'static, V: redb::Value + 'static>(
    transaction: &ReadTransaction,
    table: TableDefinition<K, V>,
) -> Result<redb::ReadOnlyTable<K, V>, LoadError> {
    transaction
        .open_table(table)
        .map_err(|error| LoadError::Storage(error.into()))
}

fn layer_of(table: &'static str, raw: u8) -> Result<Layer, RowError> {
    Layer::from_raw(raw).ok_or_else(|| row_error(table, "no such layer"))
}

fn row_error(table: &'static str, problem: impl std::fmt::Display) -> RowError {
    RowError {
        table,
        problem: problem.to_string(),
    }
}

fn from_json<T: serde::de::DeserializeOwned>(table: &'static str, bytes: &[u8]) -> Result<T, RowError> {
    serde_json::from_slice(bytes).map_err(|error| row_error(table, error))
}

fn to_json<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value)
        .expect("rows have neither maps with other keys than text nor failing serializers")
}

fn put<K: Ord, V>(map: &mut BTreeMap<K, V>, key: K, value: Option<V>) {
    match value {
        Some(value) => drop(map.insert(key, value)),
        None => drop(map.remove(&key)),
    }
}
