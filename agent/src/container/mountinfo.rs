//! `/proc/PID/mountinfo`: the mounts that a process sees.
//!
//! Input: the file's bytes. Mount points, roots, sources and options are chosen in part by containers; the kernel
//! writes blank, tab, newline and backslash in them as `\ooo`. Output: a [`MountTable`]; a line of any other form is
//! left out and counted, so that a later kernel's addition costs that line alone.

use std::path::Path;

use super::read::{ReadError, read_bounded};

/// Most bytes read of one mount table. The kernel allows 100,000 mounts in a namespace (`fs.mount-max`), which at
/// about 150 bytes each is below this; a longer table is an error.
pub const MOUNTINFO_BYTES: u64 = 32 * 1024 * 1024;

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Id of the mount, as `statx` gives it in `stx_mnt_id`.
    pub id: u64,
    /// `s_dev` of the superblock in the kernel's internal encoding (major << 20 | minor).
    pub device: u32,
    /// The directory of the superblock that is mounted here.
    pub root: Vec<u8>,
    /// Where it is mounted, as the process's root directory shows it.
    pub point: Vec<u8>,
    /// Type of the filesystem.
    pub filesystem: Vec<u8>,
    /// Options of the superblock, still escaped: a comma in a value is `\054` there.
    pub super_options: Vec<u8>,
}

/// The mounts of a process in the kernel's order: of two at one mount point, the later is the one that is seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MountTable {
    /// The mounts.
    pub mounts: Vec<Mount>,
    /// Lines that were not understood.
    pub unread_lines: usize,
}

/// Reads the mount table of a process.
pub fn of_process(pid: u32) -> Result<MountTable, ReadError> {
    let path = format!("/proc/{pid}/mountinfo");
    read_bounded(Path::new(&path), MOUNTINFO_BYTES).map(|content| parse(&content))
}

/// Reads the mount table of this process.
pub fn own() -> Result<MountTable, ReadError> {
    of_process(std::process::id())
}

/// Parses a mount table.
#[must_use]
pub fn parse(content: &[u8]) -> MountTable {
    let mut table = MountTable::default();
    for line in content
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
    {
        match parse_line(line) {
            Some(mount) => table.mounts.push(mount),
            None => table.unread_lines += 1,
        }
    }
    table
}

