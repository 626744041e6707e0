//! A program was executed in a container.

use super::{ProcessPart, RecordHeader};
use crate::file::FileIdentity;
use crate::path::PathWords;
use crate::plain_old_data;

/// Bytes kept of the arguments; the rest is cut, which `args_bytes` tells.
pub const ARGS_BYTES: usize = 1024;
/// Bytes kept of the name as typed and of the interpreter's name, NUL included.
pub const NAME_BYTES: usize = 256;
/// Words of an applet's name, NUL included (64 bytes). A longer one is marked.
pub const APPLET_WORDS: usize = 8;

/// A program was executed that is new to the daemon, or on which the kernel acted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(C)]
pub struct ExecRecord {
    /// Kind, container, time.
    pub header: RecordHeader,
    /// Who executes; `comm` is already the new program's name, unless [`EXEC_BEFORE`] is set.
    pub process: ProcessPart,
    /// The file that is executed. For a script that was executed already, its interpreter; see the flags.
    pub file: FileIdentity,
    /// Keyed hash of the path, without applet.
    pub path_hash: u64,
    /// Keyed hash of the behaviour, for the daemon to put in `SEEN`: the one that was looked up in `RULES` (with the
    /// applet where the file is a known multi-call binary), or for drift the hash of path and inode.
    pub behaviour_hash: u64,
    /// Profile number that the verdict rests on, 0 for none.
    pub profile: u32,
    /// Generation of that profile.
    pub generation: u32,
    /// A [`crate::file::Layer`].
    pub layer: u8,
    /// A [`crate::rule::Verdict`].
    pub verdict: u8,
    /// A [`crate::rule::Action`] that the kernel took.
    pub action: u8,
    /// The [`crate::domain::Mode`] that held.
    pub mode: u8,
    /// The [`crate::domain::Section`] that was looked up.
    pub section: u8,
    /// `EXEC_*` bits.
    pub flags: u8,
    /// Bytes of `args` in use.
    pub args_bytes: u16,
    /// Length of the whole argument area in bytes; more than `args_bytes` if it was cut.
    pub args_total_bytes: u32,
    /// Negative error number of the kill, 0 if it was sent or none was due.
    pub action_error: i32,
    /// The name it was invoked as (`argv[0]` without directories and leading `-`, or the next argument where that is
    /// the file's own name); an applet if the file is a multi-call binary. NUL-terminated, zero-padded.
    pub applet: [u64; APPLET_WORDS],
    /// The program's path, as its layer defines it.
    pub path: PathWords,
    /// The working directory, as the container's mount namespace shows it.
    pub cwd: PathWords,
    /// The name that was given to `execve`, NUL-terminated unless it fills the array.
    pub filename: [u8; NAME_BYTES],
    /// The interpreter that the kernel chose for a script; the same as `filename` for a binary.
    pub interpreter: [u8; NAME_BYTES],
    /// The arguments, NUL-separated.
    pub args: [u8; ARGS_BYTES],
}

/// A script was executed: `filename` is the script, `path` and `file` are its interpreter.
pub const EXEC_SCRIPT: u8 = 1 << 0;
/// The verdict looked at the applet.
pub const EXEC_APPLET_JUDGED: u8 = 1 << 1;
/// The arguments could not be read.
pub const EXEC_ARGS_UNREADABLE: u8 = 1 << 2;
/// The applet's name is longer than there is room for.
pub const EXEC_APPLET_TOO_LONG: u8 = 1 << 3;
/// The content was verified by the daemon earlier: an upper file equal to the image's, judged as `image`.
pub const EXEC_VERIFIED_AS_IMAGE: u8 = 1 << 4;
/// `path` and `file` are a script's own (the hook ran before its interpreter was looked for).
pub const EXEC_IS_SCRIPT: u8 = 1 << 5;
/// `path` and `file` are the interpreter that a binary names (`PT_INTERP`), `filename` is that binary.
pub const EXEC_IS_LOADER: u8 = 1 << 6;
/// The hook ran before the execution: the process still is the old program, and the arguments were read where the caller
/// keeps them.
pub const EXEC_BEFORE: u8 = 1 << 7;

plain_old_data!(ExecRecord);
const _: () = assert!(size_of::<ExecRecord>().is_multiple_of(8));
