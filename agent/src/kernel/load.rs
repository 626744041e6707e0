//! Loading and attaching the kernel programs.

use std::collections::{HashMap, HashSet};
use std::io::Read as _;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::path::{Path, PathBuf};

use agent_common::domain::Domain;
use agent_common::hash::HashKey;
use agent_common::task::{TASKS_MAX, TASKS_PER_ELEMENT};
use aya::maps::{MapData, RingBuf};
use aya::programs::links::FdLink;
use aya::programs::{BtfTracePoint, Iter, Lsm, Program, ProgramError, RawTracePoint};
use aya::{Btf, Ebpf, EbpfLoader};

use super::btf::{KernelTypes, VMLINUX};
use super::error::{LoadError, chain, failed, missing, refusal};
use super::hook::{Hook, HookKind};
use super::maps::{self, CheckpointMap, Maps};
use super::observe;
use super::pin::{PinDirectory, PinError};
use super::ring::{Rewound, RingPositions};
use super::settings::{LoadOptions, settings};
use super::tier::{Outcome, Proved};

/// The object that `cargo xtask build` made; empty if this binary was built without it.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/driftlock.o"));

/// Raw tracepoints, each with the program of the same name, in the order in which they are attached: a task's fate must
/// be followed before its exec is judged.
pub const TRACEPOINTS: &[(&str, Arguments)] = &[
    ("sched_process_exit", Arguments::Typed),
    ("sched_process_fork", Arguments::Typed),
    ("cgroup_attach_task", Arguments::Addresses),
    ("cgroup_rmdir", Arguments::Addresses),
    ("cgroup_mkdir", Arguments::Addresses),
    ("sched_process_exec", Arguments::Typed),
];

/// What a program at a raw tracepoint knows of its arguments. It is called in the same way and at the same price.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arguments {
    /// Addresses alone: what is there is read by helpers.
    Addresses,
    /// Their types, by BTF: the program reads them itself.
    Typed,
}

/// LSM programs, and the hook that each is for. They are attached after the tracepoints, of which the last is the second line behind
/// them. Each hook has one program, whatever domains are interested in it: a call of its own costs more than most of them do.
pub const LSM_HOOKS: &[(&str, &str)] = &[
    ("bprm_check_security", "bprm_check_security"),
    ("file_open", "file_open"),
    ("path_rename", "path_rename"),
    ("path_link", "path_link"),
    ("path_symlink", "path_symlink"),
    ("path_mknod", "path_mknod"),
    ("capable", "capable"),
    ("mmap_file", "mmap_file"),
    ("file_mprotect", "file_mprotect"),
];

/// The iterator that notes which tasks exist.
const TASKS_ITERATOR: &str = "iterate_tasks";
/// The iterator that tells whose slots are in use.
const SLOTS_ITERATOR: &str = "iterate_slots";

/// The loaded programs. What is not pinned detaches when it is dropped.
pub struct Kernel {
    ebpf: Ebpf,
    pins: Option<PinDirectory>,
    /// Until everything is attached: it takes 13 MiB.
    btf: Option<Btf>,
    /// Links that nothing but this holds: of hooks that are not pinned.
    links: HashMap<&'static str, observe::Link>,
    /// The hooks that only see, while they are attached.
    observers: Vec<Observer>,
    /// Why a domain has none.
    not_observed: Vec<(Domain, String)>,
    /// Pins of programs that this agent made; a program may be at several hooks.
    is_pinned_now: HashSet<PathBuf>,
    /// Hooks whose attachment succeeded.
    attached: Vec<&'static str>,
    /// Why the kernel takes no LSM programs; `None` if it took them.
    lsm_refused: Option<String>,
    outcome: Option<Outcome>,
    /// The secret that hashes are keyed with.
    pub hash_key: HashKey,
}

/// A hook that only sees.
struct Observer {
    domain: Domain,
    hook: &'static str,
    program: &'static str,
    kind: HookKind,
}

/// What [`Kernel::load`] gives: programs, maps and records, each for its owner.
pub struct Loaded {
    /// The programs.
    pub kernel: Kernel,
    /// The maps.
    pub maps: Maps,
    /// The records.
    pub events: RingBuf<MapData>,
    /// Where its reader and writers stand.
    pub positions: RingPositions,
    /// How far the daemon has come with them.
    pub checkpoint: CheckpointMap,
    /// What is read again of what the daemon before this one has read.
    pub rewound: Rewound,
}

