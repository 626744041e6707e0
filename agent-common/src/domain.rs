//! What is watched (domains), how strictly (modes), and for whom (sections).

use crate::tag;

tag! {
    /// A kind of behaviour. The same word names its module in every layer.
    Domain {
        /// Programs that are executed.
        Exec = 0 => "exec",
        /// Files that are mapped executable.
        Library = 1 => "library",
        /// Files that are opened, created, renamed or linked.
        File = 2 => "file",
        /// Capabilities that are used.
        Cap = 3 => "cap",
        /// System calls.
        Syscall = 4 => "syscall",
    }
}

/// Room for domains in arrays of the ABI; more than [`Domain::ALL`] holds, so that one can be added.
pub const DOMAIN_SLOTS: usize = 8;

tag! {
    /// What happens to a deviation.
    #[derive(Default)]
    Mode {
        /// The container's image is not known yet: drift is recognised, what is unknown waits for the profile.
        #[default]
        Pending = 0 => "pending",
        /// New behaviour goes into the profile; drift is reported.
        Learn = 1 => "learn",
        /// Every deviation is reported.
        Monitor = 2 => "monitor",
        /// Every deviation is reported and denied or killed.
        Enforce = 3 => "enforce",
        /// Nothing is looked at. For the domains that can be done without: [`Domain::CAN_BE_OFF`].
        Off = 4 => "off",
    }
}

impl Domain {
    /// The domains that can be switched off. What did not come with the image is recognised by the others, always.
    pub const CAN_BE_OFF: [Self; 3] = [Self::File, Self::Cap, Self::Syscall];
}

impl Mode {
    /// How much it asks for: the greater, the stricter. Their numbers are no order, as they are kept on disk.
    #[must_use]
    pub const fn strictness(self) -> u8 {
        match self {
            Self::Pending => 0,
            Self::Off => 1,
            Self::Learn => 2,
            Self::Monitor => 3,
            Self::Enforce => 4,
        }
    }
}

tag! {
    /// Which part of a profile speaks for a task: the container's own processes or what entered from outside.
    Section {
        /// The container's own processes.
        Main = 0 => "main",
        /// Processes that entered a running container from outside (operator's shell, exec probe).
        ExecIn = 1 => "exec_in",
    }
}
