//! The layers of an overlay, out of its mount options.
//!
//! Input: the superblock's options as `/proc/PID/mountinfo` shows them. Output: [`OverlayOptions`], then [`Overlay`] with
//! the directories as this process sees them. Failure: [`OverlayError`] when the options do not describe what the
//! runtime mounts.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use super::info::{Runtime, Storage};
use super::mountinfo::unescape;
use super::read::ReadError;

/// Most lower layers (the kernel allows 500, `OVL_MAX_STACK`).
const LAYERS_MAX: usize = 500;

/// The mount options of an overlay, as they were given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OverlayOptions {
    /// The lower directories, topmost first.
    pub lowers: Vec<PathBuf>,
    /// There are lower directories that hold data only; a file's content may be in them.
    pub has_data_layers: bool,
    /// The upper directory.
    pub upper: Option<PathBuf>,
}

/// A lower layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LowerLayer {
    /// Its directory, as this process sees it.
    pub directory: PathBuf,
    /// It came with the image. Docker's topmost one did not: the runtime wrote it when the container was made.
    pub from_image: bool,
}

/// The layers of a container's root filesystem, as this process sees them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overlay {
    /// The lower layers, topmost first.
    pub lowers: Vec<LowerLayer>,
    /// The upper directory.
    pub upper: PathBuf,
}

/// Why the layers of an overlay are not known.
#[derive(Debug, thiserror::Error)]
pub enum OverlayError {
    /// A link to a layer could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The overlay is not one that the runtime mounts.
    #[error("the overlay is not as its runtime mounts it: {problem}")]
    Unexpected {
        /// What is different.
        problem: &'static str,
    },
}

// === impl OverlayOptions ===

impl OverlayOptions {
    /// Reads the options. Both spellings of lower directories are known: one list (`lowerdir=a:b`), and one option
    /// for each (`lowerdir+=a,lowerdir+=b`, Linux 6.5 and later).
    #[must_use]
    pub fn parse(super_options: &[u8]) -> Self {
        let mut options = Self::default();
        for option in super_options.split(|byte| *byte == b',') {
            let Some(position) = option.iter().position(|byte| *byte == b'=') else {
                continue;
            };
            let value = unescape(&option[position + 1..]);
            match &option[..position] {
                b"lowerdir" => options.add_list(&value),
                b"lowerdir+" => options.lowers.push(path(&value)),
                b"datadir+" => options.has_data_layers = true,
                b"upperdir" => options.upper = Some(path(&without_backslashes(&value))),
                _ => {}
            }
        }
        options.lowers.truncate(LAYERS_MAX);
        options
    }

    /// A list with colons; `\:` is a colon in a name, and what follows `::` holds data only.
    fn add_list(&mut self, list: &[u8]) {
        let mut name = Vec::new();
        let mut bytes = list.iter();
        while let Some(byte) = bytes.next() {
            match byte {
                b'\\' => name.extend(bytes.next()),
                b':' if name.is_empty() => {
                    self.has_data_layers = true;
                    return;
                }
                b':' => self.lowers.push(path(&std::mem::take(&mut name))),
                byte => name.push(*byte),
            }
        }
        if !name.is_empty() {
            self.lowers.push(path(&name));
        }
    }
}

fn path(bytes: &[u8]) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(bytes))
}

fn without_backslashes(bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(bytes.len());
    let mut bytes = bytes.iter();
    while let Some(byte) = bytes.next() {
        plain.extend(if *byte == b'\\' { bytes.next() } else { Some(byte) });
    }
    plain
}

// === impl Overlay ===

impl Overlay {
    /// Finds the layers of a container: follows the short links that some runtimes mount (`l/NAME`, relative to the
    /// driver's directory where the list is long), and tells the layer that Docker writes itself from the image's. Other
    /// runtimes mount the image's alone.
    pub fn of_container(
        options: &OverlayOptions,
        runtime: Runtime,
        storage: &Storage,
    ) -> Result<Self, OverlayError> {
        let unexpected = |problem| OverlayError::Unexpected { problem };
        if options.has_data_layers {
            return Err(unexpected("it has layers for data only"));
        }
        let upper = options
            .upper
            .as_ref()
            .ok_or_else(|| unexpected("it has no upper directory"))?;
        let base = storage.data_root.join(&storage.driver);
        let seen = |path: &Path| {
            storage
                .prefix
                .join(base.join(path).strip_prefix("/").unwrap_or(path))
        };
        let directories = options
            .lowers
            .iter()
            .map(|lower| follow(seen(lower)))
            .collect::<Result<Vec<PathBuf>, ReadError>>()?;
        let topmost = directories
            .first()
            .ok_or_else(|| unexpected("it has no lower directory"))?;
        let own_layers = usize::from(runtime == Runtime::Docker && is_init_layer(topmost));
        // Docker's image store in containerd keeps that layer as any other.
        if runtime == Runtime::Docker && own_layers == 0 && storage.driver != "overlayfs" {
            return Err(unexpected(
                "its topmost lower directory is not the one that the runtime writes",
            ));
        }
        Ok(Self {
            lowers: directories
                .into_iter()
                .enumerate()
                .map(|(index, directory)| LowerLayer {
                    directory,
                    from_image: index >= own_layers,
                })
                .collect(),
            upper: seen(upper),
        })
    }
}

