//! Podman of an ordinary user: what the user's files say of an image is believed for that user alone.

use tests::agent::{Agent, Options};
use tests::image;
use tests::runtime::{Kind, Podman, Runtime as _};
use tests::stage::{ALERT_PATIENCE, IMAGE, is_about};
use tests::support;

/// What the container does by itself: it drops a program and executes it.
const DROPS: &[&str] = &[
    "/bin/cp,/usr/share/payload,/tmp/dropped",
    "/bin/chmod,755,/tmp/dropped",
    "/tmp/dropped,/tmp/witness",
];

/// Drift is told, with the container's name and without an image; no profile of the image comes of it.
#[test]
fn a_users_container_is_the_users_own() -> anyhow::Result<()> {
    if !Kind::Podman.is_here() {
        support::not_on_this_kernel("podman", "the runtime is not there");
        return Ok(());
    }
    let podman = Podman::start_as_user()?;
    let digest = image::build(&podman, IMAGE, "rootless")?;
    let agent = Agent::start(&podman, &Options::named("rootless"))?;
    let container = podman.run("mine", IMAGE, &[], DROPS)?;
    let described = agent.wait_until_resolved(&container.id)?;
    assert_eq!(described["name"], "mine", "{described:#}");
    assert_eq!(described["runtime"], "podman", "{described:#}");
    assert_ne!(described["digest"], digest.as_str(), "{described:#}");
    let alert = agent.wait_for_alert(0, ALERT_PATIENCE, |alert| {
        is_about(alert, &container.id) && alert["kind"] == "exec.drift"
    });
    let alert = alert.unwrap_or_else(|| panic!("no alert; log:\n{}", agent.log()));
    assert_eq!(alert["behaviour"]["path"], "/tmp/dropped", "{alert:#}");
    assert_eq!(alert["behaviour"]["layer"], "upper", "{alert:#}");
    assert!(
        alert["container"]["image"]["config_digest"].is_null(),
        "{alert:#}"
    );
    for claimed in [digest.as_str(), IMAGE] {
        assert_ne!(agent.cli(&["profile", "show", claimed])?.code, 0, "{claimed}");
    }
    Ok(())
}