/// Undoes the kernel's `\ooo`. A backslash that starts no such number stands for itself.
#[must_use]
pub fn unescape(escaped: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(escaped.len());
    let mut rest = escaped;
    while let [first, after @ ..] = rest {
        match after {
            [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', tail @ ..] if *first == b'\\' => {
                bytes.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                rest = tail;
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    bytes
}

fn parse_line(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|byte| *byte == b' ');
    let id = number(fields.next()?)?;
    let _parent = fields.next()?;
    let device = parse_device(fields.next()?)?;
    let root = unescape(fields.next()?);
    let point = unescape(fields.next()?);
    // Options of the mount, then any number of tags (`master:2`), then a hyphen alone.
    let mut fields = fields.skip_while(|field| *field != b"-").skip(1);
    let filesystem = unescape(fields.next()?);
    let _source = fields.next()?;
    let super_options = fields.next()?.to_vec();
    if fields.next().is_some() {
        return None;
    }
    Some(Mount {
        id,
        device,
        root,
        point,
        filesystem,
        super_options,
    })
}

fn number<T: std::str::FromStr>(field: &[u8]) -> Option<T> {
    std::str::from_utf8(field).ok()?.parse().ok()
}

/// `major:minor`, twelve and twenty bits.
fn parse_device(field: &[u8]) -> Option<u32> {
    let colon = field.iter().position(|byte| *byte == b':')?;
    let major: u32 = number(&field[..colon])?;
    let minor: u32 = number(&field[colon + 1..])?;
    (major < 1 << 12 && minor < 1 << 20).then_some(major << 20 | minor)
}

// === impl MountTable ===

impl MountTable {
    /// The mount that is seen at a mount point.
    #[must_use]
    pub fn at(&self, point: &[u8]) -> Option<&Mount> {
        self.mounts.iter().rev().find(|mount| mount.point == point)
    }

    /// The mount with this id.
    #[must_use]
    pub fn with_id(&self, id: u64) -> Option<&Mount> {
        self.mounts.iter().find(|mount| mount.id == id)
    }

    /// The mounts at the root or at any directory on the way to `path`, `path` included.
    pub fn on_the_way(&self, path: &[u8]) -> impl Iterator<Item = &Mount> {
        self.mounts.iter().filter(move |mount| mount.is_on_the_way(path))
    }
}

// === impl Mount ===

impl Mount {
    fn is_on_the_way(&self, path: &[u8]) -> bool {
        self.point == b"/"
            || path
                .strip_prefix(self.point.as_slice())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
    }

    /// Whether the superblock's options hold `option`, as a whole.
    #[must_use]
    pub fn has_option(&self, option: &[u8]) -> bool {
        self.super_options
            .split(|byte| *byte == b',')
            .any(|one| one == option)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DOCKER: &str = "116 92 0:43 / / rw,relatime master:2 - overlay overlay rw,lowerdir=/x/l/A:/x/l/B,upperdir=/x/u/diff,workdir=/x/u/work
133 116 254:1 /containers/hosts /etc/hosts rw - ext4 /dev/vda rw,discard
134 116 0:44 / /a\\040b\\134 rw shared:1 master:2 propagate_from:3 - tmpfs none rw,size=1k
not a mount
";

    #[test]
    fn reads_what_a_container_sees() {
        let table = parse(DOCKER.as_bytes());
        assert_eq!((table.mounts.len(), table.unread_lines), (3, 1));
        let root = table.at(b"/").expect("a root");
        assert_eq!(
            (root.id, root.device, root.filesystem.as_slice()),
            (116, 43, b"overlay".as_slice())
        );
        assert_eq!(table.with_id(133).expect("hosts").device, 254 << 20 | 1);
        assert_eq!(table.with_id(134).expect("tmpfs").point, b"/a b\\");
        assert!(table.with_id(134).expect("tmpfs").has_option(b"size=1k"));
    }

    #[test]
    fn the_later_of_two_mounts_is_seen() {
        let table = parse(b"1 0 0:1 / / rw - ext4 a rw\n2 1 0:2 / / rw - tmpfs b rw\n");
        assert_eq!(table.at(b"/").expect("a root").id, 2);
    }

    #[test]
    fn a_mount_is_on_the_way_by_whole_components() {
        let table =
            parse(b"1 0 0:1 / / rw - a a rw\n2 1 0:2 / /data rw - b b rw\n3 1 0:3 / /data2 rw - c c rw\n");
        let ids: Vec<u64> = table.on_the_way(b"/data2/x").map(|mount| mount.id).collect();
        assert_eq!(ids, [1, 3]);
    }

    #[test]
    fn reads_its_own_table() {
        let table = own().expect("/proc is mounted");
        assert_eq!(table.unread_lines, 0);
        assert!(
            table
                .at(b"/proc")
                .is_some_and(|mount| mount.filesystem == b"proc")
        );
    }

    proptest! {
        #[test]
        fn takes_any_bytes(content in proptest::collection::vec(any::<u8>(), 0..400)) {
            let table = parse(&content);
            let lines = content.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count();
            prop_assert_eq!(table.mounts.len() + table.unread_lines, lines);
        }

        #[test]
        fn takes_bytes_close_to_a_table(content in "([0-9]{1,3} [0-9] [0-9]{1,5}:[0-9]{1,8} (/|\\\\040|\\\\){0,3} /x - [a-z]{0,3} [ -~]{0,12}\n){0,3}") {
            let table = parse(content.as_bytes());
            prop_assert_eq!(table.mounts.len() + table.unread_lines, content.lines().count());
        }

        #[test]
        fn undoes_the_kernels_escapes(bytes: Vec<u8>) {
            let mut escaped = Vec::new();
            for byte in &bytes {
                match byte {
                    b' ' | b'\t' | b'\n' | b'\\' => escaped.extend(format!("\\{byte:03o}").bytes()),
                    other => escaped.push(*other),
                }
            }
            prop_assert_eq!(unescape(&escaped), bytes);
        }
    }
}
