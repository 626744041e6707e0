//! Running other programs.
//!
//! Input: a prepared [`Command`]. Output: its success, with progress on the terminal meanwhile. Failure: an error
//! that carries the command line and, where the output was hidden, the end of it.
//!
//! Two ways: [`show`] and [`pass_on`] leave the terminal to the program (cargo and test runners draw their own), and
//! [`hide`] keeps the output back, shows what is running and for how long, and prints the output only if it failed.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, IsTerminal, PipeReader, Write as _};
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Lines of hidden output that are kept. Beyond it the oldest go: the cause of a failure stands at the end.
const LINES_KEPT: usize = 4_000;
/// Lines waiting between the reader and the display. When it is full the program waits in its write, nothing is lost.
const LINES_WAITING: usize = 256;
/// How often the line on a terminal is redrawn.
const REDRAW: Duration = Duration::from_millis(500);
/// How often a running step is mentioned where the output is no terminal (a log of continuous integration).
const MENTION: Duration = Duration::from_secs(20);
/// How long output may pause, once the program has ended, before a descendant that keeps the pipe open (a daemon) is
/// left alone.
const DRAIN: Duration = Duration::from_millis(500);
/// How long such a descendant is read at most if it keeps writing.
const DRAIN_LIMIT: Duration = Duration::from_secs(5);
/// Widest part of an output line that is shown as progress, in characters.
const SHOWN_WIDTH: usize = 60;

/// What a hidden program did.
#[derive(Debug)]
pub struct Outcome {
    /// How it ended.
    pub status: ExitStatus,
    /// The last [`LINES_KEPT`] lines of its standard output and standard error, in the order they came.
    pub lines: VecDeque<String>,
}

impl Outcome {
    /// Without the lines in which cargo says what it is doing, which hide the ones that matter.
    pub fn without_progress(mut self) -> Self {
        const PROGRESS: [&str; 6] = [
            "Blocking",
            "Checking",
            "Compiling",
            "Documenting",
            "Downloaded",
            "Downloading",
        ];
        self.lines
            .retain(|line| !PROGRESS.iter().any(|word| line.trim_start().starts_with(word)));
        self
    }

    /// The last `count` lines, each indented, ready to print.
    pub fn tail(&self, count: usize) -> String {
        let mut text = String::new();
        for line in self.lines.iter().skip(self.lines.len().saturating_sub(count)) {
            let _ = writeln!(text, "    | {line}");
        }
        text
    }
}

/// The command as one would type it, for messages.
pub fn display(command: &Command) -> String {
    let mut text = command.get_program().to_string_lossy().into_owned();
    for argument in command.get_args() {
        text.push(' ');
        text.push_str(&argument.to_string_lossy());
    }
    text
}

/// Runs a command that draws on the terminal itself, and fails if it fails.
pub fn show(command: &mut Command) -> Result<()> {
    let status = command
        .stdin(Stdio::null())
        .status()
        .with_context(|| format!("cannot run `{}`", display(command)))?;
    if !status.success() {
        bail!("`{}` failed: {status}", display(command));
    }
    Ok(())
}

