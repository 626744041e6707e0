//! Which cgroup hierarchy container ids come from (DESIGN, "Maps"): v2 wherever containers are placed in it, else a
//! v1 hierarchy in which they are. The ids of two hierarchies overlap, so exactly one is used.
//!
//! That v2 is mounted somewhere says little: a runtime that does not see it there leaves all its containers in v2's
//! root. What counts, in this order: where containers that run now stand, if one of the runtimes that run now places any
//! there; what the runtimes' own mount tables show; what the agent's own shows. [`Evidence`] is gathered first and
//! [`decide`] is a plain function of it; the result says what it rests on.
//!
//! Failure: [`LayoutError`]. Without a readable cgroup mount of the chosen hierarchy there is no layout.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::id::ContainerId;
use super::membership::{Membership, container_on};
use super::mountinfo::{self, MountTable};
use super::process::{self, RuntimeProcess};
use super::read::{ReadError, show};

/// v1 controllers that can stand for the whole, best first. Runtimes place every container in all that are mounted;
/// the first ones are there on every distribution.
pub const CONTROLLERS: &[&str] = &[
    "memory", "pids", "cpu", "devices", "freezer", "cpuacct", "cpuset", "blkio",
];

/// Processes that create containers, or start those that do.
const RUNTIMES: &[&str] = &["dockerd", "containerd"];

/// Where runtimes look for cgroups. runc takes v2 if it is mounted here, and joins it beside v1 if it is mounted at
/// `unified` below.
const CGROUP_ROOT: &[u8] = b"/sys/fs/cgroup";
const CGROUP_HYBRID: &[u8] = b"/sys/fs/cgroup/unified";

/// Magic numbers of the two filesystems (`linux/magic.h`).
const CGROUP_V1_MAGIC: i64 = 0x0027_e0eb;
const CGROUP_V2_MAGIC: i64 = 0x6367_7270;

/// The hierarchy that container ids come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CgroupLayout {
    /// The unified hierarchy.
    V2 {
        /// Where this process sees it mounted.
        mount: PathBuf,
    },
    /// One hierarchy of several.
    V1 {
        /// A controller that is bound to it, as the kernel names it.
        controller: String,
        /// `hierarchy_id` in the kernel.
        hierarchy_id: u32,
        /// Where this process sees it mounted.
        mount: PathBuf,
    },
}

/// What an operator may say about it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum LayoutChoice {
    /// Find out.
    #[default]
    Auto,
    /// v2, whatever the evidence says.
    V2,
    /// v1; with this controller, or with the best one there is.
    V1(Option<String>),
}

/// A layout and why it was chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detected {
    /// The hierarchy.
    pub layout: CgroupLayout,
    /// What the choice rests on.
    pub reason: Reason,
}

/// What a choice of hierarchy rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The configuration says so.
    Configured,
    /// Containers run: so many of so many stand in the chosen hierarchy. Those that do not are not covered.
    Containers {
        /// Containers in it.
        placed: usize,
        /// Containers at all.
        total: usize,
    },
    /// No container of theirs runs: so many of so many runtimes see a mount table that leads them to the chosen hierarchy.
    Runtimes {
        /// Runtimes that would place containers in it.
        agreeing: usize,
        /// Runtimes at all.
        total: usize,
        /// Containers that stand where none of the runtimes places any: what somebody left behind. They are not covered.
        stray: usize,
    },
    /// Neither container nor runtime runs: a runtime that sees what the agent sees would place containers in it.
    OwnMounts,
}

/// What is known about the host when the choice is made.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    /// The memberships of each process that stands in a container.
    pub processes: Vec<Vec<Membership>>,
    /// The mount table of each runtime.
    pub runtimes: Vec<(RuntimeProcess, MountTable)>,
    /// The agent's own mount table.
    pub own_mounts: MountTable,
    /// The agent's own memberships: the hierarchies that exist.
    pub own_memberships: Vec<Membership>,
}

