//! What of a configuration may change while the agent runs.
//!
//! Input: the configuration in force, and another one. Output: [`Change`]: what is to be in force, and by name what of it is new and what
//! waits for a restart. Pure. Failure: none; a field that is added to [`Config`] does not compile here until somebody has decided.

use super::Config;
use super::policies::Policies;

/// What another configuration changes.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// What is to be in force: the one before, with what may change.
    pub config: Config,
    /// The fields that change.
    pub applied: Vec<&'static str>,
    /// The fields that differ and stay as they are until the agent is started anew.
    pub restart: Vec<&'static str>,
}

impl Change {
    /// What `wanted` changes in `now`.
    #[must_use]
    pub fn between(now: &Config, wanted: Config) -> Self {
        let Config {
            // Where it was read: by what the agent was started with.
            file: _,
            node,
            state_dir,
            socket,
            bpffs,
            log_level,
            log_format,
            kernel_log_level,
            teardown_on_exit,
            runtimes,
            cgroup_hierarchy,
            policies,
            trust,
            learned,
            control,
            limits,
            sinks,
            spool,
            metrics,
            canary,
            confine,
        } = wanted;
        let Policies {
            exec_into,
            unprofiled,
            kill,
            hold,
            pod_annotations,
            inherit,
            protected_namespaces,
        } = policies;
        let mut change = Self {
            config: now.clone(),
            applied: Vec::new(),
            restart: Vec::new(),
        };
        let applied = &mut change.applied;
        let config = &mut change.config;
        let set = &mut config.policies;
        put(applied, "log.level", &mut config.log_level, log_level);
        put(applied, "policies.exec_into", &mut set.exec_into, exec_into);
        put(applied, "policies.kill", &mut set.kill, kill);
        let annotations = &mut set.pod_annotations;
        put(applied, "policies.pod_annotations", annotations, pod_annotations);
        put(applied, "policies.inherit", &mut set.inherit, inherit);
        let namespaces = &mut set.protected_namespaces;
        put(
            applied,
            "policies.protected_namespaces",
            namespaces,
            protected_namespaces,
        );
        put(applied, "profiles", &mut config.trust, trust);
        put(applied, "learned", &mut config.learned, learned);
        // Its process can be entered in its container at the start alone.
        let is_canary_new = now.canary.is_none() && canary.is_some();
        if !is_canary_new {
            put(applied, "canary", &mut config.canary, canary);
        }
        let restart = [
            ("node", now.node != node),
            ("state_dir", now.state_dir != state_dir),
            ("socket", now.socket != socket),
            ("bpffs", now.bpffs != bpffs),
            ("log.format", now.log_format != log_format),
            // The next two are constants of the kernel programs that are loaded, and of the process that answers.
            ("kernel_log_level", now.kernel_log_level != kernel_log_level),
            ("policies.unprofiled", now.policies.unprofiled != unprofiled),
            ("policies.hold", now.policies.hold != hold),
            ("teardown_on_exit", now.teardown_on_exit != teardown_on_exit),
            ("runtimes", now.runtimes != runtimes),
            ("cgroup_hierarchy", now.cgroup_hierarchy != cgroup_hierarchy),
            ("control", now.control != control),
            ("limits", now.limits != limits),
            ("metrics", now.metrics != metrics),
            ("canary", is_canary_new),
            ("sinks", now.sinks != sinks),
            ("spool", now.spool != spool),
            ("confine", now.confine != confine),
        ];
        change.restart = restart
            .into_iter()
            .filter(|(_, differs)| *differs)
            .map(|(name, _)| name)
            .collect();
        change
    }
}

/// Puts a value in force; its name goes among what changes if it is another one.
fn put<T: PartialEq>(applied: &mut Vec<&'static str>, name: &'static str, now: &mut T, wanted: T) {
    if *now != wanted {
        *now = wanted;
        applied.push(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::{Global, Run};
    use crate::cli::resolve;

    fn config(text: &str) -> Config {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("config.yaml");
        std::fs::write(&file, text).expect("written");
        let global = Global {
            config: Some(file),
            ..Global::default()
        };
        resolve::config(&global, &Run::default()).expect("a good file")
    }

    #[test]
    fn what_may_change_is_taken_and_the_rest_stays_and_is_named() {
        let now = config("node: a\n");
        let wanted = config(
            "node: b\nlog: {level: debug, format: json}\nlimits: {clients: 3}\nlearned: {windows: 7}\n\
             policies: {exec_into: deny, unprofiled: deny-drift, kill: [cap], inherit: false, protected_namespaces: [x]}\n",
        );
        let change = Change::between(&now, wanted.clone());
        assert_eq!(
            change.applied,
            [
                "log.level",
                "policies.exec_into",
                "policies.kill",
                "policies.inherit",
                "policies.protected_namespaces",
                "learned"
            ]
        );
        assert_eq!(
            change.restart,
            ["node", "log.format", "policies.unprofiled", "limits"]
        );
        let Change { config, .. } = change;
        assert_eq!((config.node.as_str(), config.log_level), ("a", wanted.log_level));
        assert_eq!(config.policies.kill, wanted.policies.kill);
        assert_eq!(config.policies.unprofiled, now.policies.unprofiled);
        assert_eq!(config.learned, wanted.learned);
        // The same once more changes nothing, and says once more what waits.
        let again = Change::between(&config, wanted);
        assert_eq!((again.applied.len(), again.restart.len()), (0, 4));
    }

    #[test]
    fn a_canary_is_slower_or_off_at_once_and_on_after_a_restart() {
        let (often, seldom, off) = (
            config("canary: {interval_s: 5}\n"),
            config(""),
            config("canary: {interval_s: off}\n"),
        );
        for (now, wanted, applied, restart) in [
            (&often, &seldom, &["canary"][..], &[][..]),
            (&seldom, &off, &["canary"], &[]),
            (&off, &often, &[], &["canary"]),
            (&off, &off, &[], &[]),
        ] {
            let change = Change::between(now, wanted.clone());
            assert_eq!((&change.applied[..], &change.restart[..]), (applied, restart));
            let holds = if restart.is_empty() { wanted } else { now };
            assert_eq!(change.config.canary, holds.canary);
        }
    }
}
