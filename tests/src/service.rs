//! The fixture `service` as a container's first process, driven from outside without any exec into the container.
//!
//! Input: requests over the container's standard input (`tests::fixture::service` says how). Output: how the started
//! programs ended, as their parent in the container saw it: the real effect, whatever an alert claims. Failure: a
//! container that does not answer within five minutes.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use serde_json::Value;

use crate::agent::Agent;
use crate::runtime::Container;
use crate::support;

/// The number of the error `EACCES`, as the fixtures print it.
const EACCES: &str = "13";
/// That of `EPERM`.
const EPERM: &str = "1";

/// A container whose first process is the fixture `service`, with its standard input and output in hand.
pub struct Service {
    /// The container.
    pub container: Container,
    /// The runtime's client that passes them on, if there is one.
    client: Option<Child>,
    requests: Mutex<Box<dyn Write + Send>>,
    answers: Mutex<Receiver<String>>,
}

/// What the kernel does about what is enforced: by the tier that the agent proved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// It kills the process before the program's first instruction.
    Killed,
    /// It refuses the execution: the caller sees `EACCES`.
    Denied,
    /// The agent refuses the execution: the caller sees `EPERM`. What drifted in a root filesystem, in the lite tier.
    NotPermitted,
}

/// How a number of program starts ended, as the process that started them saw it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcomes {
    /// Starts that ended with exit code 0.
    pub succeeded: u64,
    /// Starts that ended with another exit code.
    pub failed: u64,
    /// Starts that were ended by SIGKILL.
    pub killed: u64,
    /// Starts that were refused with `EACCES`: what a shell calls "Permission denied". That may be said by the program
    /// that was started, of another that it was to become: fixtures exit with the number of the error, shells with 126.
    pub denied: u64,
    /// Starts that were refused with `EPERM`: what a shell calls "Operation not permitted".
    pub not_permitted: u64,
    /// Starts that ended in another way or could not be made for another reason.
    pub other: u64,
}

impl Service {
    /// Of a client's command line that starts the container and passes its standard input and output on. The container's id
    /// is left to the caller.
    pub fn of_client(mut client: Command, name: &str) -> anyhow::Result<Self> {
        let mut client = client
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .with_context(|| format!("cannot run {client:?}"))?;
        let requests = client.stdin.take().context("no standard input")?;
        let output = client.stdout.take().context("no standard output")?;
        let (sender, answers) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let container = Container {
            id: String::new(),
            name: name.to_owned(),
        };
        Self::ready(container, Some(client), Box::new(requests), answers)
    }

    /// Of a running container, the pipe that it reads its standard input from, and the file that its runtime writes its
    /// standard output to, as Kubernetes has it: `TIME stdout F TEXT`.
    pub fn of_log(container: Container, input: File, log: PathBuf) -> anyhow::Result<Self> {
        let (sender, answers) = channel();
        let mut output = BufReader::new(File::open(&log)?);
        std::thread::spawn(move || {
            let mut line = String::new();
            loop {
                // A line that is not yet complete is read on.
                match output.read_line(&mut line) {
                    Ok(0) if !log.exists() => return,
                    Ok(_) if line.ends_with('\n') => {
                        let text = line.trim_end().splitn(4, ' ').nth(3).unwrap_or_default();
                        if sender.send(text.to_owned()).is_err() {
                            return;
                        }
                        line.clear();
                    }
                    Ok(_) => std::thread::sleep(Duration::from_millis(2)),
                    Err(_) => return,
                }
            }
        });
        Self::ready(container, None, Box::new(input), answers)
    }

    /// Waits until the first process is ready.
    fn ready(
        container: Container,
        client: Option<Child>,
        requests: Box<dyn Write + Send>,
        answers: Receiver<String>,
    ) -> anyhow::Result<Self> {
        let service = Self {
            container,
            client,
            requests: Mutex::new(requests),
            answers: Mutex::new(answers),
        };
        while service.answer()? != "ready" {}
        Ok(service)
    }

    /// Has the container's first process start a program, `argv[0]`, and says how it ended.
    pub fn start(&self, argv: &[&str]) -> anyhow::Result<Outcomes> {
        self.start_many(1, argv)
    }

