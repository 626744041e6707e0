//! Loading and attaching the kernel programs.

use std::io::Read as _;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::path::Path;

use agent_common::hash::HashKey;
use agent_common::settings::Settings;
use aya::maps::{MapData, RingBuf};
use aya::programs::{Iter, Program, ProgramError, RawTracePoint};
use aya::{Btf, Ebpf, EbpfError, EbpfLoader};

use super::btf::{BtfError, KernelTypes, VMLINUX};
use super::maps::{self, Maps, MapsError};

/// The object that `cargo xtask build` made; empty if this binary was built without it.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/driftlock.o"));

/// Raw tracepoints, each with the program of the same name, in the order in which they are attached: a task's fate must
/// be followed before its exec is judged.
pub const TRACEPOINTS: &[&str] = &[
    "sched_process_exit",
    "sched_process_fork",
    "cgroup_attach_task",
    "cgroup_rmdir",
    "cgroup_mkdir",
    "sched_process_exec",
];

/// The iterator over existing tasks.
const ITERATOR: &str = "iterate_tasks";

/// The loaded programs. Everything detaches when it is dropped.
pub struct Kernel {
    ebpf: Ebpf,
    /// Programs whose attachment succeeded.
    attached: Vec<&'static str>,
    /// The secret that this load's hashes are keyed with.
    pub hash_key: HashKey,
}

/// What [`Kernel::load`] gives: programs, maps and records, each for its owner.
pub struct Loaded {
    /// The programs.
    pub kernel: Kernel,
    /// The maps.
    pub maps: Maps,
    /// The records.
    pub events: RingBuf<MapData>,
}

/// A kernel program, as `status` shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hook {
    /// Name of the program and of its tracepoint.
    pub name: &'static str,
    /// Whether it is attached.
    pub attached: bool,
    /// How often it was called and not run; `None` where the kernel does not tell.
    pub missed: Option<u64>,
}

/// Where cgroup ids come from and what new containers start with: [`Settings`] without what is drawn at load.
#[derive(Clone, Debug, Default)]
pub struct LoadOptions {
    /// [`agent_common::settings::CGROUP_V2`] or [`agent_common::settings::CGROUP_V1`].
    pub cgroup_source: u32,
    /// For v1: `hierarchy_id` and the controller by which to find it.
    pub cgroup_v1: Option<(u32, String)>,
    /// `CONTAINER_*` bits of new containers.
    pub pending_flags: u32,
    /// Level of the programs' own log: 0 for none (then it costs nothing) to 5 for all.
    pub log_level: u8,
    /// For tests: see [`Settings::stale_generation`].
    pub stale_generation: bool,
    /// For tests: see [`Settings::no_reread`].
    pub no_reread: bool,
}

