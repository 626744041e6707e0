//! The programs that only see what happens: opened files, renames and links where no LSM hook decides about them, capabilities, and
//! system calls.
//!
//! Input: the loaded object, and a domain. Output: attached programs. Failure: what cannot be attached is a reason that the
//! tier of its domain gives; the agent runs without it.
//!
//! A tracepoint at a system call slows every system call of the machine, so those are attached only while they are needed: the
//! programs are loaded once, and attached and taken away again as modes change.

use std::path::Path;

use agent_common::domain::Domain;
use aya::programs::kprobe::KProbeLink;
use aya::programs::links::FdLink;
use aya::programs::trace_point::TracePointLink;
use aya::programs::{BtfTracePoint, KProbe, ProgramError, TracePoint};
use aya::{Btf, Ebpf};

use super::error::{LoadError, failed, missing};
use super::hook::HookKind;

/// Programs, and the tracepoints of category `syscalls` that each is attached to.
pub const SYSTEM_CALLS: &[(&str, &[&str])] = &[
    (
        "sys_exit_open",
        &[
            "sys_exit_openat",
            "sys_exit_openat2",
            "sys_exit_open",
            "sys_exit_creat",
        ],
    ),
    (
        "sys_exit_rename",
        &[
            "sys_exit_rename",
            "sys_exit_renameat",
            "sys_exit_renameat2",
            "sys_exit_link",
            "sys_exit_linkat",
            "sys_exit_symlink",
            "sys_exit_symlinkat",
        ],
    ),
];

/// The program that sees capabilities, on Linux 6.14 and later.
const CAPABILITIES: &str = "cap_capable";
/// The one that sees them before that, and the function that it is attached to.
const CAPABILITIES_BEFORE: (&str, &str) = ("cap_capable_entered", "cap_capable");

/// Both.
pub const CAPABILITY_PROGRAMS: [&str; 2] = [CAPABILITIES, CAPABILITIES_BEFORE.0];

/// The program that sees system calls.
pub const SYSTEM_CALL_PROGRAM: &str = "sys_enter";

/// Where the kernel shows its tracepoints.
const TRACEFS: &str = "/sys/kernel/tracing";
const TRACEFS_BEFORE: &str = "/sys/kernel/debug/tracing";

/// An attached hook.
pub struct Attached {
    /// What it is attached to.
    pub hook: &'static str,
    /// The program.
    pub program: &'static str,
    /// Of what kind.
    pub kind: HookKind,
    /// What holds it.
    pub link: Link,
}

/// What holds a program at its hook.
pub enum Link {
    /// Can be pinned.
    Fd(FdLink),
    /// Cannot: before Linux 5.15.
    #[expect(dead_code, reason = "it is held, never looked at")]
    Event(TracePointLink),
    /// The same, of a probe.
    #[expect(dead_code, reason = "as above")]
    Probe(KProbeLink),
}

/// Loads the programs that need the kernel's types, which are not kept: those of domains cap and syscall.
pub fn load(ebpf: &mut Ebpf, btf: &Btf, domain: Domain) -> Result<(), LoadError> {
    if domain == Domain::Syscall {
        return load_typed(ebpf, btf, SYSTEM_CALL_PROGRAM);
    }
    load_typed(ebpf, btf, CAPABILITIES).or_else(|error| {
        tracing::debug!(
            error = &error as &dyn std::error::Error,
            "the kernel has no tracepoint for capabilities"
        );
        let name = CAPABILITIES_BEFORE.0;
        let program: &mut KProbe = program(ebpf, name)?;
        program.load().map_err(failed("load", name))
    })
}

fn load_typed(ebpf: &mut Ebpf, btf: &Btf, name: &'static str) -> Result<(), LoadError> {
    let program: &mut BtfTracePoint = program(ebpf, name)?;
    program.load(name, btf).map_err(failed("load", name))
}

