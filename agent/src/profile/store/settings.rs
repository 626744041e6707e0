//! What an operator says about images and containers: modes, and the policy for processes from outside.
//!
//! Input: a scope and a setting. Output: whether that changed anything. Failure: a mode that cannot be set, no room.

use std::collections::BTreeSet;

use agent_common::domain::{Domain, Mode};

use super::{ProfileStore, Result, StoreError, full};
use crate::profile::mode::{ExecInto, SETTINGS_MAX, Scope};
use crate::profile::rows::Change;

impl ProfileStore {
    /// Sets a mode, for one domain or (`None`) for every domain about which nothing was said at the same scope;
    /// no mode (`None`) takes the setting back. Says whether that changed anything.
    pub fn set_mode(&mut self, scope: Scope, domain: Option<Domain>, mode: Option<Mode>) -> Result<bool> {
        self.recover()?;
        if mode == Some(Mode::Pending) {
            return Err(StoreError::PendingMode);
        }
        let can_be_off = domain.is_some_and(|domain| Domain::CAN_BE_OFF.contains(&domain));
        if mode == Some(Mode::Off) && !can_be_off {
            return Err(StoreError::AlwaysOn);
        }
        scope.check()?;
        let key = (scope, domain);
        let modes = &self.state.policies.modes;
        let held = modes.get(&key).copied();
        if held == mode {
            return Ok(false);
        }
        if held.is_none() && modes.len() >= SETTINGS_MAX {
            return Err(full("modes", SETTINGS_MAX));
        }
        self.commit("set mode", vec![Change::Mode(key, mode)])?;
        Ok(true)
    }

    /// Sets the policy for processes from outside; `None` takes it back. Says whether that changed anything.
    pub fn set_exec_into(&mut self, scope: Scope, policy: Option<ExecInto>) -> Result<bool> {
        self.recover()?;
        scope.check()?;
        let policies = &self.state.policies.exec_into;
        let held = policies.get(&scope).copied();
        if held == policy {
            return Ok(false);
        }
        if held.is_none() && policies.len() >= SETTINGS_MAX {
            return Err(full("policies", SETTINGS_MAX));
        }
        self.commit("set policy", vec![Change::ExecInto(scope, policy)])?;
        Ok(true)
    }

    /// Removes the settings of containers that do not exist any more, by their full ids. Settings of a container
    /// outlive its restart, so this is for removed containers only.
    pub fn forget_containers(&mut self, ids: &BTreeSet<String>) -> Result<()> {
        self.recover()?;
        let is_gone = |scope: &Scope| matches!(scope, Scope::Container(id) if ids.contains(id));
        let policies = &self.state.policies;
        let modes = policies.modes.keys().filter(|(scope, _)| is_gone(scope));
        let exec_into = policies.exec_into.keys().filter(|scope| is_gone(scope));
        let changes = modes
            .map(|key| Change::Mode(key.clone(), None))
            .chain(exec_into.map(|scope| Change::ExecInto(scope.clone(), None)))
            .collect();
        self.commit("forget containers", changes)
    }
}