    /// The same, `times` times one after the other; `{}` in a word becomes the number of the start.
    pub fn start_many(&self, times: u64, argv: &[&str]) -> anyhow::Result<Outcomes> {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        writeln!(requests, "{times}\t{}", argv.join("\t"))
            .context("the container's first process is gone")?;
        requests.flush()?;
        let answer = self.answer()?;
        Outcomes::parse(&answer).with_context(|| format!("service answered {answer}"))
    }

    /// Ends the client; the container stays.
    pub fn detach(mut self) -> Container {
        self.end();
        self.container.clone()
    }

    fn answer(&self) -> anyhow::Result<String> {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers
            .recv_timeout(Duration::from_mins(5))
            .with_context(|| format!("container {} does not answer", self.container.name))
    }

    fn end(&mut self) {
        if let Some(client) = &mut self.client {
            let _ = client.kill();
            let _ = client.wait();
        }
    }
}

impl std::fmt::Debug for Service {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Service")
            .field("container", &self.container)
            .finish_non_exhaustive()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.end();
    }
}

impl Stop {
    /// What the agent's kernel does.
    pub fn of(agent: &Agent) -> anyhow::Result<Self> {
        match support::tier(agent, "exec")?.as_str() {
            "deny" => Ok(Self::Denied),
            "kill" => Ok(Self::Killed),
            other => {
                anyhow::bail!("this kernel can `{other}` about executions, so that nothing can be enforced")
            }
        }
    }

    /// The word in alerts.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Killed => "killed",
            Self::Denied | Self::NotPermitted => "denied",
        }
    }

    /// The counter in `status` and `containers`.
    #[must_use]
    pub fn counter(self) -> &'static str {
        match self {
            Self::Killed => "kills",
            Self::Denied | Self::NotPermitted => "denied",
        }
    }
}

impl Outcomes {
    /// So many starts that were ended in this way.
    #[must_use]
    pub fn stopped(stop: Stop, count: u64) -> Self {
        let mut outcomes = Self::default();
        match stop {
            Stop::Killed => outcomes.killed = count,
            Stop::Denied => outcomes.denied = count,
            Stop::NotPermitted => outcomes.not_permitted = count,
        }
        outcomes
    }

    /// Reads what the fixtures `service` and `repeat` print.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(text).ok()?;
        let mut outcomes = Self::default();
        for kind in ["exited", "signalled", "refused"] {
            for (number, count) in value.get(kind)?.as_object()? {
                let count = count.as_u64()?;
                match (kind, number.as_str()) {
                    ("exited", "0") => outcomes.succeeded += count,
                    ("signalled", "9") => outcomes.killed += count,
                    ("refused" | "exited", EACCES) | ("exited", "126") => outcomes.denied += count,
                    ("refused", EPERM) => outcomes.not_permitted += count,
                    ("exited", _) => outcomes.failed += count,
                    _ => outcomes.other += count,
                }
            }
        }
        Some(outcomes)
    }

    /// All starts succeeded, and there was at least one.
    #[must_use]
    pub fn all_succeeded(&self) -> bool {
        self.succeeded > 0 && self.total() == self.succeeded
    }

    /// All starts were ended by SIGKILL, and there was at least one.
    #[must_use]
    pub fn all_killed(&self) -> bool {
        self.killed > 0 && self.total() == self.killed
    }

    /// All starts were refused with `EACCES`, and there was at least one.
    #[must_use]
    pub fn all_denied(&self) -> bool {
        self.all(Stop::Denied)
    }

    /// All starts were ended in this way, and there was at least one. Where the kernel kills, what is refused by the agent
    /// before that counts, too.
    #[must_use]
    pub fn all(&self, stop: Stop) -> bool {
        let stopped = match stop {
            // Which of the two depends in this tier on the place of the file: `tests/scripts.rs` tells them apart.
            Stop::Killed => self.killed + self.not_permitted,
            Stop::Denied => self.denied,
            Stop::NotPermitted => self.not_permitted,
        };
        stopped > 0 && self.total() == stopped
    }

    /// All starts were refused with `EPERM`, and there was at least one.
    #[must_use]
    pub fn all_not_permitted(&self) -> bool {
        self.all(Stop::NotPermitted)
    }

    /// Number of starts.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.succeeded + self.failed + self.killed + self.denied + self.not_permitted + self.other
    }
}