/// Why there is no layout.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// `/proc` cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// No v1 hierarchy has a controller that can be used.
    #[error("containers are not in cgroup v2, and there is no v1 hierarchy with {wanted}")]
    NoController {
        /// What was looked for.
        wanted: String,
    },
    /// The chosen hierarchy is not mounted where the agent can read it.
    #[error(
        "container ids come from {hierarchy} ({reason}), which is mounted nowhere that this process can read"
    )]
    NotMounted {
        /// v2, or v1 with its controller.
        hierarchy: String,
        /// Why it was chosen.
        reason: Reason,
    },
}

/// The hierarchy alone, before it is known where it can be read.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Hierarchy {
    V2,
    V1 { controller: String, hierarchy_id: u32 },
}

/// Finds the layout of this host.
pub fn detect(choice: &LayoutChoice) -> Result<Detected, LayoutError> {
    decide(choice, &gather()?, is_mounted)
}

/// Reads what [`decide`] needs. Processes that end meanwhile are left out.
pub fn gather() -> Result<Evidence, LayoutError> {
    let in_container = |lines: &Vec<Membership>| lines.iter().any(|line| container_on(&line.path).is_some());
    Ok(Evidence {
        processes: process::all()?
            .into_iter()
            .filter_map(|pid| process::memberships(pid).ok())
            .filter(in_container)
            .collect(),
        runtimes: process::runtimes(RUNTIMES)?
            .into_iter()
            .filter_map(|runtime| {
                let table = mountinfo::of_process(runtime.process.pid).ok()?;
                Some((runtime, table))
            })
            .collect(),
        own_mounts: mountinfo::own()?,
        own_memberships: process::memberships(std::process::id())?,
    })
}

/// Chooses the hierarchy. `is_mounted` says whether a directory is the mount of a v2 (true) or v1 hierarchy.
pub fn decide(
    choice: &LayoutChoice,
    evidence: &Evidence,
    is_mounted: impl Fn(&Path, bool) -> bool,
) -> Result<Detected, LayoutError> {
    let (hierarchy, reason) = match choice {
        LayoutChoice::V2 => (Hierarchy::V2, Reason::Configured),
        LayoutChoice::V1(controller) => {
            let wanted = controller.as_deref();
            (evidence.first_controller(wanted)?, Reason::Configured)
        }
        LayoutChoice::Auto => evidence.choose()?,
    };
    let candidates = evidence.mounts_of(&hierarchy);
    let is_v2 = hierarchy == Hierarchy::V2;
    match candidates.into_iter().find(|mount| is_mounted(mount, is_v2)) {
        Some(mount) => Ok(Detected {
            layout: hierarchy.at(mount),
            reason,
        }),
        None => Err(LayoutError::NotMounted {
            hierarchy: hierarchy.to_string(),
            reason,
        }),
    }
}

/// Whether `path` is inside a cgroup filesystem of that version.
fn is_mounted(path: &Path, is_v2: bool) -> bool {
    let magic = if is_v2 { CGROUP_V2_MAGIC } else { CGROUP_V1_MAGIC };
    rustix::fs::statfs(path).is_ok_and(|filesystem| filesystem.f_type == magic)
}

/// In which hierarchies a runtime with this mount table places containers; none if it sees no cgroups at all. On a hybrid
/// host it places them in v1 and v2.
fn placement(table: &MountTable) -> Option<Placement> {
    let root = table.at(CGROUP_ROOT)?;
    let is_pure_v2 = root.filesystem == b"cgroup2";
    let hybrid = table.at(CGROUP_HYBRID);
    let is_hybrid = hybrid.is_some_and(|mount| mount.filesystem == b"cgroup2");
    Some(Placement {
        v1: !is_pure_v2,
        v2: is_pure_v2 || is_hybrid,
    })
}

/// Where a runtime places containers.
struct Placement {
    v1: bool,
    v2: bool,
}

// === impl Evidence ===

