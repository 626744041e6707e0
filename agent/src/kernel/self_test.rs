//! The self-test: whether the kernel really refuses, or kills, what it was told to.
//!
//! Only this proves a tier. On some kernels LSM programs load and attach without an error, and are never called.
//!
//! A process of the agent's own is entered as the only one of a container of its own ([`super::own`]), in which everything is
//! drift and enforced. It opens a file, uses a capability, maps a file executable in both ways there are, then executes a program. What
//! it sees, and what the programs have seen of it, is the result.
//! Nothing of it concerns any other process.
//! Input: the attached programs and their maps. Output: [`Outcome`]. Failure: the process cannot be started or says nothing
//! in time; then nothing is proved, and nothing is claimed.
#![expect(
    unsafe_code,
    reason = "mapping memory is unsafe; nothing is done with what is mapped"
)]

use std::ffi::c_void;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, ChildStdin, ChildStdout, Command};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use agent_common::domain::{DOMAIN_SLOTS, Domain, Mode};
use rustix::io::Errno;
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags};

use super::error::LoadError;
use super::load::Kernel;
use super::maps::{Maps, MapsError};
use super::own::{self, OwnError, OwnProcess};
use super::tier::{Exec, Outcome, Watch};

/// The hidden command that is the process.
pub const COMMAND: &str = "self-test";
/// How long the process may take. It takes milliseconds, and some seconds on an emulated machine.
const PATIENCE: Duration = Duration::from_secs(20);
/// What it says first.
const READY: &str = "ready";
const SIGKILL: i32 = 9;

