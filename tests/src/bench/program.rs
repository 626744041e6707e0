//! A program without a C library, made here byte by byte: all it does is end.
//!
//! Output: an executable file of 64-bit x86 in its smallest ordinary form (System V ABI, ELF-64 object file format): a header, one
//! program header, and the code behind them.

/// Where the file is loaded: the usual address of programs that are not position-independent.
const ADDRESS: u64 = 0x40_0000;
/// Bytes of the ELF header.
const HEADER_BYTES: u16 = 64;
/// Bytes of a program header.
const PROGRAM_HEADER_BYTES: u16 = 56;

/// `exit(0)`: number 60 in `eax`, status 0 in `edi`, `syscall`.
const CODE: [u8; 9] = [0xb8, 60, 0, 0, 0, 0x31, 0xff, 0x0f, 0x05];

/// The file's content.
#[must_use]
pub fn nothing() -> Vec<u8> {
    let start = u64::from(HEADER_BYTES + PROGRAM_HEADER_BYTES);
    let size = start + CODE.len() as u64;
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
    file.extend(CODE);
    file
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn it_runs_and_succeeds() {
        let directory = tempfile::tempdir().expect("a directory");
        let program = directory.path().join("nothing");
        std::fs::write(&program, super::nothing()).expect("a file");
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("executable");
        let status = std::process::Command::new(&program).status().expect("it starts");
        assert_eq!(status.code(), Some(0));
    }
}
