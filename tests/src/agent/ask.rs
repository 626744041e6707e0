//! What a test asks the agent, by its command line and in no other way.
//!
//! Output: what the command printed, or the part of its JSON that is wanted. Failure: another exit code than 0, with
//! what it said and the agent's log.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde_json::Value;

use super::{Agent, PATIENCE, command};
use crate::environment::patience;

/// What came of a command line.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The exit code; -1 if it was killed.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Agent {
    /// A `driftlock` command line that talks to this agent.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = command(&self.namespace, &self.directory);
        command.args(arguments).stdin(Stdio::null());
        command
    }

    /// Runs a `driftlock` command and gives what came of it, success or not.
    pub fn cli(&self, arguments: &[&str]) -> anyhow::Result<Reply> {
        let output = self.command(arguments).output().context("cannot run driftlock")?;
        Ok(Reply {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// Runs a `driftlock` command that must succeed and gives what it printed.
    pub fn done(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let reply = self.cli(arguments)?;
        ensure!(
            reply.code == 0,
            "driftlock {arguments:?}: exit code {}\n{}{}\nlog:\n{}",
            reply.code,
            reply.stdout,
            reply.stderr,
            self.log()
        );
        Ok(reply.stdout)
    }

    /// Runs a reading command with `--json`.
    pub fn json(&self, arguments: &[&str]) -> anyhow::Result<Value> {
        let text = self.done(&[arguments, &["--json"]].concat())?;
        serde_json::from_str(&text).with_context(|| format!("driftlock {arguments:?} --json printed {text}"))
    }

    /// Waits until executions of files of a container's root filesystem are answered before they happen.
    pub fn wait_until_answered(&self, container: &str) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let containers = self.json(&["containers"])?;
            let is_answered = containers.as_array().is_some_and(|list| {
                list.iter()
                    .any(|one| one["id"] == container && one["answered"] == true)
            });
            if is_answered {
                return Ok(());
            }
            ensure!(
                Instant::now() < deadline,
                "nobody answers for {container}: {containers:#}\ndoctor: {:#}\nlog:\n{}",
                self.json(&["doctor"])?,
                self.log()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Sets the mode of an image for what is executed and mapped; files and capabilities stay as they are.
    pub fn set_mode(&self, mode: &str, image: &str) -> anyhow::Result<()> {
        for domain in ["exec", "library"] {
            self.set_domain_mode(mode, image, domain)?;
        }
        Ok(())
    }

    /// Sets the mode of an image for one domain.
    pub fn set_domain_mode(&self, mode: &str, image: &str, domain: &str) -> anyhow::Result<()> {
        self.done(&["mode", "set", mode, "--image", image, "--domain", domain])
            .map(drop)
    }

    /// Accepts a program of the image for what enters its containers from outside.
    pub fn accept_probe(&self, image: &str, path: &str) -> anyhow::Result<()> {
        self.done(&["profile", "accept", image, path, "--exec-in"])
            .map(drop)
    }

    /// Accepts a program of the image for its containers' own processes.
    pub fn accept(&self, image: &str, path: &str) -> anyhow::Result<()> {
        self.done(&["profile", "accept", image, path]).map(drop)
    }

    /// Accepts one applet of a multi-call program of the image, for its containers' own processes.
    pub fn accept_applet(&self, image: &str, path: &str, applet: &str) -> anyhow::Result<()> {
        self.done(&["profile", "accept", image, path, "--applet", applet])
            .map(drop)
    }

    /// Accepts a program that did not come with the image, for its containers' own processes.
    pub fn accept_drift(&self, image: &str, layer: &str, path: &str, sha256: &str) -> anyhow::Result<()> {
        self.done(&[
            "profile", "accept", image, path, "--layer", layer, "--sha256", sha256,
        ])
        .map(drop)
    }

    /// Waits until the image's profile holds these behaviours as rules; a multi-call program's is written
    /// `PATH APPLET`.
    pub fn wait_until_learned(&self, image: &str, behaviours: &[&str]) -> anyhow::Result<()> {
        let deadline = Instant::now() + patience(PATIENCE);
        loop {
            let held = self.rules(image, "main").unwrap_or_default();
            let missing: Vec<_> = behaviours
                .iter()
                .filter(|wanted| !held.iter().any(|held| held == *wanted))
                .collect();
            if missing.is_empty() {
                return Ok(());
            }
            ensure!(
                Instant::now() < deadline,
                "the profile of {image} does not hold {missing:?} but {held:?}; log:\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// The behaviours that a profile's section has as rules, each as `PATH` or `PATH APPLET`.
    pub fn rules(&self, image: &str, section: &str) -> anyhow::Result<Vec<String>> {
        self.behaviours(image, |behaviour| {
            behaviour["section"] == section && behaviour["state"] != "proposed"
        })
    }

    /// The programs of a profile for which `chosen` holds, each as `PATH` or `PATH APPLET`.
    pub fn behaviours(&self, image: &str, chosen: impl Fn(&Value) -> bool) -> anyhow::Result<Vec<String>> {
        let profile = self.json(&["profile", "show", image])?;
        let behaviours = profile["behaviours"]
            .as_array()
            .context("no list of behaviours")?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Ok(behaviours
            .iter()
            .filter(|behaviour| behaviour["domain"] == "exec" && chosen(behaviour))
            .map(|behaviour| match behaviour["applet"].as_str() {
                None => text(&behaviour["path"]),
                Some(applet) => format!("{} {applet}", text(&behaviour["path"])),
            })
            .collect())
    }

    /// What the image's profile holds as rules for the container's own processes in one domain, each as `text` writes it.
    pub fn held(
        &self,
        image: &str,
        domain: &str,
        text: impl Fn(&Value) -> String,
    ) -> anyhow::Result<Vec<String>> {
        let profile = self.json(&["profile", "show", image])?;
        let behaviours = profile["behaviours"]
            .as_array()
            .context("no list of behaviours")?;
        Ok(behaviours
            .iter()
            .filter(|behaviour| behaviour["domain"] == domain && behaviour["section"] == "main")
            .map(text)
            .collect())
    }

    /// Waits until [`Agent::held`] has all of `wanted`.
    pub fn wait_until_held(
        &self,
        image: &str,
        domain: &str,
        wanted: &[&str],
        text: impl Fn(&Value) -> String,
    ) -> anyhow::Result<()> {
        let deadline = Instant::now() + patience(PATIENCE);
        loop {
            let held = self.held(image, domain, &text)?;
            let missing: Vec<_> = wanted
                .iter()
                .filter(|wanted| !held.iter().any(|held| held == *wanted))
                .collect();
            if missing.is_empty() {
                return Ok(());
            }
            ensure!(
                Instant::now() < deadline,
                "the profile of {image} does not hold {missing:?} but {held:#?}; log:\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// A counter of a container, of all domains together.
    pub fn container_counter(&self, container: &str, name: &str) -> anyhow::Result<u64> {
        let containers = self.json(&["containers"])?;
        let found = containers
            .as_array()
            .context("no list of containers")?
            .iter()
            .find(|entry| entry["id"] == container)
            .with_context(|| format!("no container {container}"))?;
        found["counters"][name]
            .as_u64()
            .with_context(|| format!("{container} has no counter {name}: {found:#}"))
    }

    /// Waits until the agent knows which image a container is of and has its policy in force, and gives its description.
    pub fn wait_until_resolved(&self, container: &str) -> anyhow::Result<Value> {
        let deadline = Instant::now() + patience(PATIENCE);
        loop {
            let containers = self.json(&["containers"])?;
            let found = containers
                .as_array()
                .context("no list of containers")?
                .iter()
                .find(|entry| {
                    let is_in_force = entry["modes"][0]["mode"] != "pending";
                    entry["id"] == container && entry["state"] == "resolved" && is_in_force
                });
            if let Some(found) = found {
                return Ok(found.clone());
            }
            ensure!(
                Instant::now() < deadline,
                "container {container} is not resolved: {containers:#}\nlog:\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// One of the counters of all containers together, from `status --json`.
    pub fn counter(&self, name: &str) -> anyhow::Result<u64> {
        let status = self.json(&["status"])?;
        status["counters"][name]
            .as_u64()
            .with_context(|| format!("status has no counter {name}: {status:#}"))
    }
}
