//! The canary's process, and the agent's end of it.
//!
//! Input: a line for each try. Output: what became of the program that it executed, as a line. Failure: a process that cannot be started, or does
//! not confine itself, is an error at the start; one that ends is told ([`Heard::Ended`]), and cannot be replaced while the agent runs: only the
//! iterator over tasks enters a process that is there already, and it runs at the start alone.
//!
//! It holds no capability, can gain none, and may make no other system calls than the agent; it waits in `read` and takes no processor time between
//! two tries.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ChildStdin, Command, Stdio};
use std::time::Duration;

use rustix::io::Errno;
use tokio::sync::mpsc;

use crate::confine;
use crate::kernel::own::OwnProcess;
use crate::kernel::tier::Exec;

/// The hidden command that is the process.
pub const COMMAND: &str = "canary";
/// How long it may take until it is ready. It takes milliseconds, and some seconds on an emulated machine.
const PATIENCE: Duration = Duration::from_secs(20);
/// What it says first.
const READY: &str = "ready";
/// What it is told for each try.
const TRY: &str = "try";
/// What the thread that listens to it may have heard and the engine not yet. It speaks when it is spoken to.
const HEARD: usize = 4;
const SIGKILL: i32 = 9;

/// What is heard of the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// What became of the program of a try, or why that is not known.
    Program(Result<Exec, String>),
    /// It has ended.
    Ended,
}

/// The process could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The system refused.
    #[error("cannot {operation} the canary's process")]
    Process {
        /// What was tried.
        operation: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// It said something else than that it is ready.
    #[error("the canary's process is not ready: {said}")]
    NotReady {
        /// What it said.
        said: String,
    },
}

/// The agent's end of the process. The process ends with it.
#[derive(Debug)]
pub struct CanaryProcess {
    process: OwnProcess,
    input: ChildStdin,
}

impl CanaryProcess {
    /// Starts the process and waits until it is ready. What it says is heard by a thread that ends with it.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn start() -> Result<(Self, mpsc::Receiver<Heard>), StartError> {
        let failed = |operation| move |source| StartError::Process { operation, source };
        let (process, input, output) = OwnProcess::start(COMMAND).map_err(failed("start"))?;
        let (ready, is_ready) = std::sync::mpsc::sync_channel(1);
        let (heard, hearing) = mpsc::channel(HEARD);
        std::thread::Builder::new()
            .name("canary".to_owned())
            .spawn(move || {
                let mut lines = BufReader::new(output).lines().map_while(Result::ok);
                // Nobody waits for it if the time is over.
                let _ = ready.send(lines.next().unwrap_or_default());
                for line in lines {
                    let is_heard = heard.blocking_send(Heard::Program(read(&line)));
                    if is_heard.is_err() {
                        return;
                    }
                }
                // The agent may have ended it.
                let _ = heard.blocking_send(Heard::Ended);
            })
            .map_err(failed("listen to"))?;
        let said = is_ready.recv_timeout(PATIENCE).unwrap_or_default();
        if said != READY {
            return Err(StartError::NotReady { said });
        }
        Ok((Self { process, input }, hearing))
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.0.id()
    }

    /// Lets it try. Only when the try before was answered: what it is told and does not read would fill the pipe some day.
    ///
    /// # Errors
    /// If it is gone.
    pub fn try_now(&mut self) -> io::Result<()> {
        writeln!(self.input, "{TRY}")
    }
}

/// What a line of the process says.
fn read(line: &str) -> Result<Exec, String> {
    let all = [Exec::Denied, Exec::Killed, Exec::Ran];
    let known = all.into_iter().find(|program| program.as_str() == line);
    known.ok_or_else(|| line.to_owned())
}

/// The process: confines itself, says that it is ready, and tries whenever it is told to, until nobody talks to it any more.
///
/// # Errors
/// If nobody listens.
pub fn process() -> io::Result<()> {
    let mut output = io::stdout();
    if let Err(error) = confine::entirely() {
        return writeln!(output, "{error}");
    }
    writeln!(output, "{READY}")?;
    for line in io::stdin().lines() {
        line?;
        match attempt() {
            Ok(program) => writeln!(output, "{}", program.as_str())?,
            Err(problem) => writeln!(output, "{problem}")?,
        }
    }
    Ok(())
}

/// Executes this program once more in a process of its own: it is drift in the container that both are in.
fn attempt() -> Result<Exec, String> {
    let tried = Command::new("/proc/self/exe")
        .arg("--version")
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    match tried {
        Err(error) if error.raw_os_error() == Some(Errno::ACCESS.raw_os_error()) => Ok(Exec::Denied),
        Err(error) => Err(format!("cannot execute: {error}")),
        Ok(status) if status.signal() == Some(SIGKILL) => Ok(Exec::Killed),
        Ok(status) if status.success() => Ok(Exec::Ran),
        Ok(status) => Err(format!("its program ended with {status}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_process_writes_is_read() {
        for program in [Exec::Denied, Exec::Killed, Exec::Ran] {
            assert_eq!(read(program.as_str()), Ok(program));
        }
        assert_eq!(read("cannot execute: x"), Err("cannot execute: x".to_owned()));
    }
}