/// The directory that a short link names; a directory itself stays. The link is relative (`../ID/diff`), so it means
/// the same below any prefix.
fn follow(path: PathBuf) -> Result<PathBuf, ReadError> {
    let target = match std::fs::read_link(&path) {
        Ok(target) => target,
        Err(error) if error.kind() == std::io::ErrorKind::InvalidInput => return Ok(path),
        Err(error) => return Err(ReadError::of("read", &path)(error)),
    };
    let mut directory = path.parent().unwrap_or(Path::new("/")).to_owned();
    for component in target.components() {
        match component {
            Component::Normal(name) => directory.push(name),
            Component::ParentDir => {
                directory.pop();
            }
            Component::CurDir => {}
            Component::RootDir | Component::Prefix(_) => {
                let problem = std::io::Error::other("the link is absolute");
                return Err(ReadError::of("follow", &path)(problem));
            }
        }
    }
    Ok(directory)
}

/// Docker names the layer that it writes for a container `ID-init`.
fn is_init_layer(directory: &Path) -> bool {
    let name = directory.parent().and_then(Path::file_name);
    name.is_some_and(|name| name.as_bytes().ends_with(b"-init"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn paths(names: &[&str]) -> Vec<PathBuf> {
        names.iter().map(PathBuf::from).collect()
    }

    #[test]
    fn reads_both_spellings() {
        let options =
            OverlayOptions::parse(b"rw,lowerdir=/x/l/A:/x/l/B,upperdir=/x/u/diff,workdir=/x/u/work,xino=off");
        assert_eq!(options.lowers, paths(&["/x/l/A", "/x/l/B"]));
        assert_eq!(options.upper, Some("/x/u/diff".into()));
        let options = OverlayOptions::parse(b"ro,lowerdir+=/a:b,lowerdir+=/c,upperdir=/u");
        assert_eq!(options.lowers, paths(&["/a:b", "/c"]));
        assert!(!options.has_data_layers);
    }

    #[test]
    fn undoes_escapes() {
        // The kernel escapes comma, equals sign, blank and backslash; the overlay takes `\:` for a colon.
        let options = OverlayOptions::parse(br"rw,lowerdir=/a\134:b\054c:/d\040e\075,upperdir=/u\134\134v");
        assert_eq!(options.lowers, paths(&["/a:b,c", "/d e="]));
        assert_eq!(options.upper, Some(r"/u\v".into()));
        assert!(OverlayOptions::parse(b"lowerdir=/a::/data").has_data_layers);
        assert!(OverlayOptions::parse(b"lowerdir+=/a,datadir+=/data").has_data_layers);
    }

    #[test]
    fn finds_dockers_layers() {
        let root = tempfile::tempdir().expect("directory");
        let driver = root.path().join("data/overlay2");
        std::fs::create_dir_all(driver.join("l")).expect("directory");
        std::os::unix::fs::symlink("../c1-init/diff", driver.join("l/AAA")).expect("link");
        std::os::unix::fs::symlink("../i1/diff", driver.join("l/BBB")).expect("link");
        let storage = Storage {
            prefix: root.path().into(),
            data_root: "/data".into(),
            driver: "overlay2".into(),
        };
        let expected = Overlay {
            lowers: vec![
                LowerLayer {
                    directory: driver.join("c1-init/diff"),
                    from_image: false,
                },
                LowerLayer {
                    directory: driver.join("i1/diff"),
                    from_image: true,
                },
            ],
            upper: driver.join("c1/diff"),
        };
        for lowers in [
            ["/data/overlay2/l/AAA", "/data/overlay2/l/BBB"],
            ["l/AAA", "l/BBB"],
        ] {
            let options = OverlayOptions {
                lowers: paths(&lowers),
                has_data_layers: false,
                upper: Some("/data/overlay2/c1/diff".into()),
            };
            assert_eq!(
                Overlay::of_container(&options, Runtime::Docker, &storage).expect("layers"),
                expected
            );
        }
        let other = OverlayOptions {
            lowers: paths(&["l/BBB"]),
            has_data_layers: false,
            upper: Some("/u".into()),
        };
        assert!(matches!(
            Overlay::of_container(&other, Runtime::Docker, &storage),
            Err(OverlayError::Unexpected { .. })
        ));
    }

    proptest! {
        #[test]
        fn takes_any_bytes(options in proptest::collection::vec(any::<u8>(), 0..200)) {
            let parsed = OverlayOptions::parse(&options);
            prop_assert!(parsed.lowers.len() <= options.len());
        }

        #[test]
        fn reads_any_names(names in proptest::collection::vec("[a-z:\\\\, =]{1,6}", 1..4)) {
            let mut list = names.iter().map(|name| name.replace('\\', "\\\\").replace(':', "\\:")).collect::<Vec<_>>().join(":");
            for byte in ['\\', ',', ' ', '='] {
                list = list.replace(byte, &format!("\\{:03o}", byte as u32));
            }
            prop_assert_eq!(OverlayOptions::parse(format!("lowerdir={list}").as_bytes()).lowers,
                names.iter().map(PathBuf::from).collect::<Vec<_>>());
        }
    }
}
