//! What a real server does in windows, as the agent learns it: for `cargo xtask record server`.
//!
//! Input: a line per window on standard input, its steps separated by `;`: `request METHOD PATH` or `run PROGRAM ARGUMENT...`. Output: on standard output
//! `window N`, and then a line `DOMAIN BEHAVIOUR` for each behaviour that the agent learned in it. Failure: what could not be set up. A step
//! that fails is behaviour like any other.
//!
//! Each window is a container of its own, of an image of its own that differs by a label alone: so the profile of each image is what was seen in
//! that window.

use std::io::{BufRead, Write};

use anyhow::{Context as _, bail};
use serde_json::Value;

use crate::agent::{Agent, Options};
use crate::environment::Environment;
use crate::nginx::{self, NGINX};
use crate::runtime::{Docker, Layout, Runtime as _};

/// The image that the others differ from by their labels.
const IMAGE: &str = "registry.example/recorded:base";

/// Records a window for each line.
pub fn run(lines: impl BufRead, mut output: impl Write) -> anyhow::Result<()> {
    Environment::read()?;
    let docker = Docker::start(Layout::Hybrid)?;
    nginx::build(&docker, IMAGE)?;
    docker.text(["create", "--name", "base", IMAGE])?;
    let agent = Agent::start(&docker, &Options::named("recorded"))?;
    for (number, line) in lines.lines().enumerate() {
        let image = format!("registry.example/recorded:{number}");
        docker.text([
            "commit",
            "--change",
            &format!("LABEL window={number}"),
            "base",
            &image,
        ])?;
        window(&docker, &agent, &image, number, &line?).with_context(|| format!("window {number}"))?;
        writeln!(output, "window {number}")?;
        let profile = agent.json(&["profile", "show", &image])?;
        for behaviour in profile["behaviours"].as_array().into_iter().flatten() {
            writeln!(output, "{}", text(behaviour))?;
        }
        output.flush()?;
        docker.text(["rmi", &image])?;
    }
    Ok(())
}

/// One container: the server starts, does what the steps say, and ends.
fn window(docker: &Docker, agent: &Agent, image: &str, number: usize, steps: &str) -> anyhow::Result<()> {
    let options = ["--entrypoint=/usr/bin/service"];
    let service = docker.service(&format!("window-{number}"), image, &options, &[])?;
    agent.wait_until_resolved(&service.container.id)?;
    service.start(&[NGINX])?;
    let process = docker.process(&service.container)?;
    for step in steps.split(';') {
        let words: Vec<&str> = step.split_whitespace().collect();
        match words.as_slice() {
            ["request", method, path] => nginx::request(process, method, path)?,
            ["run", program @ ..] if !program.is_empty() => {
                service.start(program)?;
            }
            _ => bail!("no such step: {step}"),
        }
    }
    service.start(&[NGINX, "-s", "quit"])?;
    docker.remove(&service.detach())
}

/// A behaviour as a recording has it.
fn text(behaviour: &Value) -> String {
    let word = |name: &str| behaviour[name].as_str().unwrap_or("-");
    match word("domain") {
        "exec" => format!("exec {} {}", word("layer"), word("path")),
        "file" => format!("file {}-{} {}", word("operation"), word("layer"), word("path")),
        "cap" => format!(
            "cap {} {} {}",
            word("capability"),
            word("namespace"),
            word("outcome")
        ),
        domain => format!("{domain} {behaviour}"),
    }
}
