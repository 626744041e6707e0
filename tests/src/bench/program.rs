//! Programs without a C library, made here byte by byte: one only ends, one only waits, one makes a single system call. Where a filter refuses what
//! a library needs to start, they start all the same.
//!
//! Output: an executable file of 64-bit x86 in its smallest ordinary form (System V ABI, ELF-64 object file format): a header, one
//! program header, and the code behind them.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// Where the file is loaded: the usual address of programs that are not position-independent.
const ADDRESS: u64 = 0x40_0000;
/// Bytes of the ELF header.
const HEADER_BYTES: u16 = 64;
/// Bytes of a program header.
const PROGRAM_HEADER_BYTES: u16 = 56;

/// `exit(0)`: number 60 in `eax`, status 0 in `edi`, `syscall`.
const END: [u8; 9] = [0xb8, 60, 0, 0, 0, 0x31, 0xff, 0x0f, 0x05];
/// `pause()`: number 34 in `eax`, `syscall`, and from the beginning again.
const WAIT: [u8; 9] = [0xb8, 34, 0, 0, 0, 0x0f, 0x05, 0xeb, 0xf7];

/// The content of a program that ends at once, with success.
#[must_use]
pub fn nothing() -> Vec<u8> {
    file(&END)
}

/// Puts a program that ends at once, with success, at a path.
pub fn install_nothing(path: &Path) -> std::io::Result<()> {
    install(path, &END)
}

/// Puts a program that waits until it is killed at a path.
pub fn install_idle(path: &Path) -> std::io::Result<()> {
    install(path, &WAIT)
}

/// Puts a program at a path that makes one system call and ends: with 0, or the number of the error by which the call was refused. `number` is that of
/// a call that takes no arguments, or no addresses: it gets zeros.
pub fn install_call(path: &Path, number: u32) -> std::io::Result<()> {
    let mut code = vec![0xb8];
    code.extend(number.to_le_bytes()); // mov eax, number
    code.extend([0x31, 0xff, 0x31, 0xf6, 0x31, 0xd2]); // xor edi, edi; xor esi, esi; xor edx, edx
    code.extend([0x0f, 0x05]); // syscall
    code.extend([0x48, 0x89, 0xc7, 0x48, 0xf7, 0xdf]); // mov rdi, rax; neg rdi
    code.extend([0x79, 0x02, 0x31, 0xff]); // jns over the next; xor edi, edi
    code.extend([0xb8, 0xe7, 0, 0, 0, 0x0f, 0x05]); // mov eax, exit_group; syscall
    install(path, &code)
}

fn install(path: &Path, code: &[u8]) -> std::io::Result<()> {
    std::fs::write(path, file(code))?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))
}

/// The content of a file with this code.
fn file(code: &[u8]) -> Vec<u8> {
    let start = u64::from(HEADER_BYTES + PROGRAM_HEADER_BYTES);
    let size = start + code.len() as u64;
    // 64 bits, little-endian, version 1, System V.
    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    // An executable (2) for x86-64 (62), version 1.
    for half in [2_u16, 62] {
        file.extend(half.to_le_bytes());
    }
    file.extend(1_u32.to_le_bytes());
    // Entry; program headers right behind; no section headers.
    for word in [ADDRESS + start, u64::from(HEADER_BYTES), 0] {
        file.extend(word.to_le_bytes());
    }
    file.extend(0_u32.to_le_bytes());
    for half in [HEADER_BYTES, PROGRAM_HEADER_BYTES, 1, 0, 0, 0] {
        file.extend(half.to_le_bytes());
    }
    // To be loaded (1), readable and executable (5), the whole file, aligned to pages.
    for half in [1_u32, 5] {
        file.extend(half.to_le_bytes());
    }
    for word in [0, ADDRESS, ADDRESS, size, size, 0x1000] {
        file.extend(word.to_le_bytes());
    }
    file.extend(code);
    file
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::Command;

    #[test]
    fn a_call_that_is_there_succeeds_and_another_says_its_error() {
        const GETPGRP: u32 = 111;
        const NONE: u32 = 999;
        const ENOSYS: i32 = 38;
        let directory = tempfile::tempdir().expect("a directory");
        for (number, code) in [(GETPGRP, 0), (NONE, ENOSYS)] {
            let path = directory.path().join(number.to_string());
            install_call(&path, number).expect("a file");
            let status = Command::new(&path).status().expect("runs");
            assert_eq!(status.code(), Some(code), "{number}");
        }
    }

    #[test]
    fn one_succeeds_and_the_other_waits() {
        let directory = tempfile::tempdir().expect("a directory");
        let (nothing, idle) = (directory.path().join("nothing"), directory.path().join("idle"));
        install_nothing(&nothing).expect("a file");
        let status = Command::new(&nothing).status().expect("it starts");
        assert_eq!(status.code(), Some(0));
        install_idle(&idle).expect("a file");
        let mut waiting = Command::new(&idle).spawn().expect("it starts");
        std::thread::sleep(std::time::Duration::from_millis(100));
        assert_eq!(waiting.try_wait().expect("a child"), None);
        waiting.kill().expect("a child");
        assert_eq!(waiting.wait().expect("a child").signal(), Some(9));
    }
}
