//! From what was typed to what holds: flags over environment over file over defaults. The only place where that order
//! is known; clap has already put flags over environment.
//!
//! Input: [`Global`], [`Run`] and the configuration file. Output: [`Config`]. Failure: [`ConfigError`].

use std::path::PathBuf;

use super::args::{Global, Run};
use crate::config::sinks::SinkConfig;
use crate::config::{
    BPFFS, CONFIG_FILE, CgroupHierarchy, Config, ConfigError, ConfigFile, Level, LogFormat, RuntimesChoice,
    SOCKET, STATE_DIR,
};
use crate::profile::completeness::Targets;

/// All that holds.
///
/// # Errors
/// If the configuration file cannot be used.
pub fn config(global: &Global, run: &Run) -> Result<Config, ConfigError> {
    let read = read_file(global)?;
    let found = read.is_some();
    let file = read.unwrap_or_default();
    let first = |flag: &Option<PathBuf>, file: Option<PathBuf>, default: &str| {
        flag.clone().or(file).unwrap_or_else(|| PathBuf::from(default))
    };
    let docker_data_roots = if run.docker_data_roots.is_empty() {
        file.runtimes.docker.data_roots
    } else {
        run.docker_data_roots.clone()
    };
    Ok(Config {
        file: found.then(|| file_path(global)),
        node: run.node.clone().or(file.node).unwrap_or_else(host_name),
        state_dir: first(&global.state_dir, file.state_dir, STATE_DIR),
        socket: first(&global.socket, file.socket, SOCKET),
        bpffs: first(&global.bpffs, file.bpffs, BPFFS),
        log_level: run.log_level.or(file.log.level).unwrap_or(Level::Info),
        log_format: run.log_format.or(file.log.format).unwrap_or(LogFormat::Text),
        kernel_log_level: run
            .kernel_log_level
            .or(file.kernel_log_level)
            .unwrap_or(Level::Off),
        teardown_on_exit: run.teardown_on_exit,
        runtimes: RuntimesChoice {
            find: file.runtimes.find.unwrap_or(true),
            docker_data_roots,
            containerd_states: file.runtimes.containerd.states,
            podman_storages: file.runtimes.podman.storages,
        },
        cgroup_hierarchy: file.cgroup_hierarchy.unwrap_or(CgroupHierarchy::Auto),
        policies: file.policies.resolve(),
        trust: file.profiles.resolve().map_err(|source| ConfigError::Trust {
            file: file_path(global),
            source,
        })?,
        learned: file.learned.resolve(),
        control: file.control,
        sinks: file.sinks.unwrap_or_else(|| vec![SinkConfig::stdout()]),
        spool: file.spool.resolve(),
        metrics: file.metrics,
        canary: file.canary.resolve(),
        limits: file.limits.resolve(),
        confine: file.confine.unwrap_or(true),
    })
}

/// The control socket alone, for commands that only ask the agent: where it is named, no file need be readable.
///
/// # Errors
/// If the configuration file is needed and cannot be used.
pub fn socket(global: &Global) -> Result<PathBuf, ConfigError> {
    if let Some(socket) = &global.socket {
        return Ok(socket.clone());
    }
    // What else the file names, as keys, may be there for the agent alone.
    let file = read_file(global)?.unwrap_or_default();
    Ok(file.socket.unwrap_or_else(|| PathBuf::from(SOCKET)))
}

/// What a profile must have been learned from to be called learned.
///
/// # Errors
/// If the configuration file cannot be used.
pub fn targets(global: &Global) -> Result<Targets, ConfigError> {
    Ok(read_file(global)?.unwrap_or_default().learned.resolve())
}

fn read_file(global: &Global) -> Result<Option<ConfigFile>, ConfigError> {
    ConfigFile::read(&file_path(global), global.config.is_some())
}

fn file_path(global: &Global) -> PathBuf {
    global
        .config
        .clone()
        .unwrap_or_else(|| PathBuf::from(CONFIG_FILE))
}

fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_file(text: &str) -> (tempfile::TempDir, Global) {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("config.yaml");
        std::fs::write(&file, text).expect("written");
        let global = Global {
            config: Some(file),
            ..Global::default()
        };
        (directory, global)
    }

    #[test]
    fn flags_go_before_the_file_and_the_file_before_defaults() {
        let (_directory, mut global) = with_file(
            "node: from-file\nsocket: /file.sock\nlog: {level: debug}\nruntimes: {docker: {data_roots: [/file]}}\n",
        );
        let mut run = Run::default();
        let config = config(&global, &run).expect("a good file");
        assert_eq!(
            (config.node.as_str(), config.log_level),
            ("from-file", Level::Debug)
        );
        assert_eq!(config.socket, PathBuf::from("/file.sock"));
        assert_eq!(config.state_dir, PathBuf::from(STATE_DIR));
        assert_eq!(config.runtimes.docker_data_roots, [PathBuf::from("/file")]);
        assert_eq!(config.kernel_log_level, Level::Off);
        assert_eq!(config.file, global.config);

        global.socket = Some("/flag.sock".into());
        run.node = Some("from-flag".to_owned());
        run.log_level = Some(Level::Error);
        run.docker_data_roots = vec!["/flag".into()];
        let config = super::config(&global, &run).expect("a good file");
        assert_eq!(
            (config.node.as_str(), config.log_level),
            ("from-flag", Level::Error)
        );
        assert_eq!(config.socket, PathBuf::from("/flag.sock"));
        assert_eq!(config.runtimes.docker_data_roots, [PathBuf::from("/flag")]);
    }

    #[test]
    fn a_named_socket_needs_no_file() {
        let (_directory, mut global) = with_file("nonsense: true\n");
        assert!(socket(&global).is_err());
        global.socket = Some("/flag.sock".into());
        assert_eq!(socket(&global).expect("named"), PathBuf::from("/flag.sock"));
    }
}
