//! What a client of the control socket may do: nothing, read, or change.
//!
//! Input: the section `control:` of the configuration, and who the client is ([`Peer`]). Output: its [`Right`], and how the socket's
//! file is to be. Failure: [`AccessError`] for a group that this machine does not know, a [`Refusal`] for a client that may nothing.
//! Pure but for the look-up of groups, which is handed in.
//!
//! Root and the agent's own user may change; others are named in the configuration. A process of a container is nobody by its user id
//! alone: user 0 in a container that was given the socket is not the node's root, so it may do what `from_containers` says at most.

use super::protocol::{Refusal, Request};
use crate::config::control::{ControlSection, FromContainers, OVERFLOW_ID, Principal};

/// What a client may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Right {
    /// Ask for what changes nothing.
    Read,
    /// Ask for anything.
    Change,
}

/// Where a client runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// On the node, or beside the agent in the agent's own container.
    Node,
    /// In a container, or where it cannot be told that it is in none.
    Container,
}

/// Who a client is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its user, in the agent's user namespace.
    pub uid: u32,
    /// Its groups, in the agent's user namespace.
    pub gids: Vec<u32>,
    /// Where it runs.
    pub place: Place,
}

/// Who may do what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    own_uid: u32,
    readers: Ids,
    changers: Ids,
    from_containers: FromContainers,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Ids {
    users: Vec<u32>,
    groups: Vec<u32>,
}

/// How the socket's file is to be, so that those who may ask can connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketFile {
    /// Permission bits.
    pub mode: u32,
    /// Group; the agent's own if `None`.
    pub group: Option<u32>,
}

/// The configuration cannot be put into force here.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// A group is not known.
    #[error("the configuration: control.{list}: there is no group `{name}` on this machine")]
    NoGroup {
        /// The list that names it.
        list: &'static str,
        /// Its name.
        name: String,
    },
    /// A group's number says nothing.
    #[error(
        "the configuration: control.{list}: group `{name}` has the number of every group of other user namespaces"
    )]
    Overflow {
        /// The list that names it.
        list: &'static str,
        /// Its name.
        name: String,
    },
    /// Groups cannot be looked up.
    #[error("the configuration: control.{list}: cannot look up group `{name}`: {source}")]
    LookUp {
        /// The list that names it.
        list: &'static str,
        /// Its name.
        name: String,
        /// Why not.
        source: std::io::Error,
    },
}

// === impl Access ===

impl Access {
    /// Root and the user `own_uid`, who runs the agent, and nobody else.
    #[must_use]
    pub fn only(own_uid: u32) -> Self {
        Self {
            own_uid,
            readers: Ids::default(),
            changers: Ids::default(),
            from_containers: FromContainers::Refuse,
        }
    }

    /// What the configuration says. `group` finds a group's number by its name, `Ok(None)` if there is none.
    ///
    /// # Errors
    /// [`AccessError`].
    pub fn new(
        section: &ControlSection,
        own_uid: u32,
        group: impl Fn(&str) -> std::io::Result<Option<u32>>,
    ) -> Result<Self, AccessError> {
        Ok(Self {
            own_uid,
            readers: Ids::new("readers", &section.readers, &group)?,
            changers: Ids::new("changers", &section.changers, &group)?,
            from_containers: section.from_containers,
        })
    }

    /// What a client may do.
    ///
    /// # Errors
    /// It may do nothing.
    pub fn right_of(&self, peer: &Peer) -> Result<Right, Refusal> {
        let by_user = if self.is_owner(peer) || self.changers.hold(peer) {
            Some(Right::Change)
        } else if self.readers.hold(peer) {
            Some(Right::Read)
        } else {
            None
        };
        let Some(by_user) = by_user else {
            return Err(
                Refusal::not_permitted(format!("uid {} may not ask the agent", peer.uid)).hint(
                    "run the command as root, or have `control.readers` or `control.changers` of the agent's configuration name you",
                ),
            );
        };
        match (peer.place, self.from_containers) {
            (Place::Node, _) | (Place::Container, FromContainers::Change) => Ok(by_user),
            (Place::Container, FromContainers::Read) => Ok(Right::Read),
            (Place::Container, FromContainers::Refuse) => Err(Refusal::not_permitted(format!(
                "uid {} may not ask the agent from a container",
                peer.uid
            ))
            .hint(
                "run the command on the node, or see `control.from_containers` of the agent's configuration",
            )),
        }
    }

    /// Whether a client is root of the node, or who runs the agent: for those a place is kept free.
    #[must_use]
    pub fn is_administrator(&self, peer: &Peer) -> bool {
        self.is_owner(peer) && peer.place == Place::Node
    }

    /// How the socket's file is to be. A file has one group: where several groups, or a user, may ask, everybody may connect, and who
    /// may not ask is refused then.
    #[must_use]
    pub fn socket_file(&self) -> SocketFile {
        let mut groups: Vec<u32> = [&self.readers.groups[..], &self.changers.groups].concat();
        groups.sort_unstable();
        groups.dedup();
        let others = |users: &[u32]| users.iter().any(|user| *user != 0 && *user != self.own_uid);
        let (mode, group) = match groups[..] {
            _ if others(&self.readers.users) || others(&self.changers.users) => (0o666, None),
            [] => (0o600, None),
            [group] => (0o660, Some(group)),
            _ => (0o666, None),
        };
        SocketFile { mode, group }
    }

