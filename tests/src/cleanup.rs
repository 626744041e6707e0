//! Leaves the machine as it was found: run directories, and what may still hang on them.
//!
//! All of a test process lies in one run directory below `/tmp/driftlock-tests`, named after the process. [`remove`]
//! ends what runs from such a directory, whoever started it and however its owner died: it is called when a runtime
//! is dropped, when the process exits, and for every directory whose owner is gone ([`sweep`]). Only processes that
//! name the directory in their command line, have their root filesystem there, or are in the cgroup of a container recorded in it,
//! are ended.
//! Nothing here fails a test: what could not be removed is told on standard error.

use std::ffi::{OsStr, OsString};
use std::fs::{File, TryLockError};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, Once, OnceLock};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::environment::patience;

/// Directory of all run directories. Short, because paths of sockets are limited to 107 bytes.
const BASE: &str = "/tmp/driftlock-tests";

/// Where the runtimes create containers' cgroups, at the top of each hierarchy.
const PARENTS: [&str; 4] = ["docker", "libpod_parent", "kubepods", PLAIN];

/// The namespace of containerd in which tests put what is neither Docker's nor Kubernetes', and so its cgroup.
pub const PLAIN: &str = "driftlock-plain";

/// Held by the test process that has containers.
const LOCK_FILE: &str = "/tmp/driftlock-tests.lock";

/// Set in a process that is part of a test whose process holds the lock.
pub const NO_TURNS: &str = "DRIFTLOCK_TEST_NO_TURNS";

/// Directories that are removed when the process exits.
static REGISTERED: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// Makes a new run directory for this process, after sweeping what earlier processes left.
pub fn run_directory() -> anyhow::Result<PathBuf> {
    static FIRST: Once = Once::new();
    FIRST.call_once(|| {
        take_turns();
        sweep();
        #[expect(
            unsafe_code,
            reason = "statics are never dropped, and there is no safe atexit"
        )]
        // SAFETY: the function is not unwound through: it catches panics.
        unsafe {
            libc::atexit(remove_registered);
        }
    });
    let owner = std::process::id();
    std::fs::create_dir_all(BASE)?;
    for number in 0.. {
        let directory = Path::new(BASE).join(format!("{owner}-{number}"));
        match std::fs::create_dir(&directory) {
            Ok(()) => {
                std::fs::write(directory.join("owner"), started(owner).unwrap_or_default())?;
                registered().push(directory.clone());
                return Ok(directory);
            }
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error.into()),
        }
    }
    unreachable!("numbers do not end")
}

/// Waits until no other test process has containers, for the rest of this process's life: an agent sees all containers
/// of the machine. Where the lock cannot be had, the tests run without it.
fn take_turns() {
    static LOCK: OnceLock<File> = OnceLock::new();
    if std::env::var_os(NO_TURNS).is_some() {
        return;
    }
    let Ok(lock) = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(LOCK_FILE)
    else {
        return;
    };
    if let Err(TryLockError::WouldBlock) = lock.try_lock() {
        eprintln!("waiting for the tests of another process to end");
        if let Err(error) = lock.lock() {
            eprintln!("{LOCK_FILE}: {error}");
        }
    }
    let _ = LOCK.set(lock);
}