/// The test could not be made.
#[derive(Debug, thiserror::Error)]
pub enum SelfTestError {
    /// The process failed.
    #[error("cannot {operation} the process of the self-test")]
    Process {
        /// What was tried.
        operation: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// It said nothing that makes sense.
    #[error("the process of the self-test ended with {status} and said {output:?}")]
    Unclear {
        /// How it ended.
        status: String,
        /// What it said.
        output: String,
    },
    /// It has no container.
    #[error(transparent)]
    Own(#[from] OwnError),
    /// A map failed.
    #[error(transparent)]
    Maps(#[from] MapsError),
    /// The iterator failed.
    #[error(transparent)]
    Iterate(#[from] Box<LoadError>),
}

fn failed(operation: &'static str) -> impl FnOnce(io::Error) -> SelfTestError {
    move |source| SelfTestError::Process { operation, source }
}

/// Finds out what the attached programs can do, by trying.
pub fn prove(kernel: &mut Kernel, maps: &mut Maps) -> Result<(), SelfTestError> {
    let mut outcome = run(kernel, maps)?;
    if kernel.has_lsm() && !outcome.is_any_denied() {
        kernel
            .observe_instead_of_lsm()
            .map_err(|error| SelfTestError::Iterate(Box::new(error)))?;
        outcome = run(kernel, maps)?;
    }
    kernel.keep_proved(outcome);
    maps.set_refuses(outcome.refuses())?;
    Ok(())
}

/// Makes the test.
fn run(kernel: &mut Kernel, maps: &mut Maps) -> Result<Outcome, SelfTestError> {
    let (mut process, input, output) = OwnProcess::start(COMMAND).map_err(failed("start"))?;
    let mut conversation = Conversation::between(input, output);
    // Its own execution may not be over when it has been started, and is not to be judged.
    let ready = conversation.hear()?;
    if ready.as_deref() != Some(READY) {
        return Err(conversation.unclear(&mut process.0, &[ready.unwrap_or_default()]));
    }
    own::enter(maps, process.0.id(), [Mode::Enforce as u8; DOMAIN_SLOTS])?;
    let seen = kernel
        .iterate_tasks()
        .map_err(|error| SelfTestError::Iterate(Box::new(error)))
        .and_then(|()| watch(&mut process.0, conversation));
    let counters = own::instance(maps)?.counters;
    // Its exit is what takes it out of `TASKS`.
    drop(process);
    own::leave(maps)?;
    // Somebody else may refuse the same.
    let is_ours = |refused, domain: Domain| refused && counters[domain as usize].denied > 0;
    let watch = |refused, domain: Domain| match counters[domain as usize].generated {
        _ if is_ours(refused, domain) => Watch::Denied,
        0 => Watch::Unseen,
        _ => Watch::Seen,
    };
    let seen = seen?;
    Ok(Outcome {
        exec: seen.exec,
        library_denied: is_ours(seen.library_denied, Domain::Library),
        file: watch(seen.file_denied, Domain::File),
        cap: watch(seen.cap_denied, Domain::Cap),
        syscall: watch(false, Domain::Syscall),
    })
}

/// What the process saw.
struct Seen {
    exec: Exec,
    library_denied: bool,
    file_denied: bool,
    cap_denied: bool,
}

/// What is said to the process and by it, line by line.
struct Conversation {
    input: ChildStdin,
    lines: mpsc::Receiver<io::Result<String>>,
}

impl Conversation {
    fn between(input: ChildStdin, output: ChildStdout) -> Self {
        let (said, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines() {
                // Nobody hears it if the time is over.
                let _ = said.send(line);
            }
        });
        Self { input, lines }
    }

    /// The next line; `None` at the end.
    fn hear(&mut self) -> Result<Option<String>, SelfTestError> {
        match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => line.map(Some).map_err(failed("hear")),
            Err(RecvTimeoutError::Disconnected) => Ok(None),
            Err(RecvTimeoutError::Timeout) => Err(failed("wait for")(io::ErrorKind::TimedOut.into())),
        }
    }

    fn unclear(self, child: &mut Child, said: &[String]) -> SelfTestError {
        // It ends when nobody talks to it.
        drop(self);
        let status = child
            .wait()
            .map_or_else(|error| error.to_string(), |status| status.to_string());
        SelfTestError::Unclear {
            status,
            output: said.join("\n"),
        }
    }
}

/// Lets the process go, and sees what becomes of it.
fn watch(child: &mut Child, mut conversation: Conversation) -> Result<Seen, SelfTestError> {
    conversation.input.write_all(b"go\n").map_err(failed("talk to"))?;
    let used = conversation.hear()?;
    let (file_denied, cap_denied) = match used.as_deref() {
        Some("use denied denied") => (true, true),
        Some("use denied allowed") => (true, false),
        Some("use allowed denied") => (false, true),
        Some("use allowed allowed") => (false, false),
        _ => return Err(conversation.unclear(child, &[used.unwrap_or_default()])),
    };
    let mapped = conversation.hear()?;
    let executed = conversation.hear()?;
    let library_denied = match mapped.as_deref() {
        Some("mapping denied denied") => Some(true),
        Some(line) if line.starts_with("mapping ") => Some(false),
        _ => None,
    };
    let exec = match executed.as_deref() {
        Some("exec denied") => Some(Exec::Denied),
        Some(line) if line.starts_with("driftlock ") => Some(Exec::Ran),
        Some(_) => None,
        None => {
            let status = child.wait().map_err(failed("wait for"))?;
            (status.signal() == Some(SIGKILL)).then_some(Exec::Killed)
        }
    };
    if let (Some(exec), Some(library_denied)) = (exec, library_denied) {
        return Ok(Seen {
            exec,
            library_denied,
            file_denied,
            cap_denied,
        });
    }
    let said: Vec<String> = used.into_iter().chain(mapped).chain(executed).collect();
    Err(conversation.unclear(child, &said))
}

/// The process: waits until it is in its container, tries, and tells what it saw on standard output. It returns only if its
/// execution was refused.
pub fn process() -> io::Result<()> {
    let mut output = io::stdout();
    writeln!(output, "{READY}")?;
    let mut line = String::new();
    if BufReader::new(io::stdin()).read_line(&mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let word = |result: Result<(), Errno>| match result {
        Ok(()) => "allowed".to_owned(),
        Err(Errno::ACCESS) => "denied".to_owned(),
        Err(error) => format!("failed: {error}"),
    };
    writeln!(output, "use {} {}", word(open_file()), word(use_capability()))?;
    let mapped = word(map_executable());
    let protected = word(make_executable());
    writeln!(output, "mapping {mapped} {protected}")?;
    let error = Command::new("/proc/self/exe").arg("--version").exec();
    if error.raw_os_error() == Some(Errno::ACCESS.raw_os_error()) {
        writeln!(output, "exec denied")
    } else {
        Err(error)
    }
}

/// Bytes that are mapped.
const LENGTH: usize = 4096;

fn memory_file() -> Result<OwnedFd, Errno> {
    let file = rustix::fs::memfd_create(c"driftlock self-test", rustix::fs::MemfdFlags::CLOEXEC)?;
    rustix::fs::ftruncate(&file, LENGTH as u64)?;
    Ok(file)
}

fn map(protection: ProtFlags) -> Result<*mut c_void, Errno> {
    let file = memory_file()?;
    // SAFETY: the kernel chooses an address that is free; nothing refers to the memory.
    unsafe {
        rustix::mm::mmap(
            std::ptr::null_mut(),
            LENGTH,
            protection,
            MapFlags::PRIVATE,
            file,
            0,
        )
    }
}

/// Of its own program: there is one.
fn open_file() -> Result<(), Errno> {
    std::fs::File::open("/proc/self/exe")
        .map(drop)
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
}

/// `sethostname` asks for `CAP_SYS_ADMIN` before it looks at the name, which is longer than a name may be (64 bytes).
fn use_capability() -> Result<(), Errno> {
    match rustix::system::sethostname(&[b'x'; 65]) {
        Err(Errno::INVAL) => Ok(()),
        Err(Errno::PERM) => Err(Errno::ACCESS),
        other => other,
    }
}

/// As a loader of libraries does it.
fn map_executable() -> Result<(), Errno> {
    map(ProtFlags::READ | ProtFlags::EXEC).map(drop)
}

/// Mapped first, made executable then.
fn make_executable() -> Result<(), Errno> {
    let address = map(ProtFlags::READ | ProtFlags::WRITE)?;
    // SAFETY: the memory was mapped above, and nothing refers to it.
    unsafe { rustix::mm::mprotect(address, LENGTH, MprotectFlags::READ | MprotectFlags::EXEC) }
}
