//! What a file is that is opened for execution: did it come with the image?
//!
//! Input: the open file, and the layers of the container's root filesystem. Output: [`Identified`], as the kernel programs
//! would record it. Failure: what cannot be proved to be the image's is not: layer `upper`.
//!
//! The proof is not the path, which may be renamed or hidden by a mount while one looks. It is a file of a lower layer with the
//! same size, change time and modification time (and inode number, where the overlay passes that on) and nothing in the
//! upper layer at its place: nobody in a container can give a file an earlier change time (but see ADR 4 on `CAP_SYS_TIME`).

use std::ffi::OsStr;
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use agent_common::file::{FileIdentity, Layer};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, Statx, StatxFlags};

use super::protocol::Watch;
use crate::container::mountinfo;
use crate::container::read::read_bounded;

/// Most bytes read of a mount table: some 6,000 mounts. In a longer one no path is looked for.
const MOUNTINFO_BYTES: u64 = 1024 * 1024;
/// `ELFMAG` (include/uapi/linux/elf.h).
const ELF: &[u8] = b"\x7fELF";
/// What a script begins with, for which the kernel starts an interpreter.
const ELF_HEADER_BYTES: usize = 64;
/// Most program headers that are looked at.
const PROGRAM_HEADERS_MAX: usize = 64;

/// A container's layers.
#[derive(Clone, Debug)]
pub(super) struct Layers {
    device: u32,
    upper: PathBuf,
    lowers: Vec<PathBuf>,
}

/// An open file: what the kernel says of it.
#[derive(Clone, Copy)]
pub(super) struct Opened<'a> {
    pub(super) file: BorrowedFd<'a>,
    pub(super) attributes: Statx,
}

/// What a file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identified {
    pub(super) layer: Layer,
    /// Its path in the root filesystem.
    pub(super) path: Vec<u8>,
    /// Its inode: for one in the upper layer, the real one there.
    pub(super) identity: FileIdentity,
    /// The identity is that of the file that is executed, and not only of what is known of it.
    pub(super) is_certain: bool,
}

// === impl Layers ===

impl Layers {
    pub(super) fn of(watch: &Watch) -> Self {
        let path = |text: &crate::text::ByteText| PathBuf::from(OsStr::from_bytes(text.as_bytes()));
        Self {
            device: watch.device,
            upper: path(&watch.upper),
            lowers: watch.lowers.iter().map(path).collect(),
        }
    }

    /// Says what an open file is. `thread`: who opened it, by whose mounts its path is understood.
    pub(super) fn identify(&self, opened: &Opened<'_>, thread: u32) -> Identified {
        let shown = opened.path();
        let unproved = |layer, path| Identified {
            layer,
            path,
            identity: opened.identity(self.device),
            is_certain: false,
        };
        if opened.attributes.stx_nlink == 0 {
            let name = shown.strip_suffix(b" (deleted)").unwrap_or(&shown).to_vec();
            return unproved(Layer::Anonymous, name);
        }
        if let Some(found) = self.find(opened, &shown) {
            return found;
        }
        // It may have been reached by a mount of a part of the filesystem.
        match path_in_filesystem(thread, opened.attributes.stx_mnt_id, &shown) {
            Some(path) if path != shown => self
                .find(opened, &path)
                .unwrap_or_else(|| unproved(Layer::Upper, path)),
            _ => unproved(Layer::Upper, shown),
        }
    }

    /// The file, if it is at `path` in one of the layers.
    fn find(&self, opened: &Opened<'_>, path: &[u8]) -> Option<Identified> {
        match look_up(&self.upper, path) {
            Ok(Some(attributes)) => opened.is(&attributes).then(|| Identified {
                layer: Layer::Upper,
                path: path.to_vec(),
                identity: identity(&attributes, self.device),
                is_certain: true,
            }),
            Ok(None) => {
                let is_its = |lower: &PathBuf| {
                    look_up(lower, path).is_ok_and(|found| {
                        found.is_some_and(|found| opened.is(&found) && self.has_number(opened, &found))
                    })
                };
                self.lowers.iter().any(is_its).then(|| Identified {
                    layer: Layer::Image,
                    path: path.to_vec(),
                    identity: opened.identity(self.device),
                    is_certain: true,
                })
            }
            Err(_) => None,
        }
    }

    /// Whether the inode numbers agree, where the overlay shows those of its layers: all on one filesystem.
    fn has_number(&self, opened: &Opened<'_>, found: &Statx) -> bool {
        opened.device() != self.device || opened.attributes.stx_ino == found.stx_ino
    }
}

// === impl Opened ===

impl<'a> Opened<'a> {
    pub(super) fn new(file: BorrowedFd<'a>) -> rustix::io::Result<Self> {
        let attributes = attributes(file)?;
        Ok(Self { file, attributes })
    }

