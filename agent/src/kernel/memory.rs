//! Giving memory back after start.
#![expect(unsafe_code, reason = "the allocator's own function is foreign")]

/// Returns memory that is free to the system. Parsing the kernel's type information takes about 80 MiB in small pieces,
/// which the C library would keep for the life of the agent (`malloc_trim(3)`; other C libraries have no such function,
/// and need none).
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: the function takes a number, is safe to be called from any thread, and touches free memory only.
    unsafe {
        libc::malloc_trim(0);
    }
}
