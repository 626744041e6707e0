//! The harness itself: without it, a test that finds nothing killed would prove nothing.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use tests::image::{self, PAYLOAD, SCRIPT};
use tests::runtime::{self, Container, Kind, Layout, Runtime};
use tests::service::Outcomes;

const IMAGE: &str = "registry.example/harness:1";

tests::on_every_runtime!(
    containers_run_on_every_layout,
    options_are_the_same,
    nothing_is_left,
    leftovers_are_swept,
);

/// On every layout a container starts, its first process starts programs and sees how they end, and the container's
/// cgroup is where that layout has it.
fn containers_run_on_every_layout(kind: Kind) -> anyhow::Result<()> {
    for layout in Layout::ALL {
        if !layout.is_here() {
            tests::support::not_on_this_kernel("cgroups made by systemd", "systemd is not there");
            continue;
        }
        let runtime = kind.start(layout)?;
        let runtime = runtime.as_ref();
        image::build(runtime, IMAGE, "harness")?;
        let service = runtime.service("plain", IMAGE, &[], &["/bin/fetch,/tmp/started"])?;
        let container = &service.container;
        assert_eq!(
            runtime.read(container, "/tmp/started")?.as_deref(),
            Some("fetch\n"),
            "{layout:?}"
        );
        assert_eq!(runtime.read(container, "/tmp/nothing")?, None);
        assert!(
            service
                .start_many(3, &["/bin/report", "/tmp/report-{}"])?
                .all_succeeded()
        );
        assert_eq!(
            runtime.read(container, "/tmp/report-2")?.as_deref(),
            Some("report\n")
        );
        assert!(service.start(&[SCRIPT, "/tmp/script"])?.all_succeeded());
        let refused = service.start(&[PAYLOAD, "/tmp/witness"])?;
        assert_eq!(
            refused,
            Outcomes {
                denied: 1,
                ..Outcomes::default()
            },
            "the payload may not run where it lies"
        );
        assert_eq!(service.start(&["/bin/false"])?.failed, 1);
        assert!(service.start(&["/bin/sh", "-c", "kill -9 $$"])?.all_killed());
        let entered = runtime.exec(container, &["/bin/sh", "-c", "exit 7"])?;
        assert_eq!(entered.status.code(), Some(7), "{entered:?}");
        runtime::expect_in_its_cgroup(runtime, container)?;

        let again = runtime.restart(container)?;
        wait_for(
            runtime,
            &again,
            "/tmp/started",
            if kind.keeps_files() {
                "fetch\nfetch\n"
            } else {
                "fetch\n"
            },
        )?;
        runtime.remove(&again)?;
    }
    Ok(())
}

