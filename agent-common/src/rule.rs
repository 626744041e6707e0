//! `RULES`, `SEEN` and `LEARN`: what a profile holds, what was already sent, and how often it was seen.

use crate::container::{CONTAINER_EXEC_INTO_DENY, CONTAINER_UNPROFILED_DENY_DRIFT};
use crate::domain::{Mode, Section};
use crate::{plain_old_data, tag};

tag! {
    /// What a hook concluded about a behaviour.
    Verdict {
        /// The profile holds it.
        Conforms = 0 => "conforms",
        /// The profile does not hold it.
        Unknown = 1 => "unknown",
        /// It did not come with the image.
        Drift = 2 => "drift",
        /// Its path or applet is longer than the buffer, or its applet cannot be read: it cannot be compared, and is
        /// treated as unknown.
        TooLong = 3 => "too_long",
    }
}

tag! {
    /// What was done about it in the kernel.
    Action {
        /// Nothing.
        None = 0 => "none",
        /// The operation was refused.
        Denied = 1 => "denied",
        /// The process was killed.
        Killed = 2 => "killed",
    }
}

/// Whether a deviation is denied or killed: by the `CONTAINER_*` bits of its container, a [`Mode`], a [`Verdict`] other
/// than conforming, and a [`Section`]. The tags are raw numbers: a verifier would follow each value of an enumeration apart.
#[inline(always)]
#[must_use]
pub const fn is_enforced(container_flags: u32, mode: u8, verdict: u8, section: u8) -> bool {
    const ENFORCE: u8 = Mode::Enforce as u8;
    const PENDING: u8 = Mode::Pending as u8;
    let is_drift = verdict == Verdict::Drift as u8;
    match mode {
        ENFORCE => {
            is_drift || section == Section::Main as u8 || container_flags & CONTAINER_EXEC_INTO_DENY != 0
        }
        PENDING => is_drift && container_flags & CONTAINER_UNPROFILED_DENY_DRIFT != 0,
        _ => false,
    }
}

/// Key of `RULES`. Only the daemon writes that map.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(C)]
pub struct RuleKey {
    /// Keyed hash of path and applet, or of what stands for a path in a rule ([`crate::hash`]); in domains cap and syscall [`crate::cap::hash`] and
    /// [`crate::syscall::hash`].
    pub hash: u64,
    /// Profile number.
    pub profile: u32,
    /// Generation of the profile's rules.
    pub generation: u32,
    /// A [`crate::domain::Domain`].
    pub domain: u8,
    /// A [`crate::file::Layer`].
    pub layer: u8,
    /// A [`crate::domain::Section`].
    pub section: u8,
    /// In domain file a [`crate::file::FileOperation`], in domain cap a [`crate::cap::CapOutcome`], in domain syscall a
    /// [`crate::syscall::SyscallPhase`], else 0.
    pub operation: u8,
    /// Always zero.
    pub reserved: [u8; 4],
}

/// Value of `RULES`: the behaviour is in the profile.
pub const RULE_ALLOW: u32 = 1;
/// Value of `RULES`: the file is a multi-call binary; look again with the applet in the hash.
pub const RULE_APPLET: u32 = 2;

/// Most rules of all profiles and generations together. At the bound the daemon's insert fails, which it reports;
/// the behaviour then stays unknown.
pub const RULES_MAX: u32 = 262_144;

/// Key of `SEEN` and `LEARN`: one behaviour of one container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(C)]
pub struct BehaviourKey {
    /// Cgroup id of the container.
    pub container: u64,
    /// Keyed hash of path and applet; as in [`RuleKey`].
    pub hash: u64,
    /// A [`crate::domain::Domain`].
    pub domain: u8,
    /// A [`crate::file::Layer`].
    pub layer: u8,
    /// A [`crate::domain::Section`].
    pub section: u8,
    /// In domain file a [`crate::file::FileOperation`], in domain cap a [`crate::cap::CapOutcome`], in domain syscall a
    /// [`crate::syscall::SyscallPhase`], else 0.
    pub operation: u8,
    /// Always zero.
    pub reserved: [u8; 4],
}

/// Value of `SEEN`: the daemon has this behaviour in hand; the hook counts repeats and sends nothing.
/// Never created by a hook, so that a crash cannot turn "reported" into "forgotten but silent".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(C)]
pub struct Seen {
    /// How often it happened since the entry was made.
    pub repeats: u64,
}

/// Most entries of `SEEN`; the least recently used goes first, and its behaviour is then sent once more.
pub const SEEN_MAX: u32 = 32_768;

/// Value of `LEARN`: in how many windows a container showed a behaviour that is in its profile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(C)]
pub struct Evidence {
    /// Number of the last window that it was seen in ([`WINDOW_NS`]).
    pub last_window: u64,
    /// Number of windows that it was seen in.
    pub windows: u64,
}

/// Most entries of `LEARN`. At the bound windows are no longer counted for behaviours that have no entry yet.
pub const LEARN_MAX: u32 = 65_536;

/// Length of an observation window in ns of the boot-time clock: one minute.
pub const WINDOW_NS: u64 = 60_000_000_000;

plain_old_data!(RuleKey, BehaviourKey, Seen, Evidence);
const _: () = assert!(size_of::<RuleKey>() == 24);
const _: () = assert!(size_of::<BehaviourKey>() == 24);
const _: () = assert!(size_of::<Evidence>() == 16);
