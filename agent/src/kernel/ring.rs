//! Where reader and writers of the ring buffer stand, and taking the reader back to a checkpoint.
//!
//! Input: the ring buffer's map. Output: positions in bytes since the map was made. Failure: mapping it, or a checkpoint whose records
//! have been overwritten since.
//!
//! The first page of the map holds the reader's position, the second, which is read-only here, the writers'; the data follow, mapped twice
//! in a row (`struct bpf_ringbuf` in kernel/bpf/ringbuf.c). A record stays where it is until the writers have gone once around.
#![expect(
    unsafe_code,
    reason = "the two positions are memory that is shared with the kernel"
)]

use std::ffi::c_void;
use std::io;
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use agent_common::record::Checkpoint;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use rustix::param::page_size;

/// A program that has read the reader's position before it was taken back has reserved its record by then.
const SETTLED: Duration = Duration::from_millis(2);

/// The positions of one ring buffer.
#[derive(Debug)]
pub struct RingPositions {
    reader: Page,
    writers: Page,
    /// Bytes of the data.
    size: u64,
}

/// What became of a wish to go back: bytes of records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rewound {
    /// That are read again.
    pub again: u64,
    /// That have been overwritten since, and are lost.
    pub overwritten: u64,
}

impl RingPositions {
    /// Maps the positions of a ring buffer whose data have `size` bytes.
    pub fn open(ring: BorrowedFd<'_>, size: u32) -> io::Result<Self> {
        let page = page_size() as u64;
        Ok(Self {
            reader: Page::map(ring, ProtFlags::READ | ProtFlags::WRITE, 0)?,
            writers: Page::map(ring, ProtFlags::READ, page)?,
            size: size.into(),
        })
    }

    /// Everything before this position was taken out.
    #[must_use]
    pub fn reader(&self) -> u64 {
        self.reader.load()
    }

    /// Everything before this position was put in, or is being put in.
    #[must_use]
    pub fn writers(&self) -> u64 {
        self.writers.load()
    }

    /// Takes the reader back to the checkpoint, or to the first of its marks whose records are still there. To be called before the reader
    /// exists, while programs may be writing.
    #[must_use]
    pub fn rewind(&self, checkpoint: &Checkpoint) -> Rewound {
        let reader = self.reader.load();
        for start in starts(checkpoint, reader) {
            if self.writers.load().saturating_sub(start) > self.size {
                continue;
            }
            // From here on the programs leave alone what is behind this; before, they may have begun to write over it.
            self.reader.store(start);
            std::thread::sleep(SETTLED);
            if self.writers.load().saturating_sub(start) <= self.size {
                return Rewound {
                    again: reader - start,
                    overwritten: start - checkpoint.position,
                };
            }
        }
        self.reader.store(reader);
        Rewound {
            again: 0,
            overwritten: reader.saturating_sub(checkpoint.position),
        }
    }
}

/// Where reading may begin again, the best first.
fn starts(checkpoint: &Checkpoint, reader: u64) -> impl Iterator<Item = u64> {
    let position = checkpoint.position;
    let marks = checkpoint.marks.into_iter().filter(move |mark| *mark > position);
    std::iter::once(position)
        .chain(marks)
        .filter(move |start| *start < reader)
}

/// A mapped page that begins with a position.
#[derive(Debug)]
struct Page(NonNull<c_void>);

// SAFETY: the page is mapped as long as the value lives, whichever thread has it, and only accessed atomically.
unsafe impl Send for Page {}
// SAFETY: as above; atomics may be shared.
unsafe impl Sync for Page {}

impl Page {
    fn map(ring: BorrowedFd<'_>, protection: ProtFlags, offset: u64) -> io::Result<Self> {
        // SAFETY: the address is the kernel's to choose, so that nothing that exists is mapped over.
        let address = unsafe {
            mmap(
                std::ptr::null_mut(),
                page_size(),
                protection,
                MapFlags::SHARED,
                ring,
                offset,
            )
        }?;
        NonNull::new(address)
            .map(Self)
            .ok_or_else(|| io::Error::other("mapped at address 0"))
    }

    fn position(&self) -> &AtomicUsize {
        // SAFETY: a page is aligned for it, and is mapped as long as the value lives. The kernel keeps an `unsigned long` there that it
        // reads and writes atomically.
        unsafe { self.0.cast().as_ref() }
    }

    fn load(&self) -> u64 {
        self.position().load(Ordering::Acquire) as u64
    }

    /// Only for a page that was mapped to be written.
    fn store(&self, position: u64) {
        // It was loaded as an `unsigned long`.
        self.position()
            .store(usize::try_from(position).unwrap_or(usize::MAX), Ordering::Release);
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        // SAFETY: it was mapped with this size, and no reference to it outlives the value.
        let _ = unsafe { munmap(self.0.as_ptr(), page_size()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_begins_at_the_checkpoint_or_at_a_mark_after_it() {
        let mut checkpoint = Checkpoint {
            position: 100,
            ..Checkpoint::default()
        };
        checkpoint.marks[..4].copy_from_slice(&[40, 100, 160, 220]);
        assert_eq!(starts(&checkpoint, 200).collect::<Vec<_>>(), [100, 160]);
        assert_eq!(starts(&checkpoint, 100).count(), 0, "nothing is to be read again");
    }
}
