use super::*;
use crate::container::membership;
use crate::container::process::ProcessId;

const ID: &str = "10ee6a25f319dcd43ef2828bbd9d0df52ce1e524482cb5a7879680a5d7645828";
const OTHER: &str = "20ee6a25f319dcd43ef2828bbd9d0df52ce1e524482cb5a7879680a5d7645828";
const HYBRID_MOUNTS: &str = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
";
const V2_MOUNTS: &str = "41 31 0:38 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";

fn hybrid_lines(v1: &str, v2: &str) -> Vec<Membership> {
    membership::parse(format!("7:name=systemd:{v1}\n4:memory:{v1}\n2:cpu,cpuacct:{v1}\n0::{v2}\n").as_bytes())
}

fn v1_mounts() -> String {
    HYBRID_MOUNTS
        .lines()
        .filter(|line| !line.contains("unified"))
        .collect::<Vec<_>>()
        .join("\n")
}

fn runtime(pid: u32, mounts: &str) -> (RuntimeProcess, MountTable) {
    let process = ProcessId {
        pid,
        started_ticks: 1,
    };
    let runtime = RuntimeProcess {
        process,
        name: "dockerd",
        arguments: Vec::new(),
    };
    (runtime, mountinfo::parse(mounts.as_bytes()))
}

fn hybrid_host() -> Evidence {
    Evidence {
        own_mounts: mountinfo::parse(HYBRID_MOUNTS.as_bytes()),
        own_memberships: hybrid_lines("/", "/"),
        ..Evidence::default()
    }
}

fn decide_auto(evidence: &Evidence) -> Detected {
    decide(&LayoutChoice::Auto, evidence, |_, _| true).expect("a layout")
}

fn memory() -> CgroupLayout {
    CgroupLayout::V1 {
        controller: "memory".into(),
        hierarchy_id: 4,
        mount: "/sys/fs/cgroup/memory".into(),
    }
}

#[test]
fn a_hybrid_host_with_containers_in_both_uses_v2() {
    let path = format!("/docker/{ID}");
    let evidence = Evidence {
        processes: vec![hybrid_lines(&path, &path)],
        ..hybrid_host()
    };
    let detected = decide_auto(&evidence);
    assert_eq!(
        detected.layout,
        CgroupLayout::V2 {
            mount: "/sys/fs/cgroup/unified".into()
        }
    );
    assert_eq!(detected.reason, Reason::Containers { placed: 1, total: 1 });
}

#[test]
fn v2_that_is_mounted_but_not_used_is_not_taken() {
    let path = format!("/docker/{ID}");
    let evidence = Evidence {
        processes: vec![hybrid_lines(&path, "/")],
        ..hybrid_host()
    };
    assert_eq!(decide_auto(&evidence).layout, memory());
}

#[test]
fn the_hierarchy_with_most_containers_wins_and_the_rest_is_told() {
    let (one, other) = (format!("/docker/{ID}"), format!("/docker/{OTHER}"));
    let processes = vec![hybrid_lines(&one, &one), hybrid_lines(&other, "/")];
    let detected = decide_auto(&Evidence {
        processes,
        ..hybrid_host()
    });
    assert_eq!(
        (detected.layout, detected.reason),
        (memory(), Reason::Containers { placed: 2, total: 2 })
    );
    let processes = vec![
        membership::parse(format!("0::{one}").as_bytes()),
        membership::parse(format!("4:memory:{other}").as_bytes()),
    ];
    let detected = decide_auto(&Evidence {
        processes,
        ..hybrid_host()
    });
    assert_eq!(detected.layout.hierarchy_id(), 0);
    assert_eq!(detected.reason, Reason::Containers { placed: 1, total: 2 });
}

/// One that was left in v2 named as a container's had the agent look there, where it sees nothing on a host with v1 alone.
#[test]
fn what_stands_where_no_runtime_places_containers_decides_nothing() {
    let left = membership::parse(format!("4:memory:/\n0::/docker/{ID}\n").as_bytes());
    let evidence = |others: &[Vec<Membership>], mounts: &str| Evidence {
        processes: [std::slice::from_ref(&left), others].concat(),
        runtimes: vec![runtime(7, mounts)],
        ..hybrid_host()
    };
    let alone = decide_auto(&evidence(&[], &v1_mounts()));
    assert_eq!(alone.layout, memory());
    let stray = Reason::Runtimes {
        agreeing: 1,
        total: 1,
        stray: 1,
    };
    assert_eq!(alone.reason, stray);
    assert!(stray.to_string().contains("(1 elsewhere)"), "{stray}");
    let living = hybrid_lines(&format!("/docker/{OTHER}"), "/");
    let beside_one = decide_auto(&evidence(&[living], &v1_mounts()));
    assert_eq!(
        (beside_one.layout, beside_one.reason),
        (memory(), Reason::Containers { placed: 1, total: 2 })
    );
    // A runtime that places containers there may have placed it.
    let seen = decide_auto(&evidence(&[], HYBRID_MOUNTS));
    assert_eq!(seen.layout.hierarchy_id(), 0);
    assert_eq!(seen.reason, Reason::Containers { placed: 1, total: 1 });
}

