//! Debian's Prometheus, and what a test asks of it: whether it reads what the agent serves, and whether queries mean something.
//!
//! Input: an agent's address, a file of alerting rules. Output: pages, results of queries as the server's JSON. Failure: a program that is not there or
//! says no, with what it said. The server is a process of the test's own, on a port that was free, with its data in the run directory.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde_json::Value;

use crate::environment::patience;

/// How long the server may take to start, and then to read the agent for the first time.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often it reads the agent, in seconds.
pub const SCRAPE_S: u64 = 1;

/// A running server; dropped, it ends.
#[derive(Debug)]
pub struct Prometheus {
    process: Child,
    address: SocketAddr,
    log: PathBuf,
}

/// An address of the loopback interface that nobody listens on now.
pub fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// What is served under a path: the code, and the body.
pub fn get(address: SocketAddr, path: &str) -> anyhow::Result<(u16, String)> {
    let mut stream = TcpStream::connect(address).with_context(|| format!("nobody listens on {address}"))?;
    stream.set_read_timeout(Some(patience(PATIENCE)))?;
    // Of HTTP/1.0, so that the body is what comes until the end.
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no answer")?;
    let code = head.split(' ').nth(1).context("no code")?.parse()?;
    Ok((code, body.to_owned()))
}

/// The value of a series in a page of the text format, as it is written.
#[must_use]
pub fn value<'p>(page: &'p str, name: &str, labels: &[(&str, &str)]) -> Option<&'p str> {
    page.lines().find_map(|line| {
        let (series, value) = line.rsplit_once(' ')?;
        let (found, rest) = series.split_once('{').unwrap_or((series, ""));
        let is_labelled = labels
            .iter()
            .all(|(label, word)| rest.contains(&format!("{label}=\"{word}\"")));
        (found == name && is_labelled).then_some(value)
    })
}

/// The names in a page of the text format.
#[must_use]
pub fn names(page: &str) -> Vec<&str> {
    let kinds = page.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    kinds.filter_map(|line| line.split(' ').next()).collect()
}

/// The names of metrics in a query: words that begin as the agent's do, and `up`.
#[must_use]
pub fn names_in_query(query: &str) -> Vec<&str> {
    let words = query.split(|character: char| !(character.is_ascii_alphanumeric() || character == '_'));
    words
        .filter(|word| word.starts_with("driftlock_") || word.starts_with("process_") || *word == "up")
        .collect()
}

/// What `promtool check metrics` finds wrong with a page; empty if nothing.
pub fn faults(page: &str) -> anyhow::Result<String> {
    let mut tool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("promtool is not there")?;
    let mut input = tool.stdin.take().context("no input")?;
    input.write_all(page.as_bytes())?;
    drop(input);
    let output = tool.wait_with_output()?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    ensure!(
        output.status.success() || !said.is_empty(),
        "promtool: {}",
        output.status
    );
    Ok(said)
}

/// Checks a file of alerting rules with `promtool`; gives what it said.
pub fn check_rules(rules: &Path) -> anyhow::Result<String> {
    let output = Command::new("promtool")
        .args(["check", "rules", "--lint-fatal"])
        .arg(rules)
        .output()
        .context("promtool is not there")?;
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    ensure!(output.status.success(), "promtool: {said}");
    Ok(said)
}

impl Prometheus {
    /// Starts a server that reads `agent` each second and evaluates `rules`, and waits until it has read it. `directory` is for its data.
    pub fn start(directory: &Path, agent: SocketAddr, rules: &Path) -> anyhow::Result<Self> {
        let directory = directory.join("prometheus");
        std::fs::create_dir_all(&directory)?;
        let config = directory.join("prometheus.yaml");
        let rules = rules.canonicalize().context("no rules")?;
        std::fs::write(
            &config,
            format!(
                "global:\n  scrape_interval: {SCRAPE_S}s\n  evaluation_interval: {SCRAPE_S}s\n\
                 rule_files: [{}]\n\
                 scrape_configs:\n- job_name: driftlock\n  static_configs:\n  - targets: ['{agent}']\n",
                rules.display()
            ),
        )?;
        let log = directory.join("log");
        let address = free_address()?;
        let process = Command::new("prometheus")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                directory.join("data").display()
            ))
            .arg(format!("--web.listen-address={address}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log)?)
            .spawn()
            .context("prometheus is not there")?;
        let server = Self {
            process,
            address,
            log,
        };
        server.wait_until("it reads the agent", || {
            let up = server.query("up")?;
            Ok(up["data"]["result"][0]["value"][1] == "1")
        })?;
        Ok(server)
    }

    /// What the server answers to a query: its JSON. A query that it does not understand is an error.
    pub fn query(&self, query: &str) -> anyhow::Result<Value> {
        let answer = self.ask(&format!("/api/v1/query?query={}", escape(query)))?;
        ensure!(answer["status"] == "success", "{query}: {answer:#}");
        Ok(answer)
    }

    /// The alerting rules as the server has them, by name: their health, and what it last found wrong.
    pub fn rules(&self) -> anyhow::Result<Vec<(String, String)>> {
        let answer = self.ask("/api/v1/rules")?;
        let groups = answer["data"]["groups"].as_array().context("no groups")?;
        let rules = groups
            .iter()
            .filter_map(|group| group["rules"].as_array())
            .flatten();
        let word = |rule: &Value, name: &str| rule[name].as_str().unwrap_or_default().to_owned();
        Ok(rules
            .map(|rule| {
                (
                    word(rule, "name"),
                    format!("{}{}", word(rule, "health"), word(rule, "lastError")),
                )
            })
            .collect())
    }

    /// Waits until something holds.
    pub fn wait_until(&self, what: &str, holds: impl Fn() -> anyhow::Result<bool>) -> anyhow::Result<()> {
        let deadline = Instant::now() + patience(PATIENCE);
        loop {
            match holds() {
                Ok(true) => return Ok(()),
                other if Instant::now() >= deadline => {
                    other?;
                    anyhow::bail!(
                        "prometheus: not seen that {what}; log:\n{}",
                        crate::runtime::tail(&self.log)
                    );
                }
                _ => std::thread::sleep(Duration::from_millis(200)),
            }
        }
    }

    fn ask(&self, path: &str) -> anyhow::Result<Value> {
        let (_, body) = get(self.address, path)?;
        serde_json::from_str(&body).with_context(|| format!("{path}: {body}"))
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A text in a URL's query.
fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() {
            escaped.push(char::from(byte));
        } else {
            let code = format!("%{byte:02X}");
            escaped.push_str(&code);
        }
    }
    escaped
}
