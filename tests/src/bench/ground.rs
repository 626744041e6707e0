//! What the measurements stand on: a Docker daemon of their own and one agent's state, with the agent there or torn down.
//!
//! Input: the image that is measured, and its container. Output: agents that have all in hand. Failure: what the daemon or
//! agent said; a container that departs from what was learned, as then it would be another thing that is measured.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

use crate::agent::{Agent, Options};
use crate::environment::patience;
use crate::runtime::{Container, Docker};
use crate::service::Stop;
use crate::support;

/// The name of the agent, and so of its state.
const AGENT: &str = "bench";
/// How long learning may take.
const PATIENCE: Duration = Duration::from_mins(2);
/// Longer than anything that was learned takes on its way into the profile and from there into the kernel.
const SETTLED: Duration = Duration::from_secs(2);

/// Longer than the kernel takes to let go of a program that was detached.
const DETACHED: Duration = Duration::from_millis(300);

/// What an agent is started with.
pub fn options() -> Options {
    Options::named(AGENT)
}

/// Starts an agent and waits until it has everything in hand that concerns the container.
pub fn agent(docker: &Docker, container: &Container) -> anyhow::Result<Agent> {
    agent_with(docker, container, Vec::new())
}

/// As [`agent`], with these variables in its environment.
pub fn agent_with(
    docker: &Docker,
    container: &Container,
    variables: Vec<(&'static str, String)>,
) -> anyhow::Result<Agent> {
    let options = Options {
        variables,
        ..options()
    };
    let agent = Agent::start(docker, &options)?;
    agent.wait_until_resolved(&container.id)?;
    if Stop::of(&agent)? == Stop::Killed && agent.answering_process().is_some() {
        agent.wait_until_answered(&container.id)?;
    }
    Ok(agent)
}

/// Waits until what an agent does when it starts, and the kernel when it is torn down, is over: on a processor with two threads it slows the
/// other one.
pub fn settle() {
    std::thread::sleep(SETTLED);
}

/// Sets the mode of domains for all about which nothing closer was said, and lets the kernel attach and detach what follows.
pub fn watch(agent: &Agent, domains: &[&str], mode: &str) -> anyhow::Result<()> {
    for domain in domains {
        agent.done(&["mode", "set", mode, "--default", "--domain", domain])?;
    }
    std::thread::sleep(DETACHED);
    Ok(())
}

/// Does something again and again until it is learned: until it makes no record. The container is in `learn`.
pub fn learn(agent: &Agent, mut once: impl FnMut() -> anyhow::Result<()>) -> anyhow::Result<()> {
    let deadline = Instant::now() + patience(PATIENCE);
    loop {
        once()?;
        std::thread::sleep(patience(SETTLED));
        let before = generated(agent)?;
        once()?;
        let records = generated(agent)? - before;
        if records == 0 {
            return Ok(());
        }
        ensure!(
            Instant::now() < deadline,
            "it is not learned: it still makes {records} records; log:\n{}",
            agent.log()
        );
    }
}

/// Records that the kernel programs had to send so far.
pub fn generated(agent: &Agent) -> anyhow::Result<u64> {
    agent.counter("generated")
}

/// What this kernel can do about each domain that is measured.
pub fn tiers(agent: &Agent) -> anyhow::Result<Vec<String>> {
    let tier = |domain| Ok(format!("{domain} `{}`", support::tier(agent, domain)?));
    ["exec", "file", "cap"].into_iter().map(tier).collect()
}

/// Nothing of what is measured is a deviation.
pub fn check(agent: &Agent, container: &Container) -> anyhow::Result<()> {
    let alert = agent.wait_for_alert(0, Duration::ZERO, |alert| {
        alert["container"]["id"] == container.id.as_str()
    });
    ensure!(
        alert.is_none(),
        "what is measured does not conform: {:#}",
        alert.context("no alert")?
    );
    Ok(())
}
