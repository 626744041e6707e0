//! The behaviours of one section of a profile, with what is known of each, in little memory.
//!
//! Profiles hold very many, and few of them are ever asked for: what conforms is the kernel's to know. So each is kept as bytes
//! (`packed.rs`) and made anew when it is asked for. Input: behaviours. Output: the same, programs before files before
//! capabilities before system calls, by layer and path. Failure: none.

use std::borrow::Cow;

use agent_common::cap::{CapOutcome, UserNamespace};
use agent_common::domain::Domain;
use agent_common::file::{FileOperation, Layer};
use agent_common::syscall::{SyscallAbi, SyscallPhase};

use super::model::{Evidence, ExecInEntry, WINDOWS_MAX};
use super::packed::{Packed, PackedMap, add_number, take_number};
use crate::behaviour::{
    Behaviour, CapBehaviour, Capability, ExecBehaviour, FileBehaviour, FilePattern, SyscallBehaviour,
};
use crate::text::ByteText;

/// First byte of a key: which domain's it is.
const EXEC: u8 = 0;
const FILE: u8 = 1;
const CAP: u8 = 2;
const SYSCALL: u8 = 3;
/// Third byte of a file's key: one path, or a rule for several.
const EXACT: u8 = 0;
const PATTERN: u8 = 1;

/// A map from behaviours to what is known of them.
#[derive(Clone)]
pub struct Behaviours<T>(PackedMap<T>);

impl<T: Packed> Behaviours<T> {
    /// Number of behaviours.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What is known of `behaviour`.
    #[must_use]
    pub fn get(&self, behaviour: &Behaviour) -> Option<T> {
        self.0.get(&key(behaviour))
    }

    /// Whether `behaviour` is there.
    #[must_use]
    pub fn contains_key(&self, behaviour: &Behaviour) -> bool {
        self.get(behaviour).is_some()
    }

    /// Adds `behaviour`, or what is known of it in place of what was.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "as with any map; who keeps it has `put`"
    )]
    pub fn insert(&mut self, behaviour: Behaviour, known: T) {
        self.put(&behaviour, Some(known));
    }

    /// Sets what is known of `behaviour`, or removes it (`None`).
    pub fn put(&mut self, behaviour: &Behaviour, known: Option<T>) {
        self.0.put(&key(behaviour), known);
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = (Behaviour, T)> {
        self.0.entries([], |key, known| (behaviour(key), known))
    }

    /// All of them, in order, without what is known of them.
    pub fn keys(&self) -> impl Iterator<Item = Behaviour> {
        self.iter().map(|(behaviour, _)| behaviour)
    }

    /// What is known of those of `domain`, in their order.
    pub fn values_of(&self, domain: Domain) -> impl Iterator<Item = T> {
        let own = match domain {
            Domain::Exec => Some(EXEC),
            Domain::File => Some(FILE),
            Domain::Cap => Some(CAP),
            Domain::Syscall => Some(SYSCALL),
            Domain::Library => None,
        };
        let entries = own.map(|own| {
            let read = move |key: &[u8], known| key.starts_with(&[own]).then_some(known);
            self.0.entries([own], read)
        });
        entries.into_iter().flatten().map_while(|entry| entry)
    }

    /// The rules for several paths of files of `layer`.
    pub fn patterns(&self, layer: Layer) -> impl Iterator<Item = (FileBehaviour, T)> {
        let prefix = [FILE, layer as u8, PATTERN];
        let read = move |key: &[u8], known| Some((file(key.starts_with(&prefix).then_some(key)?)?, known));
        self.0.entries(prefix, read).map_while(|entry| entry)
    }

    /// Lets it take no more memory than it needs: what came one by one leaves room.
    pub fn compact(&mut self) {
        self.0.compact();
    }
}

impl<T: Packed> FromIterator<(Behaviour, T)> for Behaviours<T> {
    fn from_iter<I: IntoIterator<Item = (Behaviour, T)>>(entries: I) -> Self {
        let mut behaviours = Self::default();
        for (behaviour, known) in entries {
            behaviours.insert(behaviour, known);
        }
        behaviours
    }
}

impl<T> Default for Behaviours<T> {
    fn default() -> Self {
        Self(PackedMap::default())
    }
}

impl<T: Packed + PartialEq> PartialEq for Behaviours<T> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl<T: Packed + Eq> Eq for Behaviours<T> {}

impl<T: Packed + std::fmt::Debug> std::fmt::Debug for Behaviours<T> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_map().entries(self.iter()).finish()
    }
}

impl Packed for Evidence {
    fn pack(self, bytes: &mut Vec<u8>) {
        // Of windows the highest bit is free.
        add_number(
            self.windows.min(WINDOWS_MAX) << 1 | u64::from(self.inherited),
            bytes,
        );
        add_number(self.first_window, bytes);
    }

    fn unpack(bytes: &mut &[u8]) -> Self {
        let windows = take_number(bytes);
        Self {
            windows: windows >> 1,
            inherited: windows & 1 != 0,
            first_window: take_number(bytes),
        }
    }
}

impl Packed for ExecInEntry {
    fn pack(self, bytes: &mut Vec<u8>) {
        self.evidence.pack(bytes);
        add_number(u64::from(self.accepted), bytes);
    }

    fn unpack(bytes: &mut &[u8]) -> Self {
        Self {
            evidence: Evidence::unpack(bytes),
            accepted: take_number(bytes) != 0,
        }
    }
}