fn wait_for(runtime: &dyn Runtime, container: &Container, path: &str, wanted: &str) -> anyhow::Result<()> {
    let mut found = None;
    for _ in 0..100 {
        found = runtime.read(container, path)?;
        if found.as_deref() == Some(wanted) {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    anyhow::bail!("{path} holds {found:?}")
}

/// A directory of the host is a volume in the container, and what the container is told is done in no other way.
fn options_are_the_same(kind: Kind) -> anyhow::Result<()> {
    let runtime = kind.start(Layout::Hybrid)?;
    let runtime = runtime.as_ref();
    image::build(runtime, IMAGE, "harness")?;
    let volume = runtime.place().directory().join("volume");
    std::fs::create_dir(&volume)?;
    tests::demo::put_tool(&volume)?;
    let mount = format!("--volume={}:/data", volume.display());
    let container = runtime.run(
        "batch",
        IMAGE,
        &[&mount, "--entrypoint=/bin/sh"],
        &["-c", "sleep 600"],
    )?;
    let entered = runtime.exec(&container, &["/data/tool", "/data/witness"])?;
    assert!(entered.status.success(), "{entered:?}");
    assert_eq!(std::fs::read_to_string(volume.join("witness"))?, "witness\n");
    runtime.exec_detached(&container, &["/bin/fetch", "/tmp/detached"])?;
    wait_for(runtime, &container, "/tmp/detached", "fetch\n")?;
    let missing = runtime.exec(&container, &["/nothing"])?;
    assert!(missing.status.code() >= Some(126), "{missing:?}");
    runtime.copy(&volume.join("tool"), &container, "/tmp/copied")?;
    let copied = runtime.exec(&container, &["/tmp/copied", "/tmp/witness"])?;
    assert!(copied.status.success(), "{copied:?}");
    wait_for(runtime, &container, "/tmp/witness", "witness\n")
}

/// Nothing is left of a runtime: no process, no mount, no cgroup, no file.
fn nothing_is_left(kind: Kind) -> anyhow::Result<()> {
    let runtime = kind.start(Layout::Hybrid)?;
    image::build(runtime.as_ref(), IMAGE, "harness")?;
    let container = runtime.run("left", IMAGE, &[], &[])?;
    let directory = runtime.place().directory().to_owned();
    let process = runtime.process(&container)?;
    let cgroups: Vec<PathBuf> = cgroups_of(process)?;
    assert!(!cgroups.is_empty());
    drop(runtime);
    assert!(!directory.exists());
    for cgroup in cgroups {
        assert!(!cgroup.exists(), "{}", cgroup.display());
    }
    assert!(!std::fs::read_to_string("/proc/self/mounts")?.contains(directory.to_str().expect("text")));
    Ok(())
}

/// The cgroups of a process that are not this one's own, on this machine's hierarchies.
fn cgroups_of(process: u32) -> anyhow::Result<Vec<PathBuf>> {
    let own = std::fs::read_to_string("/proc/self/cgroup")?;
    let text = std::fs::read_to_string(format!("/proc/{process}/cgroup"))?;
    let names = text.lines().filter(|line| !own.lines().any(|own| own == *line));
    Ok(names
        .filter_map(|line| line.splitn(3, ':').nth(2)?.strip_prefix('/'))
        .flat_map(|name| {
            tests::cleanup::hierarchies()
                .into_iter()
                .map(move |hierarchy| hierarchy.join(name))
        })
        .filter(|cgroup| cgroup.exists())
        .collect())
}

/// The forgeries run where nothing watches: they are not refused for a reason of their own.
#[test]
fn forgeries_run_where_nothing_watches() -> anyhow::Result<()> {
    let docker = Kind::Docker.start(Layout::Hybrid)?;
    image::build(docker.as_ref(), IMAGE, "harness")?;
    let options = ["--security-opt=seccomp=unconfined"];
    let service = docker.service("forge", IMAGE, &options, &[])?;
    let cases: &[&[&str]] = &[
        &["/usr/bin/memfd", PAYLOAD, "/tmp/memfd"],
        &[
            "/usr/bin/detached",
            "--own-namespaces",
            PAYLOAD,
            "/bin/service",
            "/tmp/detached",
        ],
        &[
            "/usr/bin/userns_overlay",
            PAYLOAD,
            "/bin/service",
            "/tmp/overlay.d",
            "/tmp/overlay",
        ],
        &[
            "/bin/su",
            "nobody",
            "-s",
            "/usr/bin/userns_overlay",
            PAYLOAD,
            "/bin/service",
            "/tmp/nobody.d",
            "/tmp/nobody",
        ],
    ];
    for case in cases {
        let outcome = service.start(case)?;
        assert!(outcome.all_succeeded(), "{case:?}: {outcome:?}");
        let witness = docker.read(&service.container, case[case.len() - 1])?;
        assert_eq!(witness.as_deref(), Some("witness\n"), "{case:?}");
    }
    Ok(())
}

/// What a test that was killed left is swept by the next one.
fn leftovers_are_swept(kind: Kind) -> anyhow::Result<()> {
    let mut killed = Command::new(std::env::current_exe()?)
        .args(["--exact", "waits_to_be_killed", "--nocapture", "--ignored"])
        .env(VICTIM, kind.as_str())
        .env(tests::cleanup::NO_TURNS, "1")
        .stdout(Stdio::piped())
        .spawn()?;
    let output = BufReader::new(killed.stdout.take().expect("piped"));
    let ready = output
        .lines()
        .map_while(Result::ok)
        .find_map(|line| line.strip_prefix(VICTIM).map(str::to_owned));
    killed.kill()?;
    killed.wait()?;
    let directory = PathBuf::from(ready.expect("the victim did not start"));
    assert!(directory.join("owner").exists());
    let cgroups = cgroups_below(&directory)?;
    assert!(!cgroups.is_empty(), "{}", directory.display());
    tests::cleanup::sweep();
    assert!(!directory.exists());
    for cgroup in cgroups {
        assert!(!cgroup.exists(), "{}", cgroup.display());
    }
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).into_owned();
        assert!(
            !line.contains(directory.to_str().expect("text")),
            "still runs: {line}"
        );
    }
    Ok(())
}

/// The cgroups of the processes whose root filesystem is mounted below a directory.
fn cgroups_below(directory: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let needle = directory.to_str().expect("text");
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let Some(process) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let mounts = std::fs::read_to_string(entry.path().join("mounts")).unwrap_or_default();
        let root = mounts.lines().find(|line| line.split(' ').nth(1) == Some("/"));
        if root.is_some_and(|root| root.contains(needle)) {
            found.extend(cgroups_of(process)?);
        }
    }
    Ok(found)
}

const VICTIM: &str = "DRIFTLOCK_TEST_VICTIM";

/// Not a test of its own: the process that [`leftovers_are_swept`] kills.
#[test]
#[ignore = "started by another test"]
fn waits_to_be_killed() -> anyhow::Result<()> {
    let Ok(name) = std::env::var(VICTIM) else {
        return Ok(());
    };
    let kind = Kind::ALL.into_iter().find(|kind| kind.as_str() == name);
    let runtime = kind.expect("the name of a kind").start(Layout::PureV2)?;
    image::build(runtime.as_ref(), IMAGE, "harness")?;
    runtime.run("left", IMAGE, &[], &[])?;
    println!("\n{VICTIM}{}", runtime.place().directory().display());
    std::thread::sleep(Duration::from_mins(1));
    Ok(())
}