impl Kernel {
    /// Loads all programs and attaches none. With `pins`, the maps are those that an earlier agent left there; or they are
    /// made, and pinned.
    pub fn load(options: &LoadOptions, pins: Option<PinDirectory>) -> Result<Loaded, LoadError> {
        if OBJECT.is_empty() {
            return Err(LoadError::NoObject);
        }
        let types = KernelTypes::read(Path::new(VMLINUX))?;
        let offsets = types.offsets()?;
        let inherited = pins.as_ref().filter(|pins| pins.is_inherited());
        let settings = settings(options, &types, inherited)?;
        let is_new = inherited.is_none();
        let btf = Btf::from_sys_fs().map_err(|error| LoadError::Btf(Box::new(error)))?;
        let mut loader = EbpfLoader::new();
        loader
            .btf(Some(&btf))
            .override_global("OFFSETS", &offsets, true)
            .override_global("SETTINGS", &settings, true)
            .override_global(aya_log::LEVEL, &options.log_level, false)
            .map_max_entries("TASKS", task_elements());
        if let Some(pins) = &pins {
            for &map in maps::NAMES {
                loader.map_pin_path(map, pins.map(map));
            }
        }
        let mut ebpf = loader
            .load(OBJECT)
            .map_err(|error| LoadError::Object(Box::new(error)))?;
        for &(program, arguments) in TRACEPOINTS {
            match arguments {
                Arguments::Addresses => tracepoint(&mut ebpf, program)?.load(),
                Arguments::Typed => typed_tracepoint(&mut ebpf, program)?.load(program, &btf),
            }
            .map_err(failed("load", program))?;
        }
        for name in [TASKS_ITERATOR, SLOTS_ITERATOR] {
            iterator(&mut ebpf, name)?
                .load("task", &btf)
                .map_err(failed("load", name))?;
        }
        let lsm_refused = if options.no_lsm {
            Some("LSM programs are switched off by the agent's environment".to_owned())
        } else {
            load_lsm(&mut ebpf, &btf)?
        };
        let mut maps = Maps::new(&mut ebpf)?;
        if is_new {
            maps.prepare(&settings)?;
        }
        let checkpoint = CheckpointMap::new(&mut ebpf)?;
        let positions = maps::positions(&ebpf)?;
        let rewound = if is_new {
            Rewound::default()
        } else {
            rewind(&positions, &checkpoint)?
        };
        let events = maps::events(&mut ebpf)?;
        Ok(Loaded {
            kernel: Self {
                ebpf,
                btf: Some(btf),
                pins,
                links: HashMap::new(),
                observers: Vec::new(),
                not_observed: Vec::new(),
                is_pinned_now: HashSet::new(),
                attached: Vec::new(),
                lsm_refused,
                outcome: None,
                hash_key: settings.hash_key,
            },
            maps,
            events,
            positions,
            checkpoint,
            rewound,
        })
    }

    /// Attaches the tracepoints, in the order of [`TRACEPOINTS`], and the LSM hooks. Where an earlier agent's programs are attached
    /// each is replaced without a moment in which none is.
    pub fn attach(&mut self) -> Result<(), LoadError> {
        for &(program, arguments) in TRACEPOINTS {
            let link = match arguments {
                Arguments::Addresses => {
                    let tracepoint = tracepoint(&mut self.ebpf, program)?;
                    let link = tracepoint.attach(program).map_err(failed("attach", program))?;
                    tracepoint.take_link(link).map(FdLink::from)
                }
                Arguments::Typed => {
                    let tracepoint = typed_tracepoint(&mut self.ebpf, program)?;
                    let link = tracepoint.attach().map_err(failed("attach", program))?;
                    tracepoint.take_link(link).map(FdLink::from)
                }
            };
            let link = link.map_err(failed("attach", program))?;
            self.keep(program, program, observe::Link::Fd(link))?;
        }
        if self.lsm_refused.is_none() {
            for &(program, _) in LSM_HOOKS {
                let hook = lsm(&mut self.ebpf, program)?;
                let link = hook.attach().map_err(failed("attach", program))?;
                let link = hook.take_link(link).map_err(failed("attach", program))?;
                self.keep(program, program, observe::Link::Fd(link.into()))?;
            }
        }
        if let Some(btf) = self.btf.take() {
            for domain in [Domain::Cap, Domain::Syscall] {
                if let Err(error) = observe::load(&mut self.ebpf, &btf, domain) {
                    self.cannot_observe(domain, &error);
                }
            }
        }
        self.observe(Domain::Cap)?;
        self.observe(Domain::Syscall)?;
        if self.lsm_refused.is_some() {
            self.observe(Domain::File)?;
        }
        if let Some(pins) = &self.pins {
            pins.remove_links_except(&self.attached)?;
        }
        Ok(())
    }