#[test]
fn without_containers_the_runtimes_mounts_decide() {
    let evidence = Evidence {
        runtimes: vec![runtime(7, &v1_mounts())],
        ..hybrid_host()
    };
    let detected = decide_auto(&evidence);
    assert_eq!(detected.layout, memory());
    assert_eq!(
        detected.reason,
        Reason::Runtimes {
            agreeing: 1,
            total: 1,
            stray: 0
        }
    );

    let evidence = Evidence {
        runtimes: vec![runtime(7, V2_MOUNTS)],
        ..hybrid_host()
    };
    assert_eq!(
        decide_auto(&evidence).layout,
        CgroupLayout::V2 {
            mount: "/sys/fs/cgroup/unified".into()
        }
    );
}

#[test]
fn the_hierarchy_that_serves_most_runtimes_wins() {
    let hybrid = || runtime(7, HYBRID_MOUNTS);
    let of = |runtimes| {
        decide_auto(&Evidence {
            runtimes,
            ..hybrid_host()
        })
    };
    let v2 = of(vec![hybrid(), hybrid()]);
    assert_eq!(
        v2.reason,
        Reason::Runtimes {
            agreeing: 2,
            total: 2,
            stray: 0
        }
    );
    assert_ne!(v2.layout, memory());
    // All of these place their containers in v1.
    let v1 = of(vec![hybrid(), hybrid(), runtime(8, &v1_mounts())]);
    assert_eq!(v1.layout, memory());
    assert_eq!(
        v1.reason,
        Reason::Runtimes {
            agreeing: 3,
            total: 3,
            stray: 0
        }
    );
}

#[test]
fn without_a_runtime_the_own_mounts_decide() {
    assert_eq!(decide_auto(&hybrid_host()).reason, Reason::OwnMounts);
    assert_eq!(decide_auto(&hybrid_host()).layout.hierarchy_id(), 0);
    let evidence = Evidence {
        own_mounts: mountinfo::parse(v1_mounts().as_bytes()),
        ..hybrid_host()
    };
    assert_eq!(decide_auto(&evidence).layout, memory());
    let evidence = Evidence {
        own_mounts: mountinfo::parse(V2_MOUNTS.as_bytes()),
        own_memberships: membership::parse(b"0::/system.slice/driftlock.service\n"),
        ..Evidence::default()
    };
    assert_eq!(
        decide_auto(&evidence).layout,
        CgroupLayout::V2 {
            mount: "/sys/fs/cgroup".into()
        }
    );
}

#[test]
fn a_mount_that_only_the_runtime_sees_is_read_through_it() {
    let evidence = Evidence {
        own_mounts: mountinfo::parse(v1_mounts().as_bytes()),
        runtimes: vec![runtime(7, V2_MOUNTS)],
        ..hybrid_host()
    };
    assert_eq!(
        decide_auto(&evidence).layout.mount(),
        Path::new("/proc/7/root/sys/fs/cgroup")
    );
    let error = decide(&LayoutChoice::Auto, &evidence, |_, _| false).expect_err("nowhere");
    assert!(matches!(error, LayoutError::NotMounted { .. }), "{error}");
}

#[test]
fn the_configuration_has_the_last_word() {
    let path = format!("/docker/{ID}");
    let evidence = Evidence {
        processes: vec![hybrid_lines(&path, &path)],
        ..hybrid_host()
    };
    let forced = |choice| decide(&choice, &evidence, |_, _| true);
    assert_eq!(forced(LayoutChoice::V1(None)).expect("v1").layout, memory());
    let cpu = forced(LayoutChoice::V1(Some("cpuacct".into()))).expect("v1");
    assert_eq!(
        (cpu.layout.controller(), cpu.layout.hierarchy_id()),
        (Some("cpuacct"), 2)
    );
    assert_eq!(cpu.reason, Reason::Configured);
    assert!(matches!(
        forced(LayoutChoice::V1(Some("rdma".into()))),
        Err(LayoutError::NoController { .. })
    ));
}

#[test]
fn finds_a_layout_on_this_host() {
    let detected = detect(&LayoutChoice::Auto).expect("cgroups are mounted");
    let path = detected
        .layout
        .cgroup_of(std::process::id())
        .expect("this process")
        .expect("a cgroup");
    assert!(path.starts_with(b"/"));
    assert!(is_mounted(
        detected.layout.mount(),
        detected.layout.hierarchy_id() == 0
    ));
}
