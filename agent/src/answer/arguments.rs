//! What a thread that waits in `execve` was called with: read from its memory, by a thread that may have to wait.
//!
//! Input: the thread's id. Output: [`Arguments`]. Failure: `None`. Memory of a process can be made to keep a reader waiting
//! (a mapping of a filesystem that answers slowly), so a helper reads it and is waited for at most [`PATIENCE`]. While it
//! hangs nothing more is read: executions are refused and told of without their arguments.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use agent_common::record::exec::{ARGS_BYTES, NAME_BYTES};

use crate::container::read::read_bounded;

/// How long the helper is waited for: without acceleration a virtual machine takes longer than 20 ms at times. Only a helper that
/// hangs takes all of it, once.
const PATIENCE: Duration = Duration::from_millis(100);
/// Most arguments that are read.
const ARGUMENTS_MAX: u64 = 128;
/// Most bytes read of `/proc/PID/syscall`.
const SYSCALL_BYTES: u64 = 1024;
/// The smallest page of any machine: what lies on one page is there or not as a whole.
const PAGE_BYTES: u64 = 4096;

/// What was given to `execve`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Arguments {
    /// The name, at most [`NAME_BYTES`] less one.
    pub(super) filename: Vec<u8>,
    /// The arguments, each with a NUL behind it, at most [`ARGS_BYTES`].
    pub(super) args: Vec<u8>,
    /// There were more.
    pub(super) is_cut: bool,
}

/// The helper.
#[derive(Debug)]
pub(super) struct ArgumentReader {
    questions: SyncSender<u32>,
    answers: Receiver<(u32, Option<Arguments>)>,
    /// Whom it still reads.
    busy_with: Option<u32>,
}

impl ArgumentReader {
    pub(super) fn start() -> std::io::Result<Self> {
        let (questions, asked) = sync_channel::<u32>(1);
        let (answer, answers) = sync_channel(1);
        let work = move || {
            for thread in asked {
                if answer.send((thread, read(thread))).is_err() {
                    break;
                }
            }
        };
        std::thread::Builder::new()
            .name("arguments".to_owned())
            .spawn(work)?;
        Ok(Self {
            questions,
            answers,
            busy_with: None,
        })
    }

    /// What a thread was called with, if that can be found out in time.
    pub(super) fn of(&mut self, thread: u32) -> Option<Arguments> {
        if self.busy_with.is_some() && self.answers.try_recv().is_err() {
            return None;
        }
        self.busy_with = None;
        self.questions.try_send(thread).ok()?;
        if let Ok((_, found)) = self.answers.recv_timeout(PATIENCE) {
            return found;
        }
        self.busy_with = Some(thread);
        None
    }
}

fn read(thread: u32) -> Option<Arguments> {
    let path = format!("/proc/{thread}/syscall");
    let call = read_bounded(Path::new(&path), SYSCALL_BYTES).ok()?;
    let (filename, argv) = pointers(&call)?;
    let memory = File::open(format!("/proc/{thread}/mem")).ok()?;
    let (filename, _) = text(&memory, filename, NAME_BYTES - 1)?;
    let mut found = Arguments {
        filename,
        ..Arguments::default()
    };
    for index in 0..=ARGUMENTS_MAX {
        let mut pointer = [0; 8];
        memory
            .read_exact_at(&mut pointer, argv.checked_add(index * 8)?)
            .ok()?;
        let pointer = u64::from_ne_bytes(pointer);
        if pointer == 0 {
            return Some(found);
        }
        let room = ARGS_BYTES - found.args.len();
        if room == 0 || index == ARGUMENTS_MAX {
            break;
        }
        let (argument, is_whole) = text(&memory, pointer, room - 1)?;
        found.args.extend_from_slice(&argument);
        if !is_whole {
            break;
        }
        found.args.push(0);
    }
    found.is_cut = true;
    Some(found)
}

/// The pointers to name and arguments, out of `/proc/PID/syscall` of a thread that waits in `execve` or `execveat`.
fn pointers(call: &[u8]) -> Option<(u64, u64)> {
    let mut words = std::str::from_utf8(call).ok()?.split_ascii_whitespace();
    let number: libc::c_long = words.next()?.parse().ok()?;
    let skipped = match number {
        libc::SYS_execve => 0,
        libc::SYS_execveat => 1,
        _ => return None,
    };
    let mut words = words.skip(skipped);
    let mut word = || u64::from_str_radix(words.next()?.strip_prefix("0x")?, 16).ok();
    Some((word()?, word()?))
}

/// A text of at most `limit` bytes that ends with a NUL in memory, and whether it was read to its end.
fn text(memory: &File, address: u64, limit: usize) -> Option<(Vec<u8>, bool)> {
    let mut text = Vec::new();
    loop {
        let at = address.checked_add(text.len() as u64)?;
        let to_page_end = usize::try_from(PAGE_BYTES - at % PAGE_BYTES).ok()?;
        // One byte more than the limit, to see whether that is the end.
        let mut piece = vec![0; to_page_end.min(limit + 1 - text.len())];
        memory.read_exact_at(&mut piece, at).ok()?;
        if let Some(end) = piece.iter().position(|byte| *byte == 0) {
            text.extend_from_slice(&piece[..end]);
            return Some((text, true));
        }
        text.extend_from_slice(&piece);
        if text.len() > limit {
            text.truncate(limit);
            return Some((text, false));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_pointers_of_both_calls() {
        let call =
            |number: libc::c_long| format!("{number} 0x1 0x2 0x3 0x4 0x5 0x6 0x7ffc 0x7f00\n").into_bytes();
        assert_eq!(pointers(&call(libc::SYS_execve)), Some((1, 2)));
        assert_eq!(pointers(&call(libc::SYS_execveat)), Some((2, 3)));
        assert_eq!(pointers(&call(libc::SYS_getpid)), None);
        for other in [&b"running\n"[..], b"-1 0x1 0x2\n", b"", b"59"] {
            assert_eq!(pointers(other), None);
        }
    }

    #[test]
    fn reads_texts_up_to_their_end_or_the_limit() {
        let memory = File::open("/proc/self/mem").expect("there");
        let long = std::ffi::CString::new(vec![b'x'; 3 * 4096]).expect("no NUL");
        let address = long.as_ptr().addr() as u64;
        assert_eq!(
            text(&memory, address, 20_000),
            Some((long.as_bytes().to_vec(), true))
        );
        assert_eq!(text(&memory, address, 5_000), Some((vec![b'x'; 5_000], false)));
        assert_eq!(
            text(&memory, address, 3 * 4096),
            Some((long.as_bytes().to_vec(), true))
        );
        assert_eq!(text(&memory, 8, 10), None, "nothing is mapped there");
    }

    #[test]
    fn a_thread_that_executes_nothing_has_none() {
        let mut reader = ArgumentReader::start().expect("a thread");
        assert_eq!(reader.of(std::process::id()), None);
        assert_eq!(reader.of(0), None);
    }
}
