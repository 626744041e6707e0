//! Where the things are that the tests need. `cargo xtask test` and `cargo xtask demo` build or install them and say
//! so in the environment.

use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

/// How many times as long as on a machine of its own something may take: `cargo xtask vm` sets it, as an emulated machine is
/// slow. 1 if it is not set.
const PATIENCE: &str = "DRIFTLOCK_PATIENCE";

/// What a test needs from outside.
#[derive(Clone, Debug)]
pub struct Environment {
    /// The `driftlock` binary under test (`DRIFTLOCK_BIN`).
    pub driftlock: PathBuf,
    /// The directory of the static fixture programs (`DRIFTLOCK_FIXTURES`).
    pub fixtures: PathBuf,
    /// A static busybox (`DRIFTLOCK_BUSYBOX`, else `/bin/busybox`).
    pub busybox: PathBuf,
}

impl Environment {
    /// Reads the environment.
    ///
    /// # Errors
    /// A variable is missing, a file it names is missing, or this process is not root; the message says what to run.
    pub fn read() -> anyhow::Result<Self> {
        let variable = |name: &str| {
            std::env::var_os(name).map(PathBuf::from).ok_or_else(|| {
                anyhow::anyhow!(
                    "{name} is not set: run these tests by `cargo xtask test`, which builds what they need"
                )
            })
        };
        let environment = Self {
            driftlock: variable("DRIFTLOCK_BIN")?,
            fixtures: variable("DRIFTLOCK_FIXTURES")?,
            busybox: variable("DRIFTLOCK_BUSYBOX").unwrap_or_else(|_| PathBuf::from("/bin/busybox")),
        };
        for path in [
            &environment.driftlock,
            &environment.fixtures.join("service"),
            &environment.busybox,
        ] {
            anyhow::ensure!(
                path.exists(),
                "{} does not exist: run these tests by `cargo xtask test`, which builds what they need",
                path.display()
            );
        }
        anyhow::ensure!(
            rustix::process::geteuid().is_root(),
            "these tests need root: they start containers"
        );
        Ok(environment)
    }

    /// The environment of this process.
    ///
    /// # Panics
    /// As [`Environment::read`] fails.
    #[must_use]
    pub fn get() -> &'static Self {
        static ENVIRONMENT: OnceLock<Environment> = OnceLock::new();
        ENVIRONMENT.get_or_init(|| Self::read().unwrap_or_else(|error| panic!("{error}")))
    }

    /// The fixture program `name`.
    #[must_use]
    pub fn fixture(&self, name: &str) -> PathBuf {
        self.fixtures.join(name)
    }
}

/// How long to wait here for what takes at most `usual` on a machine of its own.
///
/// # Panics
/// `DRIFTLOCK_PATIENCE` is no number from 1 on.
#[must_use]
pub fn patience(usual: Duration) -> Duration {
    static FACTOR: OnceLock<u32> = OnceLock::new();
    let factor = FACTOR.get_or_init(|| match std::env::var(PATIENCE) {
        Err(_) => 1,
        Ok(text) => match text.parse() {
            Ok(factor) if factor >= 1 => factor,
            _ => panic!("{PATIENCE} is {text}, not a number from 1 on"),
        },
    });
    usual * *factor
}