    /// Attaches what sees a domain without deciding, if it is not attached. What cannot be attached is a reason for `status` and `doctor`.
    pub fn observe(&mut self, domain: Domain) -> Result<(), LoadError> {
        if self.observes(domain) || self.not_observed.iter().any(|(of, _)| *of == domain) {
            return Ok(());
        }
        match observe::attach(&mut self.ebpf, domain) {
            Ok(attached) => {
                for observe::Attached {
                    hook,
                    program,
                    kind,
                    link,
                } in attached
                {
                    self.keep(hook, program, link)?;
                    self.observers.push(Observer {
                        domain,
                        hook,
                        program,
                        kind,
                    });
                }
            }
            Err(error) => self.cannot_observe(domain, &error),
        }
        Ok(())
    }

    /// Takes what only sees a domain away: nobody wants to know. Where an LSM hook decides about the domain, that stays.
    pub fn stop_observing(&mut self, domain: Domain) {
        let (gone, kept) = std::mem::take(&mut self.observers)
            .into_iter()
            .partition::<Vec<_>, _>(|observer| observer.domain == domain);
        self.observers = kept;
        for observer in gone {
            self.detach(observer.hook);
        }
    }

    /// Makes ready what observing files takes without LSM hooks: later the agent may not mount anything any more.
    pub fn prepare_to_observe(&self) {
        if self.has_lsm() {
            return;
        }
        if let Err(error) = observe::show_tracepoints() {
            // Whoever asks for it is told again.
            tracing::debug!(
                error = &error as &dyn std::error::Error,
                "files will not be observed"
            );
        }
    }

    /// Whether what only sees a domain is attached.
    #[must_use]
    pub fn observes(&self, domain: Domain) -> bool {
        self.observers.iter().any(|observer| observer.domain == domain)
    }

    fn cannot_observe(&mut self, domain: Domain, error: &LoadError) {
        let reason = chain(error);
        tracing::warn!(%domain, reason, "not observed");
        self.not_observed.push((domain, reason));
    }

    fn detach(&mut self, hook: &'static str) {
        self.links.remove(hook);
        self.attached.retain(|attached| *attached != hook);
        if let Some(pins) = &self.pins
            && let Err(error) = pins.remove_link(hook)
        {
            tracing::warn!(error = &error as &dyn std::error::Error, hook, "stays attached");
        }
    }

    /// Takes the LSM hooks, which the kernel never calls, away, and attaches what sees instead.
    pub fn observe_instead_of_lsm(&mut self) -> Result<(), LoadError> {
        for &(hook, _) in LSM_HOOKS {
            self.detach(hook);
        }
        self.observe(Domain::File)
    }

    /// Whether LSM hooks are attached.
    #[must_use]
    pub fn has_lsm(&self) -> bool {
        LSM_HOOKS.iter().any(|(hook, _)| self.attached.contains(hook))
    }

    fn keep(
        &mut self,
        hook: &'static str,
        program: &'static str,
        link: observe::Link,
    ) -> Result<(), LoadError> {
        match (&self.pins, link) {
            (Some(pins), observe::Link::Fd(link)) => {
                let path = pins.program(program)?;
                let program = self.ebpf.program_mut(program).ok_or_else(|| missing(program))?;
                if !path.exists() || !self.is_pinned_now.contains(&path) {
                    program.pin(&path).map_err(|source| PinError::Pin {
                        path: path.clone(),
                        source: Box::new(source),
                    })?;
                    self.is_pinned_now.insert(path);
                }
                pins.replace_link(hook, link)?;
            }
            (_, link) => {
                self.links.insert(hook, link);
            }
        }
        self.attached.push(hook);
        Ok(())
    }