    fn is_owner(&self, peer: &Peer) -> bool {
        peer.uid == 0 || peer.uid == self.own_uid
    }
}

// === impl Ids ===

impl Ids {
    fn new(
        list: &'static str,
        principals: &[Principal],
        group: &impl Fn(&str) -> std::io::Result<Option<u32>>,
    ) -> Result<Self, AccessError> {
        let mut ids = Self::default();
        for principal in principals {
            match principal {
                Principal::User(id) => ids.users.push(*id),
                Principal::Group(id) => ids.groups.push(*id),
                Principal::GroupName(name) => {
                    let name = name.clone();
                    match group(&name) {
                        Ok(Some(OVERFLOW_ID)) => return Err(AccessError::Overflow { list, name }),
                        Ok(Some(id)) => ids.groups.push(id),
                        Ok(None) => return Err(AccessError::NoGroup { list, name }),
                        Err(source) => return Err(AccessError::LookUp { list, name, source }),
                    }
                }
            }
        }
        Ok(ids)
    }

    fn hold(&self, peer: &Peer) -> bool {
        self.users.contains(&peer.uid) || peer.gids.iter().any(|group| self.groups.contains(group))
    }
}

// === impl Right ===

impl Right {
    /// What a request needs.
    #[must_use]
    pub fn needed(request: &Request) -> Self {
        match request {
            Request::Status
            | Request::Containers
            | Request::ModeGet
            | Request::ProfileList
            | Request::ProfileShow { .. }
            | Request::ProfileExport { .. }
            | Request::Doctor
            | Request::Alerts { .. } => Self::Read,
            Request::ModeSet { .. }
            | Request::ProfileImport { .. }
            | Request::ProfileApprove { .. }
            | Request::ProfileAccept { .. } => Self::Change,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(readers: &[&str], changers: &[&str], from_containers: FromContainers) -> Access {
        let parse = |list: &[&str]| list.iter().map(|text| text.parse().expect("an entry")).collect();
        let section = ControlSection {
            readers: parse(readers),
            changers: parse(changers),
            from_containers,
        };
        Access::new(&section, 7, |name| Ok((name == "ops").then_some(500))).expect("known groups")
    }

    fn right(access: &Access, uid: u32, gids: &[u32], place: Place) -> Option<Right> {
        let peer = Peer {
            uid,
            gids: gids.to_vec(),
            place,
        };
        access.right_of(&peer).ok()
    }

    #[test]
    fn without_configuration_only_root_and_the_agents_own_user_may_ask() {
        let access = Access::only(7);
        for (uid, expected) in [(0, Some(Right::Change)), (7, Some(Right::Change)), (8, None)] {
            assert_eq!(right(&access, uid, &[0], Place::Node), expected, "{uid}");
            assert_eq!(right(&access, uid, &[0], Place::Container), None, "{uid}");
        }
    }

    #[test]
    fn users_and_groups_have_what_the_lists_say() {
        let access = access(&["1001", "ops"], &["gid:600", "1002"], FromContainers::Refuse);
        for (uid, gids, expected) in [
            (1001, &[9][..], Some(Right::Read)),
            (1002, &[9], Some(Right::Change)),
            (9, &[8, 500], Some(Right::Read)),
            (9, &[500, 600], Some(Right::Change)),
            (9, &[8], None),
            (500, &[1001], None),
        ] {
            assert_eq!(right(&access, uid, gids, Place::Node), expected, "{uid} {gids:?}");
        }
    }

    #[test]
    fn who_is_in_a_container_may_do_no_more_than_containers_may() {
        for (from_containers, root, reader) in [
            (FromContainers::Refuse, None, None),
            (FromContainers::Read, Some(Right::Read), Some(Right::Read)),
            (FromContainers::Change, Some(Right::Change), Some(Right::Read)),
        ] {
            let access = access(&["1001"], &[], from_containers);
            assert_eq!(right(&access, 0, &[], Place::Container), root);
            assert_eq!(right(&access, 1001, &[], Place::Container), reader);
            assert_eq!(right(&access, 9, &[], Place::Container), None);
        }
    }

    #[test]
    fn the_socket_is_open_to_those_who_may_ask_and_as_few_others_as_a_file_can_say() {
        let file = |readers: &[&str], changers: &[&str]| {
            let file = access(readers, changers, FromContainers::Refuse).socket_file();
            (file.mode, file.group)
        };
        assert_eq!(file(&[], &[]), (0o600, None));
        assert_eq!(file(&["0"], &["7"]), (0o600, None));
        assert_eq!(file(&["ops"], &["gid:500"]), (0o660, Some(500)));
        assert_eq!(file(&["ops"], &["gid:600"]), (0o666, None));
        assert_eq!(file(&["1001"], &["ops"]), (0o666, None));
    }

    #[test]
    fn an_unknown_group_is_an_error_that_names_the_list() {
        let section = ControlSection {
            changers: vec![Principal::GroupName("nope".to_owned())],
            ..ControlSection::default()
        };
        let error = Access::new(&section, 0, |_| Ok(None)).expect_err("no such group");
        assert_eq!(
            error.to_string(),
            "the configuration: control.changers: there is no group `nope` on this machine"
        );
        let error = Access::new(&section, 0, |_| Ok(Some(65_534))).expect_err("says nothing");
        assert!(matches!(error, AccessError::Overflow { .. }), "{error}");
    }
}
