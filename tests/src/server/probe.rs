//! A program that makes one system call and ends, and makes no other: no library's start is in the way where a filter refuses what a library
//! needs.
//!
//! Input: the number of a call of x86-64 that takes no arguments or no addresses. Output: an ELF file of some hundred bytes, whose exit code is 0, or the
//! number of the error by which the call was refused.

/// Where it is loaded.
const ADDRESS: u64 = 0x40_0000;
/// Bytes of the ELF header and the one program header.
const HEADERS: u64 = 64 + 56;

/// The program for call `number`.
#[must_use]
pub fn program(number: u32) -> Vec<u8> {
    let mut code = vec![0xb8];
    code.extend(number.to_le_bytes()); // mov eax, number
    code.extend([0x31, 0xff, 0x31, 0xf6, 0x31, 0xd2]); // xor edi, edi; xor esi, esi; xor edx, edx
    code.extend([0x0f, 0x05]); // syscall
    code.extend([0x48, 0x89, 0xc7, 0x48, 0xf7, 0xdf]); // mov rdi, rax; neg rdi
    code.extend([0x79, 0x02, 0x31, 0xff]); // jns over the next; xor edi, edi
    code.extend([0xb8, 0xe7, 0, 0, 0, 0x0f, 0x05]); // mov eax, exit_group; syscall
    let bytes = HEADERS + code.len() as u64;

    let mut file = b"\x7fELF\x02\x01\x01".to_vec();
    file.resize(16, 0);
    file.extend([2, 0, 62, 0, 1, 0, 0, 0]); // an executable for x86-64
    file.extend((ADDRESS + HEADERS).to_le_bytes()); // where it begins
    file.extend(64_u64.to_le_bytes()); // the program headers
    file.extend([0; 8 + 4]); // no section headers, no flags
    for size in [64_u16, 56, 1, 64, 0, 0] {
        file.extend(size.to_le_bytes());
    }
    file.extend([1, 0, 0, 0, 5, 0, 0, 0]); // loaded, to be read and executed
    for word in [0, ADDRESS, ADDRESS, bytes, bytes, 0x1000] {
        file.extend(word.to_le_bytes());
    }
    file.extend(code);
    file
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;
    use std::process::Command;

    #[test]
    fn a_call_that_is_there_succeeds_and_another_says_its_error() {
        const GETPGRP: u32 = 111;
        const NONE: u32 = 999;
        const ENOSYS: i32 = 38;
        let directory = tempfile::tempdir().expect("a directory");
        for (number, code) in [(GETPGRP, 0), (NONE, ENOSYS)] {
            let path = directory.path().join(number.to_string());
            fs::write(&path, super::program(number)).expect("a file");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("its mode");
            let status = Command::new(&path).status().expect("runs");
            assert_eq!(status.code(), Some(code), "{number}");
        }
    }
}