/// Runs a command that draws on the terminal itself, whose verdict is this program's.
pub fn pass_on(command: &mut Command) -> Result<ExitCode> {
    let status = command
        .stdin(Stdio::null())
        .status()
        .with_context(|| format!("cannot run `{}`", display(command)))?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Runs a command with its output hidden and fails, with the end of that output, if it fails.
pub fn hide(name: &str, command: &mut Command) -> Result<Outcome> {
    let outcome = watch(name, command)?;
    if !outcome.status.success() {
        bail!(
            "{name}: `{}` failed: {}\n{}",
            display(command),
            outcome.status,
            outcome.tail(40)
        );
    }
    Ok(outcome)
}

/// Runs a command to its end and returns what it wrote to standard output; standard error is dropped.
pub fn capture(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .with_context(|| format!("cannot run `{}`", display(command)))?;
    if !output.status.success() {
        bail!("`{}` failed: {}", display(command), output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs a command with its output hidden, shows progress, and returns how it ended, whatever that is.
pub fn watch(name: &str, command: &mut Command) -> Result<Outcome> {
    let line = display(command);
    let (reader, writer) = std::io::pipe().context("cannot make a pipe")?;
    command
        .stdin(Stdio::null())
        .stdout(writer.try_clone().context("cannot duplicate a pipe")?)
        .stderr(writer);
    let started = Instant::now();
    let child = command.spawn().with_context(|| format!("cannot run `{line}`"))?;
    // The command holds the pipe's writing ends; while it does the reader would never see the end of the output.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let (sender, receiver) = sync_channel(LINES_WAITING);
    std::thread::spawn(move || read_lines(reader, &sender));
    follow(name, child, &receiver, started)
}

/// Sends each line on; a carriage return ends one too, as progress displays use it.
fn read_lines(reader: PipeReader, sender: &SyncSender<String>) {
    let mut reader = BufReader::new(reader);
    let mut bytes = Vec::new();
    while reader.read_until(b'\n', &mut bytes).is_ok_and(|read| read > 0) {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        bytes.clear();
        for part in text.split(['\r', '\n']).filter(|part| !part.trim().is_empty()) {
            if sender.send(part.to_owned()).is_err() {
                return;
            }
        }
    }
}

fn follow(name: &str, mut child: Child, lines: &Receiver<String>, started: Instant) -> Result<Outcome> {
    let mut kept = VecDeque::new();
    let mut progress = Progress::new(name);
    let mut ended: Option<(ExitStatus, Instant)> = None;
    let mut last_line = started;
    loop {
        let more = match lines.recv_timeout(REDRAW) {
            Ok(line) => {
                last_line = Instant::now();
                if kept.len() == LINES_KEPT {
                    kept.pop_front();
                }
                kept.push_back(line);
                true
            }
            Err(RecvTimeoutError::Timeout) => true,
            Err(RecvTimeoutError::Disconnected) => false,
        };
        if !more {
            let status = match ended {
                Some((status, _)) => status,
                None => child.wait().with_context(|| format!("cannot wait for {name}"))?,
            };
            progress.clear();
            return Ok(Outcome { status, lines: kept });
        }
        if ended.is_none() {
            ended = child
                .try_wait()
                .with_context(|| format!("cannot wait for {name}"))?
                .map(|status| (status, Instant::now()));
        }
        if let Some((status, at)) = ended
            && at.elapsed() > DRAIN
            && (last_line.elapsed() > DRAIN || at.elapsed() > DRAIN_LIMIT)
        {
            progress.clear();
            return Ok(Outcome { status, lines: kept });
        }
        progress.tick(started.elapsed(), kept.back().map_or("", String::as_str));
    }
}

/// The line that says what is running: redrawn in place on a terminal, repeated now and then elsewhere.
struct Progress<'a> {
    name: &'a str,
    terminal: bool,
    drawn: Option<Instant>,
}

impl<'a> Progress<'a> {
    fn new(name: &'a str) -> Self {
        let terminal = std::io::stderr().is_terminal();
        Self {
            name,
            terminal,
            drawn: None,
        }
    }

    fn tick(&mut self, elapsed: Duration, last_line: &str) {
        let pause = if self.terminal { REDRAW } else { MENTION };
        let due = match self.drawn {
            Some(at) => at.elapsed() >= pause,
            None => self.terminal || elapsed >= pause,
        };
        if !due {
            return;
        }
        self.drawn = Some(Instant::now());
        let name = self.name;
        let seconds = elapsed.as_secs();
        let printable = last_line.trim().chars().filter(|c| !c.is_control());
        let shown: String = printable.take(SHOWN_WIDTH).collect();
        let mut stderr = std::io::stderr().lock();
        // Progress is an extra: a closed terminal must not end the work.
        let _ = if self.terminal {
            write!(stderr, "\r\x1b[K  {name:<28} {seconds:>4} s  {shown}")
        } else {
            writeln!(stderr, "  {name:<28} {seconds:>4} s  {shown}")
        };
        let _ = stderr.flush();
    }

    fn clear(&self) {
        if self.terminal && self.drawn.is_some() {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_hidden_failure_carries_status_and_the_end_of_both_outputs() {
        let error = hide("step", &mut shell("echo out; echo err >&2; exit 7"))
            .expect_err("exit status 7 is a failure")
            .to_string();
        assert!(error.contains("exit status: 7"), "{error}");
        assert!(error.contains("| out\n    | err"), "{error}");
    }

    #[test]
    fn only_the_last_lines_are_kept() {
        let outcome = hide("step", &mut shell("seq 1 5000")).expect("seq succeeds");
        assert_eq!(outcome.lines.len(), LINES_KEPT);
        assert_eq!(outcome.lines.front().map(String::as_str), Some("1001"));
        assert_eq!(outcome.lines.back().map(String::as_str), Some("5000"));
    }

    #[test]
    fn a_descendant_that_keeps_the_pipe_open_does_not_hold_the_step() {
        let started = Instant::now();
        let outcome = hide("step", &mut shell("sleep 30 & echo $!")).expect("the shell succeeds");
        assert!(started.elapsed() < Duration::from_secs(10));
        let sleeper = outcome.lines.front().expect("its id was printed").clone();
        let mut kill = Command::new("kill");
        show(kill.arg(sleeper)).expect("the sleeper still ran");
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = format!(
            "{:#}",
            capture(&mut Command::new("/nonexistent/tool")).expect_err("no such file")
        );
        assert!(error.contains("/nonexistent/tool"), "{error}");
    }
}