impl Evidence {
    fn choose(&self) -> Result<(Hierarchy, Reason), LayoutError> {
        let placements: Vec<Placement> = self
            .runtimes
            .iter()
            .filter_map(|(_, table)| placement(table))
            .collect();
        let total = self.containers(|_| true).len();
        if let Some(found) = self.choose_by_containers(&placements, total) {
            return Ok(found);
        }
        if placements.is_empty() {
            let hierarchy = match placement(&self.own_mounts) {
                Some(Placement { v2: false, .. }) => self.first_controller(None)?,
                Some(_) | None => Hierarchy::V2,
            };
            return Ok((hierarchy, Reason::OwnMounts));
        }
        // Whichever holds the containers of more runtimes: one that is v1 alone beside hybrid ones makes it v1, in which
        // all of them place theirs.
        let in_v1 = placements.iter().filter(|placement| placement.v1).count();
        let in_v2 = placements.iter().filter(|placement| placement.v2).count();
        let (hierarchy, agreeing) = if in_v2 >= in_v1 {
            (Hierarchy::V2, in_v2)
        } else {
            (self.first_controller(None)?, in_v1)
        };
        let reason = Reason::Runtimes {
            agreeing,
            total: placements.len(),
            stray: total,
        };
        Ok((hierarchy, reason))
    }

    /// The hierarchy in which most containers stand, of `total`; v2 before v1, then by the order of [`CONTROLLERS`]. A hierarchy in
    /// which no runtime that runs places any is left out: a process that was left there would lead away from all that come.
    /// `None` if no container stands in another.
    fn choose_by_containers(&self, placements: &[Placement], total: usize) -> Option<(Hierarchy, Reason)> {
        let serves =
            |is_served: fn(&Placement) -> bool| placements.is_empty() || placements.iter().any(is_served);
        let mut best = (Hierarchy::V2, 0);
        if serves(|placement| placement.v2) {
            best.1 = self.containers(Membership::is_v2).len();
        }
        let v1 = CONTROLLERS.iter().filter(|_| serves(|placement| placement.v1));
        for hierarchy in v1.filter_map(|name| self.hierarchy_of(name)) {
            let Hierarchy::V1 { hierarchy_id, .. } = &hierarchy else {
                continue;
            };
            let placed = self.containers(|line| line.hierarchy_id == *hierarchy_id).len();
            if placed > best.1 {
                best = (hierarchy, placed);
            }
        }
        let (hierarchy, placed) = best;
        let is_found = placed > 0 || (placements.is_empty() && total > 0);
        is_found.then_some((hierarchy, Reason::Containers { placed, total }))
    }

    /// The containers that stand in one of the hierarchies that `wanted` names.
    fn containers(&self, wanted: impl Fn(&Membership) -> bool) -> BTreeSet<ContainerId> {
        self.processes
            .iter()
            .flatten()
            .filter(|line| wanted(line))
            .filter_map(|line| container_on(&line.path).map(|(id, _)| id))
            .collect()
    }

    fn hierarchy_of(&self, controller: &str) -> Option<Hierarchy> {
        let line = self.own_memberships.iter().find(|line| line.has(controller))?;
        Some(Hierarchy::V1 {
            controller: controller.to_owned(),
            hierarchy_id: line.hierarchy_id,
        })
    }

    /// The v1 hierarchy of `wanted`, or of the best controller that a runtime (else the agent) sees mounted.
    fn first_controller(&self, wanted: Option<&str>) -> Result<Hierarchy, LayoutError> {
        if let Some(controller) = wanted {
            return self
                .hierarchy_of(controller)
                .ok_or_else(|| LayoutError::NoController {
                    wanted: format!("controller `{controller}`"),
                });
        }
        let tables = || {
            self.runtimes
                .iter()
                .map(|(_, table)| table)
                .chain([&self.own_mounts])
        };
        let is_visible = |controller: &str| {
            tables().any(|table| {
                table
                    .mounts
                    .iter()
                    .any(|mount| mount.has_option(controller.as_bytes()))
            })
        };
        CONTROLLERS
            .iter()
            .filter(|controller| is_visible(controller))
            .find_map(|controller| self.hierarchy_of(controller))
            .ok_or_else(|| LayoutError::NoController {
                wanted: format!("one of the controllers {}", CONTROLLERS.join(", ")),
            })
    }

