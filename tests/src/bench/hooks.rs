//! The kernel programs of a running agent, detached and attached again in moments.
//!
//! Input: where the agent has pinned them. Output: [`Hooks`]. The agent does not know of it and has to be torn down afterwards. Failure: a program or
//! link that is not pinned, a kernel that refuses.
//!
//! An agent takes seconds to start, in which the machine may have become slower or faster by more than what is measured. To attach what it
//! has loaded takes a hundredth of one.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use aya::programs::BtfTracePoint;
use aya::programs::tp_btf::BtfTracePointLinkId;

/// Directories below the one of the ABI.
const PROGRAMS: &str = "programs";
const LINKS: &str = "links";

/// Programs at raw tracepoints, attached or not.
#[derive(Debug)]
pub struct Hooks {
    programs: Vec<BtfTracePoint>,
    links: Vec<BtfTracePointLinkId>,
}

impl Hooks {
    /// Takes these programs over, and detaches them.
    pub fn take_over(pinned: &Path, names: &[&str]) -> anyhow::Result<Self> {
        let directory = of_abi(pinned)?;
        let mut programs = Vec::new();
        for name in names {
            let path = directory.join(PROGRAMS).join(name);
            let program = BtfTracePoint::from_pin(&path).with_context(|| format!("{}", path.display()))?;
            programs.push(program);
            let path = directory.join(LINKS).join(name);
            std::fs::remove_file(&path).with_context(|| format!("{}", path.display()))?;
        }
        Ok(Self {
            programs,
            links: Vec::new(),
        })
    }

    /// Attaches all.
    pub fn attach(&mut self) -> anyhow::Result<()> {
        for program in &mut self.programs {
            self.links.push(program.attach().context("cannot attach")?);
        }
        Ok(())
    }

    /// Detaches all.
    pub fn detach(&mut self) -> anyhow::Result<()> {
        for (program, link) in self.programs.iter_mut().zip(self.links.drain(..)) {
            program.detach(link).context("cannot detach")?;
        }
        Ok(())
    }
}

/// The only directory in there.
fn of_abi(pinned: &Path) -> anyhow::Result<PathBuf> {
    let mut entries =
        std::fs::read_dir(pinned).with_context(|| format!("cannot list {}", pinned.display()))?;
    Ok(entries.next().context("nothing is pinned")??.path())
}
