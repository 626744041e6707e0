//! containerd in its other uses: by itself, and as the one that a Docker daemon is given.

use std::process::Output;

use tests::agent::{Agent, Options};
use tests::cleanup::PLAIN;
use tests::image::{self, PAYLOAD};
use tests::runtime::{Containerd, Docker, Kind, Layout, Runtime as _};
use tests::stage::{ALERT_PATIENCE, IMAGE, is_about};
use tests::support;

/// What the container does by itself: it drops a program and executes it.
const DROPS: &[&str] = &[
    "/bin/cp,/usr/share/payload,/tmp/dropped",
    "/bin/chmod,755,/tmp/dropped",
    "/tmp/dropped,/tmp/witness",
];

/// As tools without a daemon of their own start containers (nerdctl, ctr): no pod, the image known by its name in containerd.
#[test]
fn a_plain_container_is_known_by_its_image() -> anyhow::Result<()> {
    if !Kind::Containerd.is_here() {
        support::not_on_this_kernel("containerd", "the runtime is not there");
        return Ok(());
    }
    assert!(DROPS[0].contains(PAYLOAD));
    let containerd = Containerd::start(Layout::Hybrid)?;
    let root = image::lay_out(containerd.place().directory(), "plain")?;
    let digest = containerd.import_into(PLAIN, root.path(), IMAGE, &["/bin/service"])?;
    let agent = Agent::start(&containerd, &Options::named("plain"))?;
    // Drawn once; nerdctl draws one for each container.
    let id = "5f3d2c1b0a99887766554433221100ffeeddccbbaa00112233445566778899aa";
    let runc_root = format!(
        "--runc-root={}",
        containerd.place().directory().join("runc").display()
    );
    let cgroup = format!("--cgroup=/{PLAIN}/{id}");
    let run = [
        "run",
        "--detach",
        "--null-io",
        &runc_root,
        &cgroup,
        IMAGE,
        id,
        "/bin/service",
    ];
    succeeded(&containerd.ctr(PLAIN).args(run).args(DROPS).output()?)?;
    let described = agent.wait_until_resolved(id)?;
    assert_eq!(described["digest"], digest.as_str(), "{described:#}");
    let alert = agent.wait_for_alert(0, ALERT_PATIENCE, |alert| {
        is_about(alert, id) && alert["kind"] == "exec.drift"
    });
    let alert = alert.unwrap_or_else(|| panic!("no alert; log:\n{}", agent.log()));
    assert_eq!(alert["behaviour"]["path"], "/tmp/dropped", "{alert:#}");
    assert_eq!(alert["container"]["runtime"], "containerd", "{alert:#}");
    assert_eq!(
        alert["container"]["image"]["config_digest"],
        digest.as_str(),
        "{alert:#}"
    );
    assert!(alert["container"]["pod"].is_null(), "{alert:#}");
    succeeded(
        &containerd
            .ctr(PLAIN)
            .args(["tasks", "kill", "--signal=9", id])
            .output()?,
    )?;
    Ok(())
}

fn succeeded(output: &Output) -> anyhow::Result<()> {
    anyhow::ensure!(output.status.success(), "{output:?}");
    Ok(())
}

/// A Docker daemon that was given a containerd which others use, too, as Debian's and Docker's own packages do it.
#[test]
fn docker_on_a_containerd_that_others_use_is_docker() -> anyhow::Result<()> {
    if !Kind::Containerd.is_here() {
        support::not_on_this_kernel("containerd", "the runtime is not there");
        return Ok(());
    }
    let containerd = Containerd::start(Layout::Hybrid)?;
    let socket = format!("--containerd={}", containerd.socket().display());
    let docker = Docker::start_with(Layout::Hybrid, &[&socket])?;
    let digest = image::build(&docker, IMAGE, "shared")?;
    let agent = Agent::start(&docker, &Options::named("shared"))?;
    let container = docker.run("shared", IMAGE, &[], DROPS)?;
    let described = agent.wait_until_resolved(&container.id)?;
    assert_eq!(described["digest"], digest.as_str(), "{described:#}");
    let alert = agent.wait_for_alert(0, ALERT_PATIENCE, |alert| {
        is_about(alert, &container.id) && alert["kind"] == "exec.drift"
    });
    let alert = alert.unwrap_or_else(|| panic!("no alert; log:\n{}", agent.log()));
    assert_eq!(alert["container"]["name"], "shared", "{alert:#}");
    assert_eq!(alert["container"]["runtime"], "docker", "{alert:#}");
    assert_eq!(
        alert["container"]["image"]["config_digest"],
        digest.as_str(),
        "{alert:#}"
    );
    drop((agent, docker));
    drop(containerd);
    Ok(())
}