/// The kernel programs could not be loaded or attached.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// No object is embedded.
    #[error("this binary was built without the kernel programs; build it with `cargo xtask build`")]
    NoObject,
    /// No BTF.
    #[error(transparent)]
    Types(#[from] BtfError),
    /// The loader's own view of BTF failed.
    #[error("cannot load the kernel's type information")]
    Btf(#[source] Box<aya::BtfError>),
    /// No random bytes.
    #[error("cannot draw the secret for the path hash")]
    Random(#[source] std::io::Error),
    /// The object was refused.
    #[error("cannot load the kernel object (it needs CAP_BPF and CAP_PERFMON, or root)")]
    Object(#[source] Box<EbpfError>),
    /// A program was refused.
    #[error("cannot {operation} kernel program `{program}`")]
    Program {
        /// `load` or `attach`.
        operation: &'static str,
        /// Its name.
        program: &'static str,
        /// Why not, with the verifier's log if it was the verifier.
        source: Box<ProgramError>,
    },
    /// A program is not in the object.
    #[error("the kernel object has no program `{program}`")]
    MissingProgram {
        /// Its name.
        program: &'static str,
    },
    /// The task iterator could not be read.
    #[error("cannot iterate over the tasks that exist")]
    Iterate(#[source] std::io::Error),
    /// A map failed.
    #[error(transparent)]
    Maps(#[from] MapsError),
}

impl Kernel {
    /// Loads all programs and attaches none.
    pub fn load(options: &LoadOptions) -> Result<Loaded, LoadError> {
        if OBJECT.is_empty() {
            return Err(LoadError::NoObject);
        }
        let types = KernelTypes::read(Path::new(VMLINUX))?;
        let offsets = types.offsets()?;
        let hash_key = draw_key().map_err(LoadError::Random)?;
        let (cgroup_hierarchy, cgroup_subsystem) = match &options.cgroup_v1 {
            Some((hierarchy, controller)) => (*hierarchy, types.subsystem(controller)?),
            None => (0, 0),
        };
        let settings = Settings {
            hash_key,
            cgroup_source: options.cgroup_source,
            cgroup_hierarchy,
            cgroup_subsystem,
            pending_flags: options.pending_flags,
            has_task_registers: u32::from(
                cfg!(target_arch = "x86_64") && types.has_function("bpf_task_pt_regs"),
            ),
            stale_generation: u32::from(options.stale_generation),
            no_reread: u32::from(options.no_reread),
            reserved: 0,
        };
        let btf = Btf::from_sys_fs().map_err(|error| LoadError::Btf(Box::new(error)))?;
        let mut ebpf = EbpfLoader::new()
            .btf(Some(&btf))
            .override_global("OFFSETS", &offsets, true)
            .override_global("SETTINGS", &settings, true)
            .override_global(aya_log::LEVEL, &options.log_level, false)
            .load(OBJECT)
            .map_err(|error| LoadError::Object(Box::new(error)))?;
        for &program in TRACEPOINTS {
            tracepoint(&mut ebpf, program)?
                .load()
                .map_err(failed("load", program))?;
        }
        iterator(&mut ebpf)?
            .load("task", &btf)
            .map_err(failed("load", ITERATOR))?;
        let maps = Maps::new(&mut ebpf)?;
        let events = maps::events(&mut ebpf)?;
        Ok(Loaded {
            kernel: Self {
                ebpf,
                attached: Vec::new(),
                hash_key,
            },
            maps,
            events,
        })
    }

    /// Attaches the tracepoints, in the order of [`TRACEPOINTS`].
    pub fn attach(&mut self) -> Result<(), LoadError> {
        for &program in TRACEPOINTS {
            tracepoint(&mut self.ebpf, program)?
                .attach(program)
                .map_err(failed("attach", program))?;
            self.attached.push(program);
        }
        Ok(())
    }

    /// Lets the kernel note the host's root, and the state of processes that are in containers already. To be called
    /// after the containers that run were entered; calling it again does no harm.
    pub fn iterate_tasks(&mut self) -> Result<(), LoadError> {
        let program = iterator(&mut self.ebpf)?;
        let link = program.attach().map_err(failed("attach", ITERATOR))?;
        let link = program.take_link(link).map_err(failed("attach", ITERATOR))?;
        let mut file = link
            .into_file()
            .map_err(|error| LoadError::Iterate(std::io::Error::other(error)))?;
        // Reading drives the iteration; the program writes nothing.
        let mut output = Vec::new();
        file.read_to_end(&mut output).map_err(LoadError::Iterate)?;
        Ok(())
    }

    /// The programs that are to be attached, and how each is.
    #[must_use]
    pub fn hooks(&self) -> Vec<Hook> {
        let hook = |name: &'static str| Hook {
            name,
            attached: self.attached.contains(&name),
            missed: self.missed(name),
        };
        TRACEPOINTS.iter().copied().map(hook).collect()
    }

    /// How many instructions the verifier went through for each program; empty before Linux 5.16, which does not tell.
    #[must_use]
    pub fn verified_instructions(&self) -> Vec<(&'static str, u32)> {
        let count = |name: &str| self.ebpf.program(name)?.info().ok()?.verified_instruction_count();
        TRACEPOINTS
            .iter()
            .chain([&ITERATOR])
            .filter_map(|&name| Some((name, count(name)?)))
            .collect()
    }

    /// How often the kernel did not run a program, because it was running on that CPU already (Linux 5.12 and later).
    fn missed(&self, program: &str) -> Option<u64> {
        let Some(Program::RawTracePoint(program)) = self.ebpf.program(program) else {
            return None;
        };
        let descriptor = program.fd().ok()?.as_fd().as_raw_fd();
        let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{descriptor}")).ok()?;
        info.lines()
            .find_map(|line| line.strip_prefix("recursion_misses:")?.trim().parse().ok())
    }

    /// The programs' own log, to be flushed when it is readable.
    pub fn logger(&mut self) -> Result<aya_log::EbpfLogger<&'static dyn log::Log>, aya_log::Error> {
        aya_log::EbpfLogger::init(&mut self.ebpf)
    }
}

fn failed(operation: &'static str, program: &'static str) -> impl FnOnce(ProgramError) -> LoadError {
    move |source| LoadError::Program {
        operation,
        program,
        source: Box::new(source),
    }
}

fn tracepoint<'a>(ebpf: &'a mut Ebpf, program: &'static str) -> Result<&'a mut RawTracePoint, LoadError> {
    ebpf.program_mut(program)
        .ok_or(LoadError::MissingProgram { program })?
        .try_into()
        .map_err(failed("open", program))
}

fn iterator(ebpf: &mut Ebpf) -> Result<&mut Iter, LoadError> {
    let program = ebpf
        .program_mut(ITERATOR)
        .ok_or(LoadError::MissingProgram { program: ITERATOR })?;
    program.try_into().map_err(failed("open", ITERATOR))
}

/// 128 bits from the system's random source.
fn draw_key() -> std::io::Result<HashKey> {
    let mut bytes = [0; 16];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytemuck::cast(bytes))
}

/// Whether this binary has the kernel programs in it.
#[must_use]
pub fn has_object() -> bool {
    !OBJECT.is_empty()
}