/// Attaches the programs that see `domain`.
pub fn attach(ebpf: &mut Ebpf, domain: Domain) -> Result<Vec<Attached>, LoadError> {
    match domain {
        Domain::File => files(ebpf),
        Domain::Syscall => typed(ebpf, SYSTEM_CALL_PROGRAM).map(|attached| vec![attached]),
        _ => {
            let tracepoint: &mut BtfTracePoint = program(ebpf, CAPABILITIES)?;
            if tracepoint.fd().is_ok() {
                typed(ebpf, CAPABILITIES)
            } else {
                probed(ebpf)
            }
            .map(|attached| vec![attached])
        }
    }
}

fn typed(ebpf: &mut Ebpf, name: &'static str) -> Result<Attached, LoadError> {
    let program: &mut BtfTracePoint = program(ebpf, name)?;
    let link = program
        .attach()
        .and_then(|link| program.take_link(link))
        .map_err(failed("attach", name))?;
    Ok(Attached {
        hook: name,
        program: name,
        kind: HookKind::RawTracepoint,
        link: Link::Fd(link.into()),
    })
}

fn probed(ebpf: &mut Ebpf) -> Result<Attached, LoadError> {
    let (name, function) = CAPABILITIES_BEFORE;
    let program: &mut KProbe = program(ebpf, name)?;
    let link = program
        .attach(function, 0)
        .and_then(|link| program.take_link(link))
        .map_err(failed("attach", name))?;
    let link = if has_pinnable_events() {
        Link::Fd(FdLink::try_from(link).map_err(|source| LoadError::Link {
            hook: name,
            source: Box::new(source),
        })?)
    } else {
        Link::Probe(link)
    };
    Ok(Attached {
        hook: name,
        program: name,
        kind: HookKind::Probe,
        link,
    })
}

fn files(ebpf: &mut Ebpf) -> Result<Vec<Attached>, LoadError> {
    show_tracepoints()?;
    let mut attached = Vec::new();
    for &(name, hooks) in SYSTEM_CALLS {
        let program: &mut TracePoint = program(ebpf, name)?;
        if program.fd().is_err() {
            program.load().map_err(failed("load", name))?;
        }
        for &hook in hooks {
            let link = program
                .attach("syscalls", hook)
                .and_then(|link| program.take_link(link))
                .map_err(failed("attach", hook))?;
            attached.push(Attached {
                hook,
                program: name,
                kind: HookKind::Tracepoint,
                link: held(link),
            });
        }
    }
    Ok(attached)
}

fn held(link: TracePointLink) -> Link {
    // The conversion gives nothing back where it fails; whether it will is told by the kernel's version of the link.
    if has_pinnable_events() {
        match FdLink::try_from(link) {
            Ok(link) => Link::Fd(link),
            Err(error) => unreachable!("a link of this kernel is one with a descriptor: {error}"),
        }
    } else {
        Link::Event(link)
    }
}

/// Whether the kernel has links for events of `perf`: Linux 5.15 and later.
fn has_pinnable_events() -> bool {
    let release = rustix::system::uname();
    let release = release.release().to_string_lossy();
    let mut numbers = release
        .split(|symbol: char| !symbol.is_ascii_digit())
        .map(str::parse);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) >= (5_u32, 15_u32),
        _ => false,
    }
}

/// Sees to it that the file system of tracepoints is there: their numbers are read from it.
pub fn show_tracepoints() -> Result<(), LoadError> {
    let is_there = |root: &str| Path::new(root).join("events/syscalls").is_dir();
    if is_there(TRACEFS) || is_there(TRACEFS_BEFORE) {
        return Ok(());
    }
    rustix::mount::mount(
        "tracefs",
        TRACEFS,
        "tracefs",
        rustix::mount::MountFlags::NOSUID
            | rustix::mount::MountFlags::NODEV
            | rustix::mount::MountFlags::NOEXEC,
        None::<&std::ffi::CStr>,
    )
    .map_err(|error| LoadError::Tracefs(error.into()))?;
    tracing::info!(
        at = TRACEFS,
        "mounted tracefs: the numbers of tracepoints are read from it"
    );
    Ok(())
}

fn program<'a, T>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<&'a mut T, LoadError>
where
    &'a mut T: TryFrom<&'a mut aya::programs::Program, Error = ProgramError>,
{
    ebpf.program_mut(name)
        .ok_or_else(|| missing(name))?
        .try_into()
        .map_err(failed("open", name))
}
