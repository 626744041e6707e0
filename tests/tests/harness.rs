//! The harness itself: without it, a test that finds nothing killed would prove nothing.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use tests::docker::{Docker, Layout};
use tests::image::{self, PAYLOAD, SCRIPT};
use tests::service::Outcomes;

/// On every layout a container starts, its first process starts programs and sees how they end, and the container's
/// cgroup is where that layout has it.
#[test]
fn containers_run_on_every_layout() -> anyhow::Result<()> {
    for layout in [Layout::Hybrid, Layout::PureV2, Layout::V1] {
        let docker = Docker::start(layout)?;
        image::build(&docker, "harness:1", "harness")?;
        let service = docker.service("plain", "harness:1", &[], &["/bin/fetch,/tmp/started"])?;
        let container = &service.container;
        assert_eq!(
            docker.read(container, "/tmp/started")?.as_deref(),
            Some("fetch\n"),
            "{layout:?}"
        );
        assert_eq!(docker.read(container, "/tmp/nothing")?, None);
        assert!(
            service
                .start_many(3, &["/bin/report", "/tmp/report-{}"])?
                .all_succeeded()
        );
        assert_eq!(
            docker.read(container, "/tmp/report-2")?.as_deref(),
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
        assert_eq!(
            docker
                .exec(container, &["/bin/sh", "-c", "exit 7"])?
                .status
                .code(),
            Some(7)
        );

        let process = docker.inspect(&container.id)?["State"]["Pid"]
            .as_u64()
            .expect("process id");
        let cgroups = std::fs::read_to_string(format!("/proc/{process}/cgroup"))?;
        let place = format!("/docker/{}", container.id);
        let (in_v2, in_v1): (Vec<_>, Vec<_>) = cgroups
            .lines()
            .filter(|line| line.ends_with(&place))
            .partition(|line| line.starts_with("0::"));
        let expected = match layout {
            Layout::Hybrid => (true, true),
            Layout::PureV2 => (true, false),
            Layout::V1 => (false, true),
        };
        assert_eq!(
            (!in_v2.is_empty(), !in_v1.is_empty()),
            expected,
            "{layout:?}: {cgroups}"
        );
    }
    Ok(())
}

/// Nothing is left of a daemon: no process, no mount, no cgroup, no file.
#[test]
fn nothing_is_left() -> anyhow::Result<()> {
    let docker = Docker::start(Layout::Hybrid)?;
    image::build(&docker, "harness:1", "harness")?;
    let container = docker.run("left", "harness:1", &[], &[])?;
    let directory = docker.directory().to_owned();
    let cgroups: Vec<PathBuf> = tests::cleanup::hierarchies()
        .iter()
        .map(|hierarchy| hierarchy.join("docker").join(&container.id))
        .filter(|cgroup| cgroup.exists())
        .collect();
    assert!(!cgroups.is_empty());
    drop(docker);
    assert!(!directory.exists());
    for cgroup in cgroups {
        assert!(!cgroup.exists(), "{}", cgroup.display());
    }
    assert!(!std::fs::read_to_string("/proc/self/mounts")?.contains(directory.to_str().expect("text")));
    Ok(())
}

/// The forgeries run where nothing watches: they are not refused for a reason of their own.
#[test]
fn forgeries_run_where_nothing_watches() -> anyhow::Result<()> {
    let docker = Docker::start(Layout::Hybrid)?;
    image::build(&docker, "harness:1", "harness")?;
    let options = ["--security-opt=seccomp=unconfined"];
    let service = docker.service("forge", "harness:1", &options, &[])?;
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
#[test]
fn leftovers_are_swept() -> anyhow::Result<()> {
    let mut killed = Command::new(std::env::current_exe()?)
        .args(["--exact", "waits_to_be_killed", "--nocapture", "--ignored"])
        .env(VICTIM, "1")
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
    assert!(directory.join("dockerd.pid").exists());
    tests::cleanup::sweep();
    assert!(!directory.exists());
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

const VICTIM: &str = "DRIFTLOCK_TEST_VICTIM";

/// Not a test of its own: the process that [`leftovers_are_swept`] kills.
#[test]
#[ignore = "started by another test"]
fn waits_to_be_killed() -> anyhow::Result<()> {
    if std::env::var_os(VICTIM).is_none() {
        return Ok(());
    }
    let docker = Docker::start(Layout::PureV2)?;
    image::build(&docker, "harness:1", "harness")?;
    docker.run("left", "harness:1", &[], &[])?;
    println!("\n{VICTIM}{}", docker.directory().display());
    std::thread::sleep(Duration::from_mins(1));
    Ok(())
}
