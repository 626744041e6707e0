//! Capabilities: what a check led to, in which user namespace it was made, and the number by which a rule holds it.

use crate::tag;

tag! {
    /// What the kernel answered when a capability was asked for.
    CapOutcome {
        /// The process has it: it was used.
        Granted = 1 => "granted",
        /// The process does not have it: what it tried was refused.
        Refused = 2 => "refused",
    }
}

tag! {
    /// The user namespace that a capability was asked for in: how far it reaches.
    UserNamespace {
        /// The node's first one: the capability is good for the whole node.
        Initial = 0 => "initial",
        /// Any other: good for what was created in that namespace alone.
        Other = 1 => "other",
    }
}

/// Capabilities have numbers below this one: a set of them is one word (`kernel_cap_t`, include/linux/capability.h).
pub const CAPABILITIES_MAX: u8 = 64;

/// What stands in place of a path's hash in the keys of [`crate::rule`]. A set so small needs no secret.
#[must_use]
pub const fn hash(capability: u8, namespace: u8) -> u64 {
    (namespace as u64) << 8 | capability as u64
}