/// Ends and removes all that belongs to a run directory.
pub fn remove(directory: &Path) {
    registered().retain(|registered| registered != directory);
    let mut cgroups = container_cgroups(directory);
    let own = hierarchies()
        .into_iter()
        .map(|hierarchy| hierarchy.join(cgroup_name(directory)));
    cgroups.extend(own.filter(|cgroup| cgroup.is_dir()));
    // Those of containers that their runtime forgot.
    for process in processes_of(directory) {
        cgroups.extend(cgroups_of(process).into_iter().filter(|cgroup| cgroup.is_dir()));
    }
    let deadline = Instant::now() + patience(Duration::from_secs(10));
    loop {
        let mut left = processes_of(directory);
        left.extend(cgroups.iter().flat_map(|cgroup| processes_in(cgroup)));
        if left.is_empty() || Instant::now() > deadline {
            break;
        }
        for process in left {
            let _ = kill_process(process, Signal::KILL);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    for mount in mounts_below(directory) {
        if let Err(error) = rustix::mount::unmount(&mount, rustix::mount::UnmountFlags::DETACH) {
            eprintln!("cleanup: cannot unmount {}: {error}", mount.display());
        }
    }
    for cgroup in &cgroups {
        remove_cgroup(cgroup);
        // A pod's goes with the last of its containers.
        if let Some(parent) = cgroup.parent().filter(|parent| is_pod(parent)) {
            let _ = std::fs::remove_dir(parent);
        }
    }
    match std::fs::remove_dir_all(directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            eprintln!("cleanup: cannot remove {}: {error}", directory.display());
        }
        _ => {}
    }
}

/// Removes the run directories whose owners are gone, and ends what still runs from one that has been removed.
pub fn sweep() {
    let entries = std::fs::read_dir(BASE).into_iter().flatten().flatten();
    let mut directories: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    directories.extend(processes().into_iter().filter_map(directory_of_root));
    directories.sort();
    directories.dedup();
    for directory in directories {
        let owner = directory
            .file_name()
            .and_then(OsStr::to_str)
            .and_then(|name| name.split('-').next()?.parse().ok());
        let recorded = std::fs::read(directory.join("owner")).unwrap_or_default();
        let alive = owner
            .and_then(started)
            .is_some_and(|started| recorded.is_empty() || started == recorded);
        if !alive {
            remove(&directory);
        }
    }
}

extern "C" fn remove_registered() {
    let _ = std::panic::catch_unwind(|| {
        let directories = std::mem::take(&mut *registered());
        for directory in &directories {
            remove(directory);
        }
        // Fails while another test process has its directory here.
        let _ = std::fs::remove_dir(BASE);
    });
}

fn registered() -> std::sync::MutexGuard<'static, Vec<PathBuf>> {
    REGISTERED
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// When a process started, in the kernel's own words: with the process id, its identity.
fn started(process: u32) -> Option<Vec<u8>> {
    let stat = std::fs::read(format!("/proc/{process}/stat")).ok()?;
    let after_name = stat.iter().rposition(|byte| *byte == b')')?;
    stat[after_name..]
        .split(|byte| *byte == b' ')
        .nth(20)
        .map(<[u8]>::to_vec)
}

/// Processes other than this one that name the directory in their command line, or whose root filesystem is made of what lies
/// there: a container's, also one that its runtime forgot.
fn processes_of(directory: &Path) -> Vec<Pid> {
    let needle = directory.as_os_str().as_bytes();
    processes()
        .into_iter()
        .filter(|process| {
            let line = std::fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
            let names_it = line
                .windows(needle.len() + 1)
                .any(|part| part.starts_with(needle) && !part[needle.len()].is_ascii_digit());
            names_it || directory_of_root(*process).as_deref() == Some(directory)
        })
        .filter_map(Pid::from_raw)
        .collect()
}

/// All processes but this one.
fn processes() -> Vec<i32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter(|process| process.unsigned_abs() != std::process::id())
        .collect()
}

/// The run directory in which a process's root filesystem is.
fn directory_of_root(process: i32) -> Option<PathBuf> {
    let mounts = std::fs::read_to_string(format!("/proc/{process}/mounts")).ok()?;
    let root = mounts.lines().find(|line| line.split(' ').nth(1) == Some("/"))?;
    let (_, below) = root.split_once(BASE)?;
    let name = below.strip_prefix('/')?.split('/').next()?;
    Some(Path::new(BASE).join(name))
}

/// The cgroup directories of a process that a runtime created.
fn cgroups_of(process: Pid) -> Vec<PathBuf> {
    let text = std::fs::read_to_string(format!("/proc/{}/cgroup", process.as_raw_nonzero()));
    let text = text.unwrap_or_default();
    let places: Vec<&str> = text
        .lines()
        .filter_map(|line| line.splitn(3, ':').nth(2)?.strip_prefix('/'))
        .filter(|place| {
            place
                .split_once('/')
                .is_some_and(|(top, _)| PARENTS.contains(&top))
        })
        .collect();
    hierarchies()
        .iter()
        .flat_map(|hierarchy| places.iter().map(|place| hierarchy.join(place)))
        .collect()
}

