//! The agent's container image, run by Podman as the `DaemonSet` says, watches another container.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde_json::Value;
use tests::environment::{Environment, patience};
use tests::runtime::{Kind, Layout, Podman, Runtime};
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
    // Debian's Docker is older than the capabilities BPF and PERFMON.
    if !Kind::Podman.is_here() {
        support::not_on_this_kernel("the image", "Podman is not there");
        return Ok(());
    }
    let podman = Podman::start(Layout::Hybrid)?;
    image::build(&podman, IMAGE, "one")?;
    let loaded = podman.text(["load", "--quiet", "--input", &archive.to_string_lossy()])?;
    let reference = loaded
        .rsplit(": ")
        .next()
        .context("nothing is loaded")?
        .to_owned();
    let bpffs = mount_bpf(&podman)?;
    let pinned = bpffs.join("driftlock");

    let set = manifest::read("kubernetes/base/daemonset.yaml")?;
    let pod = &set["spec"]["template"]["spec"];
    let options = manifest::run_options(pod, |path| in_place_of(&podman, path))?;
    // Where this Podman has its containers, which is not where a node's has them.
    let directory = podman.place().directory().display();
    let data = format!("--volume={directory}:{directory}:ro,rslave");
    write_configuration(&podman)?;
    let arguments: Vec<&str> = pod["containers"][0]["args"]
        .as_array()
        .context("no arguments")?
        .iter()
        .filter_map(Value::as_str)
        .map(|word| if word == "$(NODE_NAME)" { "node-1" } else { word })
        .collect();
    // As on a node with cgroups of version 2 alone.
    let mut words = vec![
        "run",
        "--log-driver=k8s-file",
        "--detach",
        "--name",
        NAME,
        "--cgroupns=private",
        &data,
    ];
    words.extend(options.iter().map(String::as_str));
    words.push(&reference);
    words.extend(arguments);
    podman.text(words)?;

    let outcome = watches(&podman, &pod["containers"][0]);
    let log = podman.command(["logs", NAME]).output()?;
    let ended = podman.text(["stop", "--time=20", NAME]);
    let torn_down = Command::new(&Environment::get().driftlock)
        .arg("teardown")
        .env("DRIFTLOCK_BPFFS", &pinned)
        .env("DRIFTLOCK_SOCKET", podman.place().directory().join("no-socket"))
        .output();
    outcome.with_context(|| {
        format!(
            "{}{}",
            String::from_utf8_lossy(&log.stdout),
            String::from_utf8_lossy(&log.stderr)
        )
    })?;
    ended?;
    ensure!(
        torn_down?.status.success(),
        "what the agent pinned is not where it should be"
    );
    Ok(())
}

/// The probes succeed, metrics are served, the agent is confined, there is no shell, and drift in another container is told.
fn watches(podman: &Podman, container: &Value) -> anyhow::Result<()> {
    let deadline = Instant::now() + patience(Duration::from_mins(2));
    let port = container["ports"][0]["containerPort"]
        .as_u64()
        .context("no port")?;
    for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
        let path = container[probe]["httpGet"]["path"].as_str().context("no path")?;
        while ask(podman, port, path)?.split(' ').nth(1) != Some("200") {
            ensure!(Instant::now() < deadline, "the {probe} does not succeed");
            std::thread::sleep(Duration::from_millis(200));
        }
    }
    ensure!(ask(podman, port, "/metrics")?.contains("driftlock_build_info"));
    let status = podman.text(["exec", NAME, "driftlock", "status", "--json"])?;
    let status: Value = serde_json::from_str(&status)?;
    ensure!(
        status["node"] == "node-1" && status["confinement"]["confined"] == true,
        "{status:#}"
    );
    ensure!(
        !podman
            .command(["exec", NAME, "/bin/sh", "-c", "true"])
            .output()?
            .status
            .success(),
        "there is a shell"
    );

    let watched = podman.service("watched", IMAGE, &[], &[])?;
    let id = watched.container.id.clone();
    Stage::drop_payload(&watched, "/tmp/dropped")?;
    watched.start(&["/tmp/dropped", "/tmp/witness"])?;
    loop {
        let lines = podman.text(["logs", NAME])?;
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

/// What the agent answers over HTTP, asked in its container's network; nothing if it does not listen.
fn ask(podman: &Podman, port: u64, path: &str) -> anyhow::Result<String> {
    let process = podman.text(["inspect", "--format", "{{.State.Pid}}", NAME])?;
    let words = format!(
        "exec 3<>/dev/tcp/127.0.0.1/{port} && printf 'GET {path} HTTP/1.0\\r\\nHost: localhost\\r\\n\\r\\n' >&3 && cat <&3"
    );
    let answer = podman
        .place()
        .beside("nsenter")
        .args(["--net", "--target", process.trim(), "bash", "-c", &words])
        .output()?;
    Ok(String::from_utf8_lossy(&answer.stdout).into_owned())
}

/// The machine's own directories are the node's, but for what the agent writes.
fn in_place_of(podman: &Podman, path: &str) -> PathBuf {
    match path {
        "/sys/fs/bpf" => podman.place().directory().join("bpf"),
        "/run/driftlock" => podman.place().directory().join("agent-run"),
        "/var/lib/driftlock" => podman.place().directory().join("agent-state"),
        "/run" => podman.place().directory().join("node-run"),
        "/var/lib" => podman.place().directory().join("node-lib"),
        "driftlock" => podman.place().directory().join("agent-config"),
        other => PathBuf::from(other),
    }
}

fn mount_bpf(podman: &Podman) -> anyhow::Result<PathBuf> {
    let bpffs = podman.place().directory().join("bpf");
    for directory in ["bpf", "node-run/driftlock", "node-lib/driftlock"] {
        std::fs::create_dir_all(podman.place().directory().join(directory))?;
    }
    let mounted = podman
        .place()
        .beside("mount")
        .args(["-t", "bpf", "bpf"])
        .arg(&bpffs)
        .status()?;
    ensure!(mounted.success(), "cannot mount a BPF file system");
    Ok(bpffs)
}

fn write_configuration(podman: &Podman) -> anyhow::Result<()> {
    let directory = in_place_of(podman, "driftlock");
    std::fs::create_dir_all(&directory)?;
    let shipped = manifest::read("kubernetes/base/config.yaml")?;
    let shipped = shipped["data"]["config.yaml"]
        .as_str()
        .context("no configuration")?;
    Ok(std::fs::write(
        directory.join("config.yaml"),
        format!("{shipped}{}", podman.configuration()),
    )?)
}
