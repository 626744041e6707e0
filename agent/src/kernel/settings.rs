//! What the programs are loaded with: what the configuration and this kernel say, and what is drawn.
//!
//! Input: [`LoadOptions`], the kernel's types, and what an earlier agent left pinned. Output: [`Settings`]. Failure: no random bytes, or what is
//! in force counts cgroups otherwise.

use std::io::Read as _;

use agent_common::hash::HashKey;
use agent_common::settings::{REGISTERS_BY_HELPER, REGISTERS_ON_STACK, REGISTERS_UNKNOWN, Settings};

use super::btf::KernelTypes;
use super::error::LoadError;
use super::maps;
use super::pin::PinDirectory;

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
    /// For tests: LSM programs are not even tried.
    pub no_lsm: bool,
}

/// What the programs are loaded with; what must stay as it is comes from the agent before.
pub(super) fn settings(
    options: &LoadOptions,
    types: &KernelTypes,
    inherited: Option<&PinDirectory>,
) -> Result<Settings, LoadError> {
    let (cgroup_hierarchy, cgroup_subsystem) = match &options.cgroup_v1 {
        Some((hierarchy, controller)) => (*hierarchy, types.subsystem(controller)?),
        None => (0, 0),
    };
    let mut settings = Settings {
        hash_key: HashKey::default(),
        cgroup_source: options.cgroup_source,
        cgroup_hierarchy,
        cgroup_subsystem,
        pending_flags: options.pending_flags,
        registers: match types.has_function("bpf_task_pt_regs") {
            _ if cfg!(not(target_arch = "x86_64")) => REGISTERS_UNKNOWN,
            true => REGISTERS_BY_HELPER,
            false => REGISTERS_ON_STACK,
        },
        stale_generation: u32::from(options.stale_generation),
        no_reread: u32::from(options.no_reread),
        has_typed_task: u32::from(types.has_function("bpf_get_current_task_btf")),
        memory_check: memory_check(),
        load: draw::<u16>().map_err(LoadError::Random)?.max(1),
        reserved: [0; 3],
    };
    match inherited {
        None => settings.hash_key = draw().map_err(LoadError::Random)?,
        Some(pins) => {
            let before = maps::pinned_settings(pins)?;
            if (before.cgroup_source, before.cgroup_hierarchy) != (settings.cgroup_source, cgroup_hierarchy) {
                return Err(LoadError::OtherHierarchy);
            }
            settings.hash_key = before.hash_key;
        }
    }
    Ok(settings)
}

/// Where the kernel's function is that asks for a capability to account memory: its address and the next function's. Zeros if the kernel
/// does not show them.
fn memory_check() -> [u64; 2] {
    const FUNCTION: &str = "cap_vm_enough_memory";
    let symbols = std::fs::read_to_string("/proc/kallsyms").unwrap_or_default();
    let address = |line: &str| u64::from_str_radix(line.split(' ').next()?, 16).ok();
    let named = |line: &&str| line.split(' ').nth(2) == Some(FUNCTION);
    let Some(start) = symbols.lines().find(named).and_then(address) else {
        return [0; 2];
    };
    let next = symbols
        .lines()
        .filter_map(address)
        .filter(|&other| other > start)
        .min();
    match next {
        Some(next) if start != 0 => [start, next],
        _ => [0; 2],
    }
}

/// A value from the system's random source.
fn draw<T: bytemuck::Pod>() -> std::io::Result<T> {
    let mut value = T::zeroed();
    std::fs::File::open("/dev/urandom")?.read_exact(bytemuck::bytes_of_mut(&mut value))?;
    Ok(value)
}
