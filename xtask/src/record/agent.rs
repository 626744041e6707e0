//! A server in containers, recorded by the agent itself.
//!
//! Input: what the server does in each window. Output: what the agent learned in each. Failure: what could not be built or set up; an output
//! that is not understood. The containers and the agent are the harness's (`tests/src/recorded.rs`).

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::Stdio;

use anyhow::{Context as _, Result, bail, ensure};

use super::draw::Draw;
use super::windows::{Behaviour, Windows};
use super::workload::Workload;
use crate::environment::Environment;
use crate::setup::{self, Purpose, cargo, is_root};

/// The domains that the agent tells of.
const DOMAINS: [&str; 4] = ["exec", "file", "cap", "syscall"];

/// Has the agent watch `windows` containers.
pub fn watch(workload: Workload, windows: u32) -> Result<Windows> {
    ensure!(
        is_root(),
        "the agent loads kernel programs and containers are started: run this as root"
    );
    let tools = setup::run(&[Purpose::Test])?;
    let mut command = cargo();
    Environment::build(&tools)?.give(&mut command)?;
    let pool = workload.pool(std::path::Path::new("/"))?;
    let mut draw = Draw::new(workload.name());
    let scripts: String = (0..windows)
        .map(|number| workload.script(number, &pool, &mut draw) + "\n")
        .collect();
    let mut child = command
        .args([
            "run",
            "--quiet",
            "--locked",
            "--package",
            "tests",
            "--bin",
            "record",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot run cargo")?;
    let mut input = child.stdin.take().context("no standard input")?;
    let writer = std::thread::spawn(move || input.write_all(scripts.as_bytes()));
    let output = child
        .wait_with_output()
        .context("cannot wait for the recording")?;
    writer
        .join()
        .expect("the writer does not panic")
        .context("cannot say what is to be done")?;
    ensure!(output.status.success(), "the recording failed");
    read(&String::from_utf8_lossy(&output.stdout))
}

/// What was told of each window.
fn read(text: &str) -> Result<Windows> {
    let mut all = Windows::default();
    let mut open: Option<(u32, BTreeSet<Behaviour>)> = None;
    for line in text.lines() {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        if word == "window" {
            if let Some((number, seen)) = open.take() {
                all.add(number, seen);
            }
            let number = rest.parse().with_context(|| format!("not understood: {line}"))?;
            open = Some((number, BTreeSet::new()));
            continue;
        }
        let domain = DOMAINS.into_iter().find(|domain| *domain == word);
        let (Some(domain), Some((_, seen))) = (domain, &mut open) else {
            bail!("not understood: {line}");
        };
        seen.insert(Behaviour {
            domain,
            text: rest.to_owned(),
        });
    }
    if let Some((number, seen)) = open {
        all.add(number, seen);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_agent_tells_is_read_by_window() {
        let text =
            "window 0\nexec image /bin/sh\nwindow 1\nexec image /bin/sh\ncap CAP_CHOWN initial granted\n";
        assert_eq!(
            read(text).expect("reads").to_text(2),
            "windows 2\ncap 1\n CAP_CHOWN initial granted\nexec 0-1\n image /bin/sh\n"
        );
        assert!(read("exec image /bin/sh\n").is_err(), "of no window");
        assert!(read("window 0\nerror: x\n").is_err());
    }
}