    /// Takes note of what the attached programs can do, as [`super::self_test`] found out.
    pub fn keep_proved(&mut self, outcome: Outcome) {
        self.outcome = Some(outcome);
    }

    /// Detaches everything, also what is pinned, and removes the pins. Returns what was removed.
    pub fn teardown(self) -> Result<Vec<String>, PinError> {
        let Self {
            ebpf, pins, links, ..
        } = self;
        drop(links);
        // The pins are waited for until nothing holds the programs.
        drop(ebpf);
        pins.map_or_else(|| Ok(Vec::new()), |pins| pins.clear())
    }

    /// What was found out, for [`super::tier`].
    #[must_use]
    pub fn proved(&self) -> Proved<'_> {
        Proved {
            outcome: self.outcome,
            lsm_refused: self.lsm_refused.as_deref(),
            not_observed: &self.not_observed,
            answers: false,
        }
    }

    /// Where everything is pinned; `None` if nothing outlives the agent.
    #[must_use]
    pub fn pins(&self) -> Option<&PinDirectory> {
        self.pins.as_ref()
    }

    /// Lets the kernel note the host's root, and the state of processes that are in containers already. To be called
    /// after the containers that run were entered, and before any other is started: see the program.
    pub fn iterate_tasks(&mut self) -> Result<(), LoadError> {
        self.iterate(TASKS_ITERATOR).map(drop)
    }

    /// The slots of all containers that have a process, wherever it is.
    pub fn slots_in_use(&mut self) -> Result<HashSet<u32>, LoadError> {
        let output = self.iterate(SLOTS_ITERATOR)?;
        let (slots, _) = output.as_chunks();
        Ok(slots.iter().map(|slot| u32::from_ne_bytes(*slot)).collect())
    }

    /// Runs an iterator, and gives what it wrote: reading drives it.
    fn iterate(&mut self, name: &'static str) -> Result<Vec<u8>, LoadError> {
        let program = iterator(&mut self.ebpf, name)?;
        let link = program.attach().map_err(failed("attach", name))?;
        let link = program.take_link(link).map_err(failed("attach", name))?;
        let mut file = link
            .into_file()
            .map_err(|error| LoadError::Iterate(std::io::Error::other(error)))?;
        let mut output = Vec::new();
        file.read_to_end(&mut output).map_err(LoadError::Iterate)?;
        Ok(output)
    }

    /// The hooks that were attached, and how each is now.
    #[must_use]
    pub fn hooks(&self) -> Vec<Hook> {
        let hook = |name: &'static str, kind: HookKind| {
            let pinned = self.pins.as_ref().is_some_and(|pins| pins.has_link(name));
            Hook {
                name,
                kind,
                attached: pinned || self.links.contains_key(name),
                pinned,
                missed: self.missed(name),
            }
        };
        let tracepoints = TRACEPOINTS
            .iter()
            .map(|&(name, _)| hook(name, HookKind::RawTracepoint));
        // Where the kernel has none, the tiers say why.
        let lsm = LSM_HOOKS
            .iter()
            .filter(|(name, _)| self.attached.contains(name))
            .map(|&(name, _)| hook(name, HookKind::Lsm));
        let observers = self.observers.iter().map(|observer| Hook {
            missed: self.missed(observer.program),
            ..hook(observer.hook, observer.kind)
        });
        tracepoints.chain(observers).chain(lsm).collect()
    }

    /// How many instructions the verifier went through for each program; empty before Linux 5.16, which does not tell.
    #[must_use]
    pub fn verified_instructions(&self) -> Vec<(&'static str, u32)> {
        let count = |name: &str| self.ebpf.program(name)?.info().ok()?.verified_instruction_count();
        TRACEPOINTS
            .iter()
            .map(|(name, _)| name)
            .chain(&[TASKS_ITERATOR, SLOTS_ITERATOR])
            .chain(LSM_HOOKS.iter().map(|(name, _)| name))
            .chain(observe::SYSTEM_CALLS.iter().map(|(name, _)| name))
            .chain(&observe::CAPABILITY_PROGRAMS)
            .chain([&observe::SYSTEM_CALL_PROGRAM])
            .filter_map(|&name| Some((name, count(name)?)))
            .collect()
    }

    /// How often the kernel did not run a program, because it was running on that CPU already (Linux 5.12 and later).
    fn missed(&self, program: &str) -> Option<u64> {
        let descriptor = match self.ebpf.program(program)? {
            Program::RawTracePoint(program) => program.fd().ok()?.as_fd().as_raw_fd(),
            Program::BtfTracePoint(program) => program.fd().ok()?.as_fd().as_raw_fd(),
            Program::TracePoint(program) => program.fd().ok()?.as_fd().as_raw_fd(),
            Program::KProbe(program) => program.fd().ok()?.as_fd().as_raw_fd(),
            // LSM programs are never skipped.
            _ => return Some(0),
        };
        let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{descriptor}")).ok()?;
        info.lines()
            .find_map(|line| line.strip_prefix("recursion_misses:")?.trim().parse().ok())
    }

    /// The programs' own log, to be flushed when it is readable.
    pub fn logger(&mut self) -> Result<aya_log::EbpfLogger<&'static dyn log::Log>, aya_log::Error> {
        aya_log::EbpfLogger::init(&mut self.ebpf)
    }
}

