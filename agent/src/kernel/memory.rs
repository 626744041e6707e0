//! Memory: what the kernel holds for this agent, and giving back what is no longer used.
//!
//! Input: none. Output: bytes. Failure: none; what an allocator cannot do is left undone.
#![expect(unsafe_code, reason = "the allocator's own function is foreign")]

/// Has all threads take memory from one heap. The engine takes nearly all, and moves between threads: each would keep in a heap of its
/// own what the others could use (`mallopt(3)`; other C libraries are left as they are). To be called before there is a second thread.
pub fn share() {
    #[cfg(target_env = "gnu")]
    // SAFETY: the function takes numbers, and changes what later allocations do.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}

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

/// Bytes that the kernel holds for the maps of this process, as it accounts for them (`memlock` in `/proc/self/fdinfo`);
/// maps that grow on demand are counted as they are now. `None` if the descriptors cannot be listed.
#[must_use]
pub fn of_maps() -> Option<u64> {
    let descriptors = std::fs::read_dir("/proc/self/fdinfo").ok()?;
    let bytes = descriptors
        .flatten()
        .filter_map(|entry| std::fs::read_to_string(entry.path()).ok())
        .filter(|info| info.contains("map_type:"))
        .filter_map(|info| {
            let line = info.lines().find_map(|line| line.strip_prefix("memlock:"))?;
            line.trim().parse::<u64>().ok()
        })
        .sum();
    Some(bytes)
}