    /// The device that it names, in the kernel's internal encoding: that of its filesystem, where the overlay's layers are
    /// on one.
    pub(super) fn device(&self) -> u32 {
        self.attributes.stx_dev_major << 20 | self.attributes.stx_dev_minor
    }

    /// Whether it is a binary that the kernel loads by itself; all else it hands to an interpreter.
    pub(super) fn is_binary(&self) -> bool {
        let mut begin = [0; 4];
        rustix::io::pread(self.file, &mut begin, 0) == Ok(begin.len()) && begin == ELF
    }

    /// Whether it is a binary as interpreters of binaries are: shared, and without an interpreter of its own. So are
    /// some static programs.
    pub(super) fn may_be_loader(&self) -> bool {
        let mut header = [0; ELF_HEADER_BYTES];
        if rustix::io::pread(self.file, &mut header, 0) != Ok(header.len()) {
            return false;
        }
        // `e_type`, `e_phoff`, `e_phentsize`, `e_phnum` of a 64-bit file of this machine's byte order.
        let half = |at: usize| u16::from_ne_bytes([header[at], header[at + 1]]);
        let offset = u64::from_ne_bytes(header[32..40].try_into().unwrap_or_default());
        let (size, count) = (u64::from(half(54)), usize::from(half(56)));
        let is_64_bit_shared = header[4] == 2 && half(16) == 3;
        if !is_64_bit_shared || count > PROGRAM_HEADERS_MAX {
            return false;
        }
        (0..count as u64).all(|index| {
            let mut kind = [0; 4];
            let at = offset.saturating_add(index * size);
            // `PT_INTERP`.
            rustix::io::pread(self.file, &mut kind, at) == Ok(kind.len()) && u32::from_ne_bytes(kind) != 3
        })
    }

    /// Its path as the mount shows it through which it was opened.
    pub(super) fn path(&self) -> Vec<u8> {
        let link = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        rustix::fs::readlinkat(CWD, link, Vec::new())
            .map(std::ffi::CString::into_bytes)
            .unwrap_or_default()
    }

    pub(super) fn identity(&self, device: u32) -> FileIdentity {
        identity(&self.attributes, device)
    }

    /// Whether a file of a layer is what this one shows: the overlay passes size and times of the real file on.
    fn is(&self, real: &Statx) -> bool {
        let own = &self.attributes;
        let time = |time: &rustix::fs::StatxTimestamp| (time.tv_sec, time.tv_nsec);
        FileType::from_raw_mode(real.stx_mode.into()) == FileType::RegularFile
            && own.stx_size == real.stx_size
            && time(&own.stx_ctime) == time(&real.stx_ctime)
            && time(&own.stx_mtime) == time(&real.stx_mtime)
    }
}

fn attributes(file: impl std::os::fd::AsFd) -> rustix::io::Result<Statx> {
    let wanted = StatxFlags::BASIC_STATS | StatxFlags::MNT_ID;
    rustix::fs::statx(file, "", AtFlags::EMPTY_PATH, wanted)
}

fn identity(attributes: &Statx, device: u32) -> FileIdentity {
    FileIdentity {
        inode: attributes.stx_ino,
        size_bytes: attributes.stx_size,
        changed_s: attributes.stx_ctime.tv_sec,
        changed_ns: attributes.stx_ctime.tv_nsec,
        device,
    }
}

