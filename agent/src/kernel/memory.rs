//! Memory: what the kernel holds for this agent, and giving back what is no longer used.
//!
//! Input: none. Output: bytes. Failure: none; what an allocator cannot do is left undone.
#![expect(
    unsafe_code,
    reason = "the allocator's own function is foreign, and giving mappings back is unsafe"
)]

use rustix::mm::{Advice, madvise};

/// Has all threads take memory from one heap. The engine takes nearly all, and moves between threads: each would keep in a heap of its
/// own what the others could use (`mallopt(3)`; other C libraries are left as they are). To be called before there is a second thread.
pub fn share() {
    #[cfg(target_env = "gnu")]
    // SAFETY: the function takes numbers, and changes what later allocations do.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}

/// Returns memory to the system: what is free, and the program's own code, of which what is needed again comes back from the page cache when it
/// is touched.
///
/// Parsing the kernel's type information takes about 80 MiB in small pieces, which the C library would keep for the life of the agent
/// (`malloc_trim(3)`; other C libraries have no such function, and need none). Starting runs through code that is
/// not needed again.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: the function takes a number, is safe to be called from any thread, and touches free memory only.
    unsafe {
        libc::malloc_trim(0);
    }
    let here = give_back as fn() as usize;
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    if let Some((start, end)) = code_around(&maps, here) {
        // SAFETY: pages of a file, mapped privately and never written: the kernel maps the same bytes again when they are touched.
        // Where it does not, nothing has changed.
        let _ = unsafe { madvise(start as *mut _, end - start, Advice::LinuxDontNeed) };
    }
}

/// The mapping of a file around an address, if it is code that cannot be written; `maps` is as `/proc/self/maps` has it
/// (`proc_pid_maps(5)`).
fn code_around(maps: &str, address: usize) -> Option<(usize, usize)> {
    let mapping = |line: &str| {
        let mut fields = line.split_ascii_whitespace();
        let (start, end) = fields.next()?.split_once('-')?;
        let hexadecimal = |text| usize::from_str_radix(text, 16).ok();
        let (start, end) = (hexadecimal(start)?, hexadecimal(end)?);
        let is_code = fields.next()? == "r-xp";
        let is_file = fields.nth(2)? != "0";
        (is_code && is_file && (start..end).contains(&address)).then_some((start, end))
    };
    maps.lines().find_map(mapping)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_is_found_and_nothing_else() {
        let maps = "1000-2000 r--p 00000000 fe:00 7 /bin/x\n2000-4000 r-xp 00001000 fe:00 7 /bin/x\n\
                    4000-5000 rw-p 00003000 fe:00 7 /bin/x\n6000-7000 r-xp 00000000 00:00 0 [vdso]\nnonsense";
        assert_eq!(code_around(maps, 0x2000), Some((0x2000, 0x4000)));
        for elsewhere in [0x1000, 0x4000, 0x6000, 0x8000] {
            assert_eq!(code_around(maps, elsewhere), None, "{elsewhere:x}");
        }
    }

    #[test]
    fn the_program_goes_on_without_its_code_in_memory() {
        let maps = std::fs::read_to_string("/proc/self/maps").expect("readable");
        assert!(code_around(&maps, give_back as fn() as usize).is_some(), "{maps}");
        give_back();
        assert_eq!("1000".parse::<u32>(), Ok(1000));
    }
}
