//! The hooks that programs are attached to, as they are shown.

/// A hook, as `status` shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hook {
    /// Name of the program and of what it is attached to.
    pub name: &'static str,
    /// What that is.
    pub kind: HookKind,
    /// Whether it is attached. One that was is not any more when its pin was removed.
    pub attached: bool,
    /// Whether it outlives the agent.
    pub pinned: bool,
    /// How often it was called and not run; `None` where the kernel does not tell.
    pub missed: Option<u64>,
}

/// What a program is attached to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookKind {
    /// A raw tracepoint.
    RawTracepoint,
    /// A tracepoint.
    Tracepoint,
    /// A probe at a function's entry.
    Probe,
    /// An LSM hook.
    Lsm,
}
