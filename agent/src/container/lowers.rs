//! The image's file beneath a file of the upper layer: was only its metadata changed?
//!
//! Input: the layers of a container's root filesystem, a path, and the hashed file of the upper layer. Output:
//! [`ImageMatch`]. Failure: [`ContentError`]. Layers are searched as the overlay does: topmost first; a whiteout or a
//! file of another type hides what is below, and an opaque directory hides what lower layers have in it.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::content::{ContentError, ContentLimits, HashedFile, Privileges, Subject};
use super::overlay::Overlay;
use crate::text::ByteText;

/// How a file of the upper layer compares with the image's at the same path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageMatch {
    /// The same content, and executing it gives nothing more.
    Equal,
    /// The same content, but it runs as another user or group or with other file capabilities than the image's.
    MorePrivileged,
    /// Other content.
    OtherContent,
    /// The image has no regular file there. What the runtime itself wrote when the container was made is not the image's.
    NotInImage,
}

/// What one layer has to say about a path.
pub(super) enum Found {
    /// A regular file.
    File(OwnedFd),
    /// Something else, which hides what is below, unless both are directories.
    Other(FileType),
    /// That there is nothing, whatever is below.
    Hidden,
    /// Nothing: the next layer counts.
    Nothing,
}

impl ImageMatch {
    /// Whether the file may be judged as the image's.
    #[must_use]
    pub fn is_equal(self) -> bool {
        self == Self::Equal
    }
}

// === impl Overlay ===

impl Overlay {
    /// Compares a file of the upper layer with the image's at the same path.
    pub fn compare_with_image(
        &self,
        path: &ByteText,
        upper: &HashedFile,
        limits: &ContentLimits,
    ) -> Result<ImageMatch, ContentError> {
        let subject = Subject { path };
        for layer in &self.lowers {
            let handle = match look_up(&layer.directory, subject)? {
                Found::File(handle) if layer.from_image => handle,
                Found::File(_) | Found::Other(_) | Found::Hidden => return Ok(ImageMatch::NotInImage),
                Found::Nothing => continue,
            };
            let stat = subject.check_regular(&handle, limits)?;
            if u64::try_from(stat.st_size).ok() != Some(upper.identity.size_bytes) {
                return Ok(ImageMatch::OtherContent);
            }
            let file = subject.reopen(&handle)?;
            if subject.attribute(&file, "trusted.overlay.metacopy")?.is_some() {
                return Err(ContentError::MetadataOnlyCopy { path: path.clone() });
            }
            // Nobody writes to an image's layers while they are mounted, so that no lease is needed.
            if subject.hash(&file, limits, || true)? != upper.sha256 {
                return Ok(ImageMatch::OtherContent);
            }
            let gives_no_more = upper.privileges.are_within(&subject.privileges(&file, &stat)?);
            return Ok(if gives_no_more {
                ImageMatch::Equal
            } else {
                ImageMatch::MorePrivileged
            });
        }
        Ok(ImageMatch::NotInImage)
    }
}

impl Privileges {
    /// Whether each of them is also one of `other`.
    fn are_within(&self, other: &Self) -> bool {
        (self.set_uid.is_none() || self.set_uid == other.set_uid)
            && (self.set_gid.is_none() || self.set_gid == other.set_gid)
            && (self.capabilities.is_none() || self.capabilities == other.capabilities)
    }
}

/// Looks a path up in one layer.
pub(super) fn look_up(layer: &Path, subject: Subject<'_>) -> Result<Found, ContentError> {
    let mut directory = open_directory(rustix::fs::CWD, layer.as_os_str(), subject)?;
    let mut is_opaque = false;
    let mut names = subject.relative().split(|byte| *byte == b'/').peekable();
    while let Some(name) = names.next() {
        if name.is_empty() || name == b"." || name == b".." {
            return Ok(Found::Hidden);
        }
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let handle = match rustix::fs::openat(&directory, name, flags, Mode::empty()) {
            Ok(handle) => handle,
            Err(Errno::NOENT) => return Ok(if is_opaque { Found::Hidden } else { Found::Nothing }),
            Err(error) => return Err(subject.failed("open the image's")(error)),
        };
        let stat = rustix::fs::fstat(&handle).map_err(subject.failed("examine the image's"))?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory if names.peek().is_some() => {
                directory = open_directory(&directory, name, subject)?;
                is_opaque |= is_opaque_directory(&directory, subject)?;
            }
            FileType::RegularFile if names.peek().is_none() && !is_whiteout(&handle, &stat, subject)? => {
                return Ok(Found::File(handle));
            }
            // A whiteout.
            FileType::CharacterDevice if stat.st_rdev == 0 => return Ok(Found::Hidden),
            FileType::RegularFile => return Ok(Found::Hidden),
            other if names.peek().is_none() => return Ok(Found::Other(other)),
            _ => return Ok(Found::Hidden),
        }
    }
    Ok(Found::Hidden)
}

fn open_directory<P: rustix::path::Arg, Fd: std::os::fd::AsFd>(
    parent: Fd,
    name: P,
    subject: Subject<'_>,
) -> Result<File, ContentError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty())
        .map(File::from)
        .map_err(subject.failed("open the image's layer of"))
}

/// `y` hides all that is below; `x` only says that whiteouts of the second form are inside (Linux 6.8).
fn is_opaque_directory(directory: &File, subject: Subject<'_>) -> Result<bool, ContentError> {
    Ok(subject.attribute(directory, "trusted.overlay.opaque")?.as_deref() == Some(b"y"))
}

/// The second form of a whiteout: an empty regular file with an attribute (Linux 6.8).
fn is_whiteout(handle: &OwnedFd, stat: &Stat, subject: Subject<'_>) -> Result<bool, ContentError> {
    if stat.st_size != 0 {
        return Ok(false);
    }
    let file = subject.reopen(handle)?;
    Ok(subject.attribute(&file, "trusted.overlay.whiteout")?.is_some())
}

#[cfg(test)]
#[path = "lowers_tests.rs"]
mod tests;
