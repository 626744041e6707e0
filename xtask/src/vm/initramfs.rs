//! The archive that the kernel unpacks as its first root: cpio in the "new ASCII" format.
//!
//! Input: files, one after the other, each after its directory. Output: the archive's bytes. Pure; written here because
//! it needs no tool and no root, and a device can be in it. Format: Documentation/driver-api/early-userspace/
//! buffer-format.rst of the kernel.

/// What a file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// May be executed.
    Program,
    /// May not.
    Data,
}

/// `st_mode`'s kinds of files.
const REGULAR: u32 = 0o100_000;
const DIRECTORY: u32 = 0o040_000;
const CHARACTER_DEVICE: u32 = 0o020_000;
/// Names and contents begin at multiples of this.
const ALIGNMENT: usize = 4;
/// The name that ends an archive.
const TRAILER: &str = "TRAILER!!!";

/// An archive that grows.
#[derive(Debug, Default)]
pub struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

impl Archive {
    /// Adds a directory.
    pub fn directory(&mut self, name: &str) {
        self.entry(name, DIRECTORY | 0o755, (0, 0), &[]);
    }

    /// Adds a file.
    pub fn file(&mut self, name: &str, mode: Mode, content: &[u8]) {
        let permissions = match mode {
            Mode::Program => 0o755,
            Mode::Data => 0o644,
        };
        self.entry(name, REGULAR | permissions, (0, 0), content);
    }

    /// Adds the console, without which the first process has no standard output.
    pub fn console(&mut self) {
        self.entry("dev/console", CHARACTER_DEVICE | 0o600, (5, 1), &[]);
    }

    /// Ends the archive.
    pub fn finish(mut self) -> Vec<u8> {
        self.entry(TRAILER, 0, (0, 0), &[]);
        self.bytes
    }

    fn entry(&mut self, name: &str, mode: u32, (major, minor): (u32, u32), content: &[u8]) {
        let length = |bytes: usize| u32::try_from(bytes).expect("no file of ours has 4 GiB");
        self.entries += 1;
        let fields = [
            self.entries,
            mode,
            // User, group; number of links; time of change.
            0,
            0,
            1,
            0,
            length(content.len()),
            // The device that the file is on.
            0,
            0,
            major,
            minor,
            length(name.len() + 1),
            // A checksum, which this format does not use.
            0,
        ];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.align();
        self.bytes.extend_from_slice(content);
        self.align();
    }

    fn align(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(ALIGNMENT), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Name, mode and content of each entry.
    fn parse(mut bytes: &[u8]) -> Vec<(String, u32, Vec<u8>)> {
        let mut entries = Vec::new();
        loop {
            assert_eq!(&bytes[..6], b"070701");
            let field = |number: usize| {
                let digits = std::str::from_utf8(&bytes[6 + 8 * number..14 + 8 * number]).expect("digits");
                u32::from_str_radix(digits, 16).expect("hexadecimal") as usize
            };
            let (mode, size, name_size) = (field(1), field(6), field(11));
            let name = std::str::from_utf8(&bytes[110..110 + name_size - 1]).expect("a name");
            assert_eq!(bytes[110 + name_size - 1], 0);
            let at = (110 + name_size).next_multiple_of(4);
            if name == TRAILER {
                assert_eq!(bytes.len(), at);
                return entries;
            }
            let mode = u32::try_from(mode).expect("a mode");
            entries.push((name.to_owned(), mode, bytes[at..at + size].to_vec()));
            bytes = &bytes[(at + size).next_multiple_of(4)..];
        }
    }

    #[test]
    fn what_goes_in_comes_out_whatever_its_length() {
        let mut archive = Archive::default();
        archive.directory("bin");
        archive.console();
        for length in 0..9_usize {
            archive.file(
                &format!("bin/{}", "x".repeat(length + 1)),
                Mode::Program,
                &vec![7; length],
            );
        }
        let entries = parse(&archive.finish());
        assert_eq!(entries[0], ("bin".to_owned(), 0o040_755, Vec::new()));
        assert_eq!(entries[1], ("dev/console".to_owned(), 0o020_600, Vec::new()));
        for (length, entry) in entries[2..].iter().enumerate() {
            assert_eq!(entry.1, 0o100_755);
            assert_eq!(entry.2, vec![7; length]);
        }
        assert_eq!(entries.len(), 11);
    }
}
