//! The name a program was invoked as: the applet, if the file is a multi-call binary.
//!
//! Such a program chooses by the last component of `argv[0]` without a leading `-`; where that is its own name, by the
//! next argument (`busybox ls`). What is nested deeper (`busybox busybox ls`) is told as the program's own name, and is
//! therefore judged apart from `ls`. The arguments are the process's own memory: another process that can write to it
//! can still change them between this hook and the program's start.
//!
//! Input: the arguments in the record. Output: the applet in the record. Failure: a name that does not end within the
//! bytes searched, or is longer than there is room for, is marked as too long.

use agent_common::path::has_nul;
use agent_common::record::exec::{APPLET_WORDS, ARGS_BYTES, EXEC_APPLET_TOO_LONG, ExecRecord};

use crate::volatile::{load, set, store};

/// Bytes of an argument that are searched for its end.
const SEARCH_BYTES: usize = 256;

/// Where the last component of an argument is.
#[repr(C)]
pub struct AppletScratch {
    /// Position of its first byte.
    start: u32,
    /// Position of the NUL behind the argument.
    end: u32,
}

/// Finds out what `record`'s program was invoked as. False if the name is too long.
#[inline(never)]
pub fn resolve(record: &mut ExecRecord, scratch: &mut AppletScratch) -> bool {
    if !last_component(record, scratch, 0) || !copy(record, scratch) {
        set(&mut record.flags, EXEC_APPLET_TOO_LONG);
        return false;
    }
    if !is_own_name(record) {
        return true;
    }
    let next = load(&scratch.end) + 1;
    if !last_component(record, scratch, next) || !copy(record, scratch) {
        set(&mut record.flags, EXEC_APPLET_TOO_LONG);
        return false;
    }
    true
}

/// Finds the last component of the argument at `from`, without leading `-`. False if it does not end within bounds.
#[inline(always)]
fn last_component(record: &ExecRecord, scratch: &mut AppletScratch, from: u32) -> bool {
    store(&mut scratch.start, from);
    store(&mut scratch.end, u32::MAX);
    for index in 0..SEARCH_BYTES as u32 {
        let position = from + index;
        match load(&record.args[position as usize & (ARGS_BYTES - 1)]) {
            0 => {
                store(&mut scratch.end, position);
                break;
            }
            b'/' => store(&mut scratch.start, position + 1),
            _ => {}
        }
    }
    let (start, end) = (load(&scratch.start), load(&scratch.end));
    if end == u32::MAX {
        return false;
    }
    if start < end && load(&record.args[start as usize & (ARGS_BYTES - 1)]) == b'-' {
        store(&mut scratch.start, start + 1);
    }
    true
}

/// Copies a name into the record, zero-padded. False if there is no room.
#[inline(always)]
fn copy(record: &mut ExecRecord, scratch: &AppletScratch) -> bool {
    const ROOM: u32 = APPLET_WORDS as u32 * 8;
    let start = load(&scratch.start);
    let length = load(&scratch.end).wrapping_sub(start);
    if length >= ROOM {
        return false;
    }
    for word_index in 0..APPLET_WORDS {
        let mut word = 0_u64;
        for byte_index in 0..8 {
            let index = (word_index * 8 + byte_index) as u32;
            let byte = u64::from(load(&record.args[(start + index) as usize & (ARGS_BYTES - 1)]));
            // All ones while index < length.
            let inside = u64::from(index.wrapping_sub(length) >> 31).wrapping_neg();
            word |= (byte & inside) << (byte_index * 8);
        }
        store(&mut record.applet[word_index], word);
    }
    true
}

/// Whether the applet is the name of the program's own file.
#[inline(always)]
fn is_own_name(record: &ExecRecord) -> bool {
    for index in 0..APPLET_WORDS {
        let word = load(&record.path.words[index]);
        if word != load(&record.applet[index]) {
            return false;
        }
        if has_nul(word) {
            return load(&record.path.used) != 0;
        }
    }
    false
}
