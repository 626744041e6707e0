//! Reads and writes of work space that the compiler must not do without, so that what the verifier cannot know stays so.

/// Reads memory of a work space for real, whatever the compiler believes to know about it.
#[inline(always)]
pub fn load<T: Copy>(place: &T) -> T {
    // SAFETY: a reference is valid for reads.
    unsafe { core::ptr::read_volatile(place) }
}

/// Writes memory of a work space for real.
#[inline(always)]
pub fn store<T: Copy>(place: &mut T, value: T) {
    // SAFETY: a mutable reference is valid for writes.
    unsafe { core::ptr::write_volatile(place, value) }
}

/// Sets a bit in memory of a work space.
#[inline(always)]
pub fn set(flags: &mut u8, bit: u8) {
    store(flags, load(flags) | bit);
}
