//! `/proc/PID/cgroup`: where a process stands in each cgroup hierarchy.
//!
//! Input: the file's bytes. Names of cgroups are chosen by whoever creates them and hold any byte but `/`, NUL and
//! newline. Output: one [`Membership`] per line; a line of any other form is left out, because no later kernel's
//! addition may cost the rest.

use super::id::{ContainerId, container_id_in};

/// Most bytes read of one `/proc/PID/cgroup`: sixteen hierarchies with a path of `PATH_MAX` each.
pub const CGROUP_FILE_BYTES: u64 = 128 * 1024;

/// One line: a hierarchy, and the process's cgroup in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    /// `hierarchy_id` in the kernel; 0 is v2.
    pub hierarchy_id: u32,
    /// Controllers of a v1 hierarchy, `name=...` for one without any; empty for v2.
    pub controllers: Vec<String>,
    /// Path from the root of the hierarchy as the reader's cgroup namespace shows it.
    pub path: Vec<u8>,
}

/// All lines of a `/proc/PID/cgroup`.
#[must_use]
pub fn parse(content: &[u8]) -> Vec<Membership> {
    content
        .split(|byte| *byte == b'\n')
        .filter_map(parse_line)
        .collect()
}

/// The topmost container on a cgroup's path and the path of that container's own cgroup. What lies deeper, a
/// container in the container included, belongs to it.
#[must_use]
pub fn container_on(path: &[u8]) -> Option<(ContainerId, &[u8])> {
    let mut start = 0;
    for name in path.split(|byte| *byte == b'/') {
        let end = start + name.len();
        if let Some(id) = container_id_in(name) {
            return Some((id, &path[..end]));
        }
        start = end + 1;
    }
    None
}

/// The innermost container below a container's own cgroup on the path of a cgroup: one that the container itself runs.
/// Its name is the container's choice, so it says nothing but that.
#[must_use]
pub fn nested_in(own: &[u8], path: &[u8]) -> Option<ContainerId> {
    let below = path.strip_prefix(own)?.strip_prefix(b"/")?;
    below.rsplit(|byte| *byte == b'/').find_map(container_id_in)
}

fn parse_line(line: &[u8]) -> Option<Membership> {
    let mut fields = line.splitn(3, |byte| *byte == b':');
    let hierarchy_id = std::str::from_utf8(fields.next()?).ok()?.parse().ok()?;
    let controllers = std::str::from_utf8(fields.next()?).ok()?;
    let path = fields.next()?;
    if !path.starts_with(b"/") {
        return None;
    }
    Some(Membership {
        hierarchy_id,
        controllers: controllers
            .split(',')
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
            .collect(),
        path: path.to_vec(),
    })
}

// === impl Membership ===

impl Membership {
    /// Whether the hierarchy is v2.
    #[must_use]
    pub fn is_v2(&self) -> bool {
        self.hierarchy_id == 0 && self.controllers.is_empty()
    }

    /// Whether the v1 hierarchy has this controller.
    #[must_use]
    pub fn has(&self, controller: &str) -> bool {
        self.controllers.iter().any(|name| name == controller)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ID: &str = "10ee6a25f319dcd43ef2828bbd9d0df52ce1e524482cb5a7879680a5d7645828";

    #[test]
    fn reads_a_hybrid_host() {
        let content = format!(
            "9:name=systemd:/docker/{ID}\n2:cpu,cpuacct:/a:b\n0::/docker/{ID}/inner\nrubbish\n7:pids:relative\n"
        );
        let lines = parse(content.as_bytes());
        assert_eq!(lines.len(), 3);
        assert_eq!(lines[0].controllers, ["name=systemd"]);
        assert!(lines[1].has("cpuacct") && !lines[1].is_v2());
        assert_eq!(lines[1].path, b"/a:b");
        assert!(lines[2].is_v2());
        let (id, path) = container_on(&lines[2].path).expect("a container");
        assert_eq!(id.as_str(), ID);
        assert_eq!(path, format!("/docker/{ID}").as_bytes());
    }

    #[test]
    fn the_outermost_container_owns_what_is_nested() {
        let inner = "f".repeat(64);
        let path = format!("/docker/{ID}/docker/{inner}");
        assert_eq!(container_on(path.as_bytes()).expect("a container").0.as_str(), ID);
        assert_eq!(container_on(b"/"), None);
        assert_eq!(container_on(b"/user.slice/x"), None);
    }

    #[test]
    fn knows_containers_in_containers() {
        let (own, inner) = (format!("/docker/{ID}"), "f".repeat(64));
        let nested = |path: &str| nested_in(own.as_bytes(), path.as_bytes()).map(|id| id.to_string());
        assert_eq!(
            nested(&format!("{own}/kubepods/cri-containerd-{inner}.scope/x")),
            Some(inner)
        );
        assert_eq!(nested(&format!("{own}/container")), None);
        assert_eq!(nested(&own), None);
        assert_eq!(nested(&format!("{own}x/{ID}")), None);
    }

    proptest! {
        #[test]
        fn takes_any_bytes(content in proptest::collection::vec(any::<u8>(), 0..400)) {
            for line in parse(&content) {
                prop_assert!(line.path.starts_with(b"/") && !line.path.contains(&b'\n'));
            }
        }

        #[test]
        fn reads_what_the_kernel_writes(
            hierarchy_id: u32,
            controllers in proptest::collection::vec("[a-z_]{1,8}", 0..3),
            path in proptest::collection::vec(any::<u8>().prop_filter("newline", |byte| *byte != b'\n'), 0..60),
        ) {
            let path = [b"/".as_slice(), &path].concat();
            let line = [format!("{hierarchy_id}:{}:", controllers.join(",")).as_bytes(), &path].concat();
            let expected = Membership { hierarchy_id, controllers, path };
            prop_assert_eq!(parse(&line), vec![expected]);
        }

        #[test]
        fn a_container_stands_on_its_path(path in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Some((_, own)) = container_on(&path) {
                prop_assert!(path.starts_with(own));
                prop_assert!(path.len() == own.len() || path[own.len()] == b'/');
            }
        }
    }
}