    /// Where the hierarchy can be read, best first: through the agent's own mounts, else through a runtime's.
    fn mounts_of(&self, hierarchy: &Hierarchy) -> Vec<PathBuf> {
        use std::os::unix::ffi::OsStrExt as _;
        let points = |table: &MountTable, prefix: &str| -> Vec<PathBuf> {
            let mounts = table.mounts.iter().rev();
            mounts
                .filter(|mount| mount.root == b"/" && hierarchy.is(mount))
                .map(|mount| {
                    let point = std::ffi::OsStr::from_bytes(&mount.point);
                    PathBuf::from(prefix).join(Path::new(point).strip_prefix("/").unwrap_or(Path::new(point)))
                })
                .collect()
        };
        let mut candidates = points(&self.own_mounts, "/");
        for (runtime, table) in &self.runtimes {
            candidates.extend(points(table, &format!("/proc/{}/root", runtime.process.pid)));
        }
        candidates
    }
}

// === impl Hierarchy ===

impl Hierarchy {
    fn is(&self, mount: &mountinfo::Mount) -> bool {
        match self {
            Self::V2 => mount.filesystem == b"cgroup2",
            Self::V1 { controller, .. } => {
                mount.filesystem == b"cgroup" && mount.has_option(controller.as_bytes())
            }
        }
    }

    fn at(self, mount: PathBuf) -> CgroupLayout {
        match self {
            Self::V2 => CgroupLayout::V2 { mount },
            Self::V1 {
                controller,
                hierarchy_id,
            } => CgroupLayout::V1 {
                controller,
                hierarchy_id,
                mount,
            },
        }
    }
}

impl std::fmt::Display for Hierarchy {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::V2 => formatter.write_str("cgroup v2"),
            Self::V1 { controller, .. } => write!(formatter, "cgroup v1 ({controller})"),
        }
    }
}

// === impl CgroupLayout ===

impl CgroupLayout {
    /// Where the hierarchy is mounted.
    #[must_use]
    pub fn mount(&self) -> &Path {
        match self {
            Self::V2 { mount } | Self::V1 { mount, .. } => mount,
        }
    }

    /// `hierarchy_id` in the kernel; 0 for v2.
    #[must_use]
    pub const fn hierarchy_id(&self) -> u32 {
        match self {
            Self::V2 { .. } => 0,
            Self::V1 { hierarchy_id, .. } => *hierarchy_id,
        }
    }

    /// Name of a controller of the hierarchy; `None` for v2.
    #[must_use]
    pub fn controller(&self) -> Option<&str> {
        match self {
            Self::V2 { .. } => None,
            Self::V1 { controller, .. } => Some(controller),
        }
    }

    /// The membership in this hierarchy, of those that one process has.
    #[must_use]
    pub fn pick<'a>(&self, memberships: &'a [Membership]) -> Option<&'a Membership> {
        memberships
            .iter()
            .find(|line| line.hierarchy_id == self.hierarchy_id())
    }

    /// The path of a process's cgroup from the root of the hierarchy; `None` if the process stands outside what
    /// the agent's cgroup namespace shows, or in no cgroup of this hierarchy.
    pub fn cgroup_of(&self, pid: u32) -> Result<Option<Vec<u8>>, ReadError> {
        let memberships = process::memberships(pid)?;
        Ok(self
            .pick(&memberships)
            .filter(|line| !line.path.starts_with(b"/.."))
            .map(|line| line.path.clone()))
    }
}

impl std::fmt::Display for CgroupLayout {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::V2 { mount } => write!(formatter, "cgroup v2 at {}", show(mount)),
            Self::V1 {
                controller, mount, ..
            } => write!(formatter, "cgroup v1 ({controller}) at {}", show(mount)),
        }
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Configured => formatter.write_str("the configuration says so"),
            Self::Containers { placed, total } => {
                write!(formatter, "{placed} of {total} running containers stand in it")
            }
            Self::Runtimes {
                agreeing,
                total,
                stray,
            } => {
                match stray {
                    0 => formatter.write_str("no container runs")?,
                    _ => write!(
                        formatter,
                        "no container stands where a runtime places any ({stray} elsewhere)"
                    )?,
                }
                write!(
                    formatter,
                    ", and {agreeing} of {total} runtimes would place one in it by the mounts they see"
                )
            }
            Self::OwnMounts => formatter.write_str(
                "neither container nor runtime runs, and a runtime that sees the agent's mounts would use it",
            ),
        }
    }
}

#[cfg(test)]
#[path = "layout_tests.rs"]
mod tests;