fn tracepoint<'a>(ebpf: &'a mut Ebpf, program: &'static str) -> Result<&'a mut RawTracePoint, LoadError> {
    ebpf.program_mut(program)
        .ok_or(LoadError::MissingProgram { program })?
        .try_into()
        .map_err(failed("open", program))
}

fn typed_tracepoint<'a>(
    ebpf: &'a mut Ebpf,
    program: &'static str,
) -> Result<&'a mut BtfTracePoint, LoadError> {
    ebpf.program_mut(program)
        .ok_or(LoadError::MissingProgram { program })?
        .try_into()
        .map_err(failed("open", program))
}

fn lsm<'a>(ebpf: &'a mut Ebpf, program: &'static str) -> Result<&'a mut Lsm, LoadError> {
    ebpf.program_mut(program)
        .ok_or(LoadError::MissingProgram { program })?
        .try_into()
        .map_err(failed("open", program))
}

/// Loads the LSM programs. `Some` if the kernel does not take them: then there is none.
fn load_lsm(ebpf: &mut Ebpf, btf: &Btf) -> Result<Option<String>, LoadError> {
    for &(program, hook) in LSM_HOOKS {
        if let Err(error) = lsm(ebpf, program)?.load(hook, btf) {
            let reason = match &error {
                ProgramError::LoadError {
                    io_error,
                    verifier_log,
                } => refusal(io_error, &verifier_log.to_string()),
                other => other.to_string(),
            };
            tracing::debug!(error = &error as &dyn std::error::Error, program, "not loaded");
            return Ok(Some(format!(
                "this kernel refuses LSM programs (`{program}`: {reason})"
            )));
        }
    }
    Ok(None)
}

/// The daemon before this one may have ended between taking records out and having told what they led to: they are read again.
fn rewind(positions: &RingPositions, checkpoint: &CheckpointMap) -> Result<Rewound, LoadError> {
    let rewound = positions.rewind(&checkpoint.get()?);
    let Rewound { again, overwritten } = rewound;
    if again > 0 {
        tracing::info!(
            bytes = again,
            "records that an earlier agent did not come to an end with are read again"
        );
    }
    if overwritten > 0 {
        tracing::error!(
            bytes = overwritten,
            "records that an earlier agent did not come to an end with are lost: the ring buffer holds later ones in their place"
        );
    }
    Ok(rewound)
}

fn iterator<'ebpf>(ebpf: &'ebpf mut Ebpf, name: &'static str) -> Result<&'ebpf mut Iter, LoadError> {
    let program = ebpf
        .program_mut(name)
        .ok_or(LoadError::MissingProgram { program: name })?;
    program.try_into().map_err(failed("open", name))
}

/// Elements of `TASKS` for the process ids that this machine gives. If there are more later, those are beyond it.
fn task_elements() -> u32 {
    let per_element = u32::try_from(TASKS_PER_ELEMENT).unwrap_or(u32::MAX);
    std::fs::read_to_string("/proc/sys/kernel/pid_max")
        .ok()
        .and_then(|text| text.trim().parse::<u32>().ok())
        .map_or(TASKS_MAX, |most| most.div_ceil(per_element).clamp(1, TASKS_MAX))
}

/// Whether this binary has the kernel programs in it.
#[must_use]
pub fn has_object() -> bool {
    !OBJECT.is_empty()
}