/// The cgroup directories, of all hierarchies, of the containers that a run directory's runtime knows.
fn container_cgroups(directory: &Path) -> Vec<PathBuf> {
    // Docker's, Podman's and containerd's records, each with a directory per container that is named by its id.
    let ids: Vec<String> = [
        "data/containers",
        "data/overlay-containers",
        "state/io.containerd.runtime.v2.task/k8s.io",
        "state/io.containerd.runtime.v2.task/driftlock-plain",
        "state/io.containerd.grpc.v1.cri/containers",
        "state/io.containerd.grpc.v1.cri/sandboxes",
    ]
    .iter()
    .filter_map(|place| std::fs::read_dir(directory.join(place)).ok())
    .flat_map(|entries| entries.flatten().map(|entry| entry.file_name()))
    .filter_map(|name| name.into_string().ok())
    .filter(|name| name.len() >= 64)
    .collect();
    let mut found = Vec::new();
    if !ids.is_empty() {
        for parent in PARENTS {
            for hierarchy in hierarchies() {
                collect_cgroups(&hierarchy.join(parent), &ids, 3, &mut found);
            }
        }
    }
    found
}

/// The cgroups below `parent`, down to so many levels, whose names hold one of the ids.
fn collect_cgroups(parent: &Path, ids: &[String], levels: u32, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(parent).into_iter().flatten().flatten() {
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        let name = entry.file_name();
        let is_one = |name: &str| ids.iter().any(|id| name.contains(id.as_str()));
        if name.to_str().is_some_and(is_one) {
            found.push(entry.path());
        } else if levels > 1 {
            collect_cgroups(&entry.path(), ids, levels - 1, found);
        }
    }
}

/// Removes a cgroup and those below it that hold no process. What is in use stays.
pub fn remove_empty(cgroup: &Path) {
    for below in std::fs::read_dir(cgroup).into_iter().flatten().flatten() {
        if below.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_empty(&below.path());
        }
    }
    let _ = std::fs::remove_dir(cgroup);
}

/// The roots of the cgroup hierarchies that this process sees.
#[must_use]
pub fn hierarchies() -> Vec<PathBuf> {
    std::fs::read_to_string("/proc/self/mounts")
        .unwrap_or_default()
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ').skip(1);
            let (path, kind) = (fields.next()?, fields.next()?);
            matches!(kind, "cgroup" | "cgroup2").then(|| PathBuf::from(path))
        })
        .collect()
}

/// The name of the cgroup that belongs to a run directory, if it has one: of a service manager of its own.
#[must_use]
pub fn cgroup_name(directory: &Path) -> OsString {
    let mut name = OsString::from("driftlock-tests-");
    name.push(directory.file_name().unwrap_or_default());
    name
}

/// The processes in a cgroup and in those below it.
fn processes_in(cgroup: &Path) -> Vec<Pid> {
    let text = std::fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
    let mut found: Vec<Pid> = text
        .lines()
        .filter_map(|line| Pid::from_raw(line.parse().ok()?))
        .collect();
    for below in std::fs::read_dir(cgroup).into_iter().flatten().flatten() {
        if below.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.extend(processes_in(&below.path()));
        }
    }
    found
}

/// Mounts below a directory, the last one first.
fn mounts_below(directory: &Path) -> Vec<PathBuf> {
    let mut mounts: Vec<PathBuf> = std::fs::read_to_string("/proc/self/mounts")
        .unwrap_or_default()
        .lines()
        .filter_map(|line| line.split(' ').nth(1).map(PathBuf::from))
        .filter(|path| path.starts_with(directory))
        .collect();
    mounts.reverse();
    mounts
}

fn is_pod(cgroup: &Path) -> bool {
    cgroup
        .file_name()
        .is_some_and(|name| name.as_bytes().starts_with(b"pod"))
}

/// Removes a cgroup and those below it. A process that is still dying keeps it busy for a moment.
fn remove_cgroup(cgroup: &Path) {
    for below in std::fs::read_dir(cgroup).into_iter().flatten().flatten() {
        if below.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_cgroup(&below.path());
        }
    }
    for _ in 0..100 {
        match std::fs::remove_dir(cgroup) {
            Err(error) if error.kind() == std::io::ErrorKind::ResourceBusy => {
                std::thread::sleep(Duration::from_millis(20));
            }
            _ => return,
        }
    }
    eprintln!("cleanup: {} is still busy", cgroup.display());
}
