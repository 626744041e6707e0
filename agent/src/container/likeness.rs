//! How the files of two images compare, path by path, in the directories where the runtime keeps their layers.
//!
//! Input: the layers of both, topmost first, and a path. Output: [`Likeness`]. A path that both find in one and the same
//! directory is the same without a look at it: images share layers. Otherwise a regular file is the same if size, content and
//! what executing it gives are; anything else if its type is.
//! Failure: [`ContentError`] for what cannot be read; nothing at all for what the [`Budget`] no longer allows. Blocks while it
//! reads, so call it from a thread that may wait.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::Instant;

use rustix::fs::FileType;

use super::content::{ContentError, ContentLimits, Subject};
use super::lowers::{Found, look_up};
use super::overlay::Overlay;
use crate::profile::inherit::Likeness;
use crate::profile::model::ImageLayer;
use crate::text::ByteText;

/// Bytes of each file that are compared at once.
const CHUNK_BYTES: usize = 256 * 1024;

/// How much is read for one comparison of two images.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// When nothing more is begun.
    pub until: Instant,
    /// Bytes that may be read yet, of both images together.
    pub bytes: u64,
}

/// Two images, to be compared path by path.
#[derive(Debug)]
pub struct ImagePair {
    before: Vec<PathBuf>,
    now: Vec<PathBuf>,
    limits: ContentLimits,
}

/// What an image has at a path.
struct Entry<'a> {
    layer: &'a Path,
    /// The regular file, or the type of something else.
    what: Result<OwnedFd, FileType>,
}

// === impl ImagePair ===

impl ImagePair {
    /// The image before and the new one, by the directories of their layers, topmost first.
    #[must_use]
    pub fn new(before: Vec<PathBuf>, now: Vec<PathBuf>, limits: ContentLimits) -> Self {
        Self { before, now, limits }
    }

    /// Whether both are made of the same layers.
    #[must_use]
    pub fn is_same(&self) -> bool {
        self.before == self.now
    }

    /// Compares what the two have at `path`; `None` if the budget is used up.
    pub fn compare(&self, path: &ByteText, budget: &mut Budget) -> Result<Option<Likeness>, ContentError> {
        if Instant::now() >= budget.until {
            return Ok(None);
        }
        let subject = Subject { path };
        let (before, now) = match (entry(&self.before, subject)?, entry(&self.now, subject)?) {
            (Some(before), Some(now)) => (before, now),
            (None, Some(_)) => return Ok(Some(Likeness::New)),
            (_, None) => return Ok(Some(Likeness::Absent)),
        };
        if before.layer == now.layer {
            return Ok(Some(Likeness::Same));
        }
        let is_same = match (before.what, now.what) {
            (Ok(before), Ok(now)) => match self.is_same_file(subject, [&before, &now], budget)? {
                Some(is_same) => is_same,
                None => return Ok(None),
            },
            (Err(before), Err(now)) => before == now,
            _ => false,
        };
        Ok(Some(if is_same {
            Likeness::Same
        } else {
            Likeness::Changed
        }))
    }

    /// Whether two regular files have the same content, and executing them gives the same.
    fn is_same_file(
        &self,
        subject: Subject<'_>,
        handles: [&OwnedFd; 2],
        budget: &mut Budget,
    ) -> Result<Option<bool>, ContentError> {
        let stats = [
            subject.check_regular(handles[0], &self.limits)?,
            subject.check_regular(handles[1], &self.limits)?,
        ];
        if stats[0].st_size != stats[1].st_size {
            return Ok(Some(false));
        }
        let size_bytes = u64::try_from(stats[0].st_size).unwrap_or(u64::MAX);
        let Some(left) = budget.bytes.checked_sub(size_bytes.saturating_mul(2)) else {
            return Ok(None);
        };
        budget.bytes = left;
        let files = [subject.reopen(handles[0])?, subject.reopen(handles[1])?];
        for file in &files {
            if subject.attribute(file, "trusted.overlay.metacopy")?.is_some() {
                return Err(ContentError::MetadataOnlyCopy {
                    path: subject.path.clone(),
                });
            }
        }
        let [before, now] = [0, 1].map(|which| subject.privileges(&files[which], &stats[which]));
        // Nobody writes to an image's layers, so that no lease is needed.
        let is_same = before? == now? && is_same_content(&files).map_err(subject.failed("read"))?;
        Ok(Some(is_same))
    }
}

/// Whether two files have the same bytes.
fn is_same_content(files: &[File; 2]) -> std::io::Result<bool> {
    let mut chunks = [vec![0; CHUNK_BYTES], vec![0; CHUNK_BYTES]];
    let mut read_bytes = 0;
    loop {
        let mut lengths = [0; 2];
        for ((file, chunk), length) in files.iter().zip(&mut chunks).zip(&mut lengths) {
            while *length < chunk.len() {
                match file.read_at(&mut chunk[*length..], read_bytes + *length as u64) {
                    Ok(0) => break,
                    Ok(more) => *length += more,
                    Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
        }
        let [before, now] = lengths;
        if chunks[0][..before] != chunks[1][..now] {
            return Ok(false);
        }
        if before < CHUNK_BYTES {
            return Ok(true);
        }
        read_bytes += before as u64;
    }
}

/// What an image has at a path: what its topmost layer has that has anything there.
fn entry<'a>(layers: &'a [PathBuf], subject: Subject<'_>) -> Result<Option<Entry<'a>>, ContentError> {
    for layer in layers {
        let what = match look_up(layer, subject)? {
            Found::File(handle) => Ok(handle),
            Found::Other(kind) => Err(kind),
            Found::Hidden => return Ok(None),
            Found::Nothing => continue,
        };
        return Ok(Some(Entry { layer, what }));
    }
    Ok(None)
}

/// The layers of the image of a container, topmost first. Fails if one of them is not there.
pub fn image_layers(overlay: &Overlay) -> std::io::Result<Vec<ImageLayer>> {
    use std::os::unix::ffi::OsStrExt as _;
    let from_image = overlay.lowers.iter().filter(|layer| layer.from_image);
    from_image
        .map(|layer| {
            Ok(ImageLayer {
                directory: layer.directory.as_os_str().as_bytes().into(),
                inode: std::fs::metadata(&layer.directory)?.ino(),
            })
        })
        .collect()
}

/// The directories of layers that were noted earlier; `None` if there are none, or if one of them is no longer there.
#[must_use]
pub fn still_there(layers: &[ImageLayer]) -> Option<Vec<PathBuf>> {
    use std::os::unix::ffi::OsStrExt as _;
    let is_there = |layer: &ImageLayer| {
        let directory = PathBuf::from(std::ffi::OsStr::from_bytes(layer.directory.as_bytes()));
        let found = std::fs::symlink_metadata(&directory).ok()?;
        (found.is_dir() && found.ino() == layer.inode).then_some(directory)
    };
    let directories: Option<Vec<_>> = layers.iter().map(is_there).collect();
    directories.filter(|directories| !directories.is_empty())
}

#[cfg(test)]
#[path = "likeness_tests.rs"]
mod tests;