/// The bytes that stand for a behaviour, in the order in which behaviours are listed. What can have any length comes first, with what
/// tells its end behind it.
fn key(behaviour: &Behaviour) -> Vec<u8> {
    match behaviour {
        Behaviour::Exec(exec) => {
            let mut key = vec![EXEC, exec.layer as u8];
            key.extend_from_slice(exec.path.as_bytes());
            match &exec.applet {
                None => key.push(0),
                Some(applet) => {
                    key.extend_from_slice(applet.as_bytes());
                    key.extend_from_slice(&applet.as_bytes().len().to_be_bytes());
                    key.push(1);
                }
            }
            key
        }
        Behaviour::File(file) => {
            let (kind, text) = match &file.pattern {
                FilePattern::Exact(path) => (EXACT, Cow::Borrowed(path.as_bytes())),
                FilePattern::Pattern(pattern) => (PATTERN, pattern.to_string().into_bytes().into()),
            };
            let mut key = vec![FILE, file.layer as u8, kind];
            key.extend_from_slice(&text);
            key.push(file.operation as u8);
            key
        }
        Behaviour::Cap(cap) => vec![
            CAP,
            cap.capability.number(),
            cap.namespace as u8,
            cap.outcome as u8,
        ],
        Behaviour::Syscall(call) => {
            let [high, low] = call.number.to_be_bytes();
            vec![SYSCALL, call.abi as u8, high, low, call.phase as u8]
        }
    }
}

/// The behaviour that [`key`] made these bytes of.
fn behaviour(key: &[u8]) -> Behaviour {
    let behaviour = match key.first() {
        Some(&EXEC) => exec(key).map(Behaviour::Exec),
        Some(&FILE) => file(key).map(Behaviour::File),
        Some(&CAP) => cap(key).map(Behaviour::Cap),
        _ => syscall(key).map(Behaviour::Syscall),
    };
    behaviour.expect("a behaviour was made into these bytes")
}

fn exec(key: &[u8]) -> Option<ExecBehaviour> {
    let [EXEC, layer, text @ .., has_applet] = key else {
        return None;
    };
    let (path, applet) = if *has_applet == 0 {
        (text, None)
    } else {
        let (text, length) = text.split_last_chunk()?;
        let (path, applet) = text.split_at_checked(text.len().checked_sub(usize::from_be_bytes(*length))?)?;
        (path, Some(applet))
    };
    Some(ExecBehaviour {
        layer: Layer::from_raw(*layer)?,
        path: path.into(),
        applet: applet.map(ByteText::from),
    })
}

fn file(key: &[u8]) -> Option<FileBehaviour> {
    let [FILE, layer, kind, text @ .., operation] = key else {
        return None;
    };
    Some(FileBehaviour {
        layer: Layer::from_raw(*layer)?,
        pattern: match *kind {
            EXACT => FilePattern::Exact(text.into()),
            _ => FilePattern::Pattern(std::str::from_utf8(text).ok()?.parse().ok()?),
        },
        operation: FileOperation::from_raw(*operation)?,
    })
}

fn cap(key: &[u8]) -> Option<CapBehaviour> {
    let [CAP, capability, namespace, outcome] = key else {
        return None;
    };
    Some(CapBehaviour {
        capability: Capability::from_raw(*capability)?,
        namespace: UserNamespace::from_raw(*namespace)?,
        outcome: CapOutcome::from_raw(*outcome)?,
    })
}

fn syscall(key: &[u8]) -> Option<SyscallBehaviour> {
    let [SYSCALL, abi, high, low, phase] = key else {
        return None;
    };
    Some(SyscallBehaviour {
        abi: SyscallAbi::from_raw(*abi)?,
        number: u16::from_be_bytes([*high, *low]),
        phase: SyscallPhase::from_raw(*phase)?,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::profile::document::tests::document;

    proptest! {
        #[test]
        fn behaviours_come_back_as_they_were(document in document()) {
            for role in document.roles.values() {
                let mut main: Behaviours<_> = role.main.clone().into_iter().collect();
                for (behaviour, evidence) in &role.main {
                    prop_assert_eq!(main.get(behaviour), Some(*evidence));
                }
                main.compact();
                prop_assert_eq!(main.len(), role.main.len());
                prop_assert_eq!(main.iter().collect::<std::collections::BTreeMap<_, _>>(), role.main.clone());
                for domain in Domain::ALL {
                    let expected = role.main.keys().filter(|behaviour| behaviour.domain() == *domain).count();
                    prop_assert_eq!(main.values_of(*domain).count(), expected);
                }
                for layer in Layer::ALL {
                    let of_layer = |behaviour: &&Behaviour| behaviour.is_pattern() && behaviour.layer() == Some(*layer);
                    let expected = role.main.keys().filter(of_layer).count();
                    prop_assert_eq!(main.patterns(*layer).count(), expected);
                }
                let exec_in: Behaviours<_> = role.exec_in.clone().into_iter().collect();
                prop_assert_eq!(exec_in.iter().collect::<std::collections::BTreeMap<_, _>>(), role.exec_in.clone());
                for behaviour in role.main.keys() {
                    main.put(behaviour, None);
                    prop_assert!(!main.contains_key(behaviour));
                }
                prop_assert!(main.is_empty() && main.keys().next().is_none());
            }
        }

        #[test]
        fn any_text_comes_back(path: Vec<u8>, applet: Option<Vec<u8>>) {
            let exec = ExecBehaviour { layer: Layer::Image, path: path.clone().into(), applet: applet.map(Into::into) };
            let used = FileBehaviour { layer: Layer::Upper, pattern: FilePattern::Exact(path.into()), operation: FileOperation::Write };
            for one in [Behaviour::Exec(exec), Behaviour::File(used)] {
                prop_assert_eq!(behaviour(&key(&one)), one);
            }
        }
    }
}