/// What a layer has at a path; `None` if it has nothing there. No link is followed, and nothing outside the layer is reached.
fn look_up(layer: &Path, path: &[u8]) -> rustix::io::Result<Option<Statx>> {
    let relative = path.strip_prefix(b"/").unwrap_or(path);
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory: OwnedFd = rustix::fs::open(layer, flags, Mode::empty())?;
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    match rustix::fs::openat2(&directory, relative, flags, Mode::empty(), resolve) {
        Ok(found) => attributes(&found).map(Some),
        Err(rustix::io::Errno::NOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The path in its filesystem of what a thread's mount `id` shows as `shown`; `None` if the thread has no such mount.
fn path_in_filesystem(thread: u32, id: u64, shown: &[u8]) -> Option<Vec<u8>> {
    let table = format!("/proc/{thread}/mountinfo");
    let table = mountinfo::parse(&read_bounded(Path::new(&table), MOUNTINFO_BYTES).ok()?);
    let mount = table.with_id(id)?;
    translate(&mount.root, &mount.point, shown)
}

/// A path behind the mount point becomes one below the directory that is mounted.
fn translate(root: &[u8], point: &[u8], shown: &[u8]) -> Option<Vec<u8>> {
    let rest = match point {
        b"/" => shown,
        point => shown.strip_prefix(point)?,
    };
    if !rest.is_empty() && !rest.starts_with(b"/") {
        return None;
    }
    let root = root.strip_suffix(b"/").unwrap_or(root);
    Some([root, rest].concat())
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsFd as _;

    use super::*;

    /// Without an overlay, a file of a layer stands for what the overlay shows of it.
    struct Tree {
        directory: tempfile::TempDir,
        layers: Layers,
    }

    impl Tree {
        fn new() -> Self {
            let directory = tempfile::tempdir().expect("directory");
            for name in ["upper/tmp", "one/bin", "two/bin"] {
                std::fs::create_dir_all(directory.path().join(name)).expect("tree");
            }
            let path = |name: &str| directory.path().join(name);
            let layers = Layers {
                device: u32::MAX,
                upper: path("upper"),
                lowers: vec![path("one"), path("two")],
            };
            Self { directory, layers }
        }

        fn put(&self, path: &str) -> File {
            let path = self.directory.path().join(path);
            std::fs::write(&path, path.as_os_str().as_bytes()).expect("write");
            File::open(path).expect("open")
        }

        fn find(&self, file: &File, path: &str) -> Option<(Layer, bool)> {
            let opened = Opened::new(file.as_fd()).expect("attributes");
            let found = self.layers.find(&opened, path.as_bytes())?;
            Some((found.layer, found.is_certain))
        }
    }

    #[test]
    fn the_image_is_proved_by_a_lower_layer_and_an_empty_place_above() {
        let tree = Tree::new();
        let lower = tree.put("two/bin/sh");
        assert_eq!(tree.find(&lower, "/bin/sh"), Some((Layer::Image, true)));
        assert_eq!(tree.find(&lower, "/bin/other"), None);
        std::fs::create_dir(tree.directory.path().join("upper/bin")).expect("tree");
        let upper = tree.put("upper/bin/sh");
        assert_eq!(tree.find(&lower, "/bin/sh"), None, "hidden by another file");
        assert_eq!(tree.find(&upper, "/bin/sh"), Some((Layer::Upper, true)));
    }

    #[test]
    fn another_file_at_an_image_path_is_not_the_images() {
        let tree = Tree::new();
        tree.put("one/bin/sh");
        let dropped = tree.put("upper/tmp/sh");
        assert_eq!(tree.find(&dropped, "/bin/sh"), None);
        let seen = tree.layers.identify(
            &Opened::new(dropped.as_fd()).expect("attributes"),
            std::process::id(),
        );
        assert_eq!((seen.layer, seen.is_certain), (Layer::Upper, false));
    }

    #[test]
    fn no_link_leads_out_of_a_layer() {
        let tree = Tree::new();
        let outside = tree.directory.path().join("outside");
        std::fs::create_dir(&outside).expect("tree");
        let file = tree.put("outside/sh");
        std::os::unix::fs::symlink(&outside, tree.directory.path().join("one/link")).expect("link");
        assert_eq!(tree.find(&file, "/link/sh"), None);
        assert_eq!(tree.find(&file, "/../outside/sh"), None);
    }

    #[test]
    fn a_file_without_name_is_anonymous() {
        let tree = Tree::new();
        let file = tree.put("upper/tmp/x");
        std::fs::remove_file(tree.directory.path().join("upper/tmp/x")).expect("there");
        let seen = tree
            .layers
            .identify(&Opened::new(file.as_fd()).expect("attributes"), 0);
        assert_eq!(seen.layer, Layer::Anonymous);
        assert!(
            seen.path.ends_with(b"/upper/tmp/x"),
            "{}",
            seen.path.escape_ascii()
        );
    }

    #[test]
    fn mounts_of_parts_are_translated() {
        let translated = |root: &str, point: &str, shown: &str| {
            translate(root.as_bytes(), point.as_bytes(), shown.as_bytes())
                .map(|path| String::from_utf8(path).expect("text"))
        };
        assert_eq!(translated("/", "/", "/bin/sh").as_deref(), Some("/bin/sh"));
        assert_eq!(
            translated("/bin/rotate", "/bin/fetch", "/bin/fetch").as_deref(),
            Some("/bin/rotate")
        );
        assert_eq!(translated("/opt", "/srv", "/srv/x").as_deref(), Some("/opt/x"));
        assert_eq!(translated("/opt", "/srv", "/srv2/x"), None);
        assert_eq!(translated("/", "/mnt", "/mnt/bin/sh").as_deref(), Some("/bin/sh"));
    }

    #[test]
    fn tells_binaries_and_loaders() {
        let tree = Tree::new();
        let script = tree.put("one/bin/job");
        assert!(!Opened::new(script.as_fd()).expect("attributes").is_binary());
        let own = File::open("/proc/self/exe").expect("there");
        let own = Opened::new(own.as_fd()).expect("attributes");
        assert!(own.is_binary());
        assert!(!own.may_be_loader());
        let table = std::fs::read_to_string("/proc/self/maps").expect("there");
        let loader = table.lines().find_map(|line| {
            line.split_whitespace()
                .nth(5)
                .filter(|path| path.contains("/ld-"))
        });
        if let Some(loader) = loader {
            let loader = File::open(loader).expect("there");
            assert!(Opened::new(loader.as_fd()).expect("attributes").may_be_loader());
        }
    }
}
