//! The agent's container image, run by Docker as the `DaemonSet` says, watches another container.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde_json::Value;
use tests::environment::{Environment, patience};
use tests::runtime::{Docker, Layout, Runtime};
use tests::stage::{IMAGE, Stage};
use tests::{image, manifest, support};

/// Made by `cargo xtask test`.
const ARCHIVE: &str = "DRIFTLOCK_IMAGE";
/// The agent's container.
const NAME: &str = "driftlock-agent";

#[test]
fn the_image_runs_as_the_daemon_set_says_and_tells_drift() -> anyhow::Result<()> {
    let Some(archive) = std::env::var_os(ARCHIVE) else {
        support::not_on_this_kernel(
            "the image",
            "DRIFTLOCK_IMAGE is not set; `cargo xtask test` makes it",
        );
        return Ok(());
    };
    let docker = Docker::start(Layout::Hybrid)?;
    image::build(&docker, IMAGE, "one")?;
    let loaded = docker.text(["load".into(), "--quiet".into(), "--input".into(), archive])?;
    let reference = loaded
        .rsplit(": ")
        .next()
        .context("nothing is loaded")?
        .to_owned();
    let bpffs = mount_bpf(&docker)?;
    let pinned = bpffs.join("driftlock");

    let set = manifest::read("kubernetes/base/daemonset.yaml")?;
    let pod = &set["spec"]["template"]["spec"];
    let options = manifest::docker_options(pod, |path| in_place_of(&docker, path))?;
    // Where this Docker has its containers, which is not where a node's has them.
    let directory = docker.directory().display();
    let data = format!("--volume={directory}:{directory}:ro,rslave");
    write_configuration(&docker)?;
    let arguments: Vec<&str> = pod["containers"][0]["args"]
        .as_array()
        .context("no arguments")?
        .iter()
        .filter_map(Value::as_str)
        .map(|word| if word == "$(NODE_NAME)" { "node-1" } else { word })
        .collect();
    // As on a node with cgroups of version 2 alone.
    let mut words = vec!["run", "--detach", "--name", NAME, "--cgroupns=private", &data];
    words.extend(options.iter().map(String::as_str));
    words.push(&reference);
    words.extend(arguments);
    docker.text(words)?;

    let outcome = watches(&docker, &pod["containers"][0]["readinessProbe"]);
    let log = docker.output(["logs", NAME])?;
    let ended = docker.text(["stop", "--time=20", NAME]);
    let torn_down = Command::new(&Environment::get().driftlock)
        .arg("teardown")
        .env("DRIFTLOCK_BPFFS", &pinned)
        .env("DRIFTLOCK_SOCKET", docker.directory().join("no-socket"))
        .status();
    outcome.with_context(|| {
        format!(
            "{}{}",
            String::from_utf8_lossy(&log.stdout),
            String::from_utf8_lossy(&log.stderr)
        )
    })?;
    ended?;
    ensure!(
        torn_down?.success(),
        "what the agent pinned is not where it should be"
    );
    Ok(())
}

/// The probe succeeds, the agent is confined, there is no shell, and drift in another container is told.
fn watches(docker: &Docker, probe: &Value) -> anyhow::Result<()> {
    let probe: Vec<&str> = probe["exec"]["command"]
        .as_array()
        .context("no probe")?
        .iter()
        .filter_map(Value::as_str)
        .collect();
    let deadline = Instant::now() + patience(Duration::from_mins(2));
    while !docker
        .output([&["exec", NAME], probe.as_slice()].concat())?
        .status
        .success()
    {
        ensure!(Instant::now() < deadline, "the probe does not succeed");
        std::thread::sleep(Duration::from_millis(200));
    }
    let status = docker.text(["exec", NAME, "driftlock", "status", "--json"])?;
    let status: Value = serde_json::from_str(&status)?;
    ensure!(
        status["node"] == "node-1" && status["confinement"]["confined"] == true,
        "{status:#}"
    );
    ensure!(
        !docker
            .output(["exec", NAME, "/bin/sh", "-c", "true"])?
            .status
            .success(),
        "there is a shell"
    );

    let watched = docker.service("watched", IMAGE, &[], &[])?;
    let id = watched.container.id.clone();
    Stage::drop_payload(&watched, "/tmp/dropped")?;
    watched.start(&["/tmp/dropped", "/tmp/witness"])?;
    loop {
        let lines = docker.text(["logs", NAME])?;
        let alerts = lines
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let mut drift =
            alerts.filter(|alert| alert["kind"] == "exec.drift" && alert["container"]["id"] == id.as_str());
        if let Some(alert) = drift.next() {
            ensure!(alert["container"]["image"]["reference"] == IMAGE, "{alert:#}");
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "no alert");
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// The machine's own directories are the node's, but for what the agent writes.
fn in_place_of(docker: &Docker, path: &str) -> PathBuf {
    match path {
        "/sys/fs/bpf" => docker.directory().join("bpf"),
        "/run/driftlock" => docker.directory().join("agent-run"),
        "/var/lib/driftlock" => docker.directory().join("agent-state"),
        "/run" => docker.directory().join("node-run"),
        "/var/lib" => docker.directory().join("node-lib"),
        "driftlock" => docker.directory().join("agent-config"),
        other => PathBuf::from(other),
    }
}

fn mount_bpf(docker: &Docker) -> anyhow::Result<PathBuf> {
    let bpffs = docker.directory().join("bpf");
    for directory in ["bpf", "node-run/driftlock", "node-lib/driftlock"] {
        std::fs::create_dir_all(docker.directory().join(directory))?;
    }
    let mounted = docker
        .place()
        .beside("mount")
        .args(["-t", "bpf", "bpf"])
        .arg(&bpffs)
        .status()?;
    ensure!(mounted.success(), "cannot mount a BPF file system");
    Ok(bpffs)
}

fn write_configuration(docker: &Docker) -> anyhow::Result<()> {
    let directory = in_place_of(docker, "driftlock");
    std::fs::create_dir_all(&directory)?;
    Ok(std::fs::write(
        directory.join("config.yaml"),
        docker.configuration(),
    )?)
}
