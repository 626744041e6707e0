//! Tests of the store on real files, and what they share.

use agent_common::cap::{CapOutcome, UserNamespace};
use agent_common::domain::Section;
use agent_common::file::{FileOperation, Layer};

use super::*;
use crate::behaviour::{Behaviour, CapBehaviour, Capability, ExecBehaviour, FileBehaviour, FilePattern};
use crate::profile::behaviours::Behaviours;
use crate::profile::model::Role;
use crate::profile::packed::Packed;

mod accept;
mod exchange;
mod file;
mod full_disk;
mod inherit;
mod invariants;
mod kill;
mod learn;
mod provisional;
mod selector;
mod settings;

pub(crate) fn digest(number: u8) -> ImageDigest {
    format!("sha256:{}", format!("{number:02x}").repeat(32))
        .parse()
        .expect("a digest")
}

pub(crate) fn key(number: u8, role: &str) -> ProfileKey {
    ProfileKey {
        digest: digest(number),
        role: Role::new(role.into()).expect("a role"),
    }
}

pub(crate) fn behaviour(path: &str) -> Behaviour {
    program(Layer::Image, path)
}

fn program(layer: Layer, path: &str) -> Behaviour {
    Behaviour::Exec(ExecBehaviour {
        layer,
        path: path.into(),
        applet: None,
    })
}

fn file(layer: Layer, path: &str, operation: FileOperation) -> Behaviour {
    Behaviour::File(FileBehaviour {
        layer,
        pattern: FilePattern::Exact(path.into()),
        operation,
    })
}

fn held<T: Packed>(behaviours: &Behaviours<T>, behaviour: &Behaviour) -> T {
    behaviours.get(behaviour).expect("is held")
}

fn cap(number: u8) -> Behaviour {
    Behaviour::Cap(CapBehaviour {
        capability: Capability::from_raw(number).expect("a capability"),
        namespace: UserNamespace::Initial,
        outcome: CapOutcome::Granted,
    })
}

fn observation(path: &str, section: Section) -> Observation {
    Observation {
        key: key(1, "/init"),
        section,
        behaviour: behaviour(path),
    }
}

/// A store in a directory of its own, and that directory.
fn store() -> (ProfileStore, tempfile::TempDir) {
    let directory = tempfile::tempdir().expect("temporary directory");
    let store = ProfileStore::open(&directory.path().join("state")).expect("opens");
    (store, directory)
}

fn reopen(store: ProfileStore) -> ProfileStore {
    let directory = store.path().parent().expect("in a directory").to_owned();
    drop(store);
    ProfileStore::open(&directory).expect("opens again")
}
