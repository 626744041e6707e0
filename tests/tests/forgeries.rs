//! Programs that pretend to be something else: at an image program's path on a mount of their own, behind a bind mount,
//! behind a launcher. None is mistaken for the image's, or the gap is the one that DESIGN names.

use std::time::Duration;

use tests::agent::Options;
use tests::image::{DYNAMIC, LOADER, PAYLOAD};
use tests::stage::{IMAGE, Stage};
use tests::support;

/// Mounts an overlay in a user namespace of its own.
const OVERLAY: &str = "/usr/bin/userns_overlay";
/// Linux allows that since this version.
const OVERLAY_SINCE: (u32, u32) = (5, 11);
/// How long nothing has to be told for it to count as silence.
const QUIET: Duration = Duration::from_secs(2);

/// Without this Docker's system call filter refuses the attacks before anything is executed.
const UNCONFINED: &str = "--security-opt=seccomp=unconfined";

/// An overlay of one's own in a user namespace of one's own, as root and as nobody, and a filesystem that is mounted
/// nowhere, each with the program at the path of one that is allowed: layer `foreign`, killed.
#[test]
fn a_mount_of_ones_own_is_foreign() -> anyhow::Result<()> {
    let stage = Stage::enforcing(&Options::named("foreign"))?;
    for (user, name) in [("root", "as-root"), ("nobody", "as-nobody")] {
        let service = stage.service(name, &[UNCONFINED, "--user", user])?;
        let cases: [&[&str]; 2] = [
            &[OVERLAY, PAYLOAD, "/bin/fetch", "/tmp/overlay.d", "/tmp/overlay"],
            &[
                "/usr/bin/detached",
                "--own-namespaces",
                PAYLOAD,
                "/bin/fetch",
                "/tmp/detached",
            ],
        ];
        for case in cases {
            let mark = stage.agent.mark();
            let outcome = service.start(case)?;
            if case[0] == OVERLAY && support::kernel_version()? < OVERLAY_SINCE {
                // Its exit code is the number of the error: EPERM.
                assert_eq!(outcome.failed, 1, "{user}: {outcome:?}");
                assert_eq!(stage.agent.wait_for_alert(mark, QUIET, |_| true), None);
                support::not_on_this_kernel(
                    "an overlay of one's own",
                    "before Linux 5.11 overlays cannot be mounted in a user namespace",
                );
                continue;
            }
            assert!(
                outcome.all(stage.stop),
                "{user}: {case:?}: {outcome:?}; log:\n{}",
                stage.agent.log()
            );
            assert_eq!(
                stage.runtime.read(&service.container, case[case.len() - 1])?,
                None,
                "{user}: {case:?} ran"
            );
            let alert = stage.expect_alert(mark, &service);
            assert_eq!(alert["kind"], "exec.drift", "{user}: {alert:#}");
            assert_eq!(alert["behaviour"]["layer"], "foreign", "{user}: {alert:#}");
            // Told as the mounts show it, which may be the very path of the image's program: the layer is what differs.
            let path = alert["behaviour"]["path"].as_str().unwrap_or_default();
            assert!(path.ends_with("/bin/fetch"), "{user}: {alert:#}");
        }
    }
    Ok(())
}

/// A bind mount over an allowed program does not lend its path: the program is known by where it lies in the image.
#[test]
fn a_bind_mount_lends_no_path() -> anyhow::Result<()> {
    let stage = Stage::enforcing(&Options::named("bind"))?;
    stage.agent.accept_applet(IMAGE, "/bin/busybox", "mount")?;
    let service = stage.service("bind", &[UNCONFINED, "--cap-add=SYS_ADMIN"])?;
    let mounted = service.start(&["/bin/mount", "-o", "bind", "/bin/rotate", "/bin/fetch"])?;
    assert!(
        mounted.all_succeeded(),
        "{mounted:?}; log:\n{}",
        stage.agent.log()
    );
    let mark = stage.agent.mark();
    assert!(service.start(&["/bin/fetch", "/tmp/bind"])?.all(stage.stop));
    assert_eq!(stage.runtime.read(&service.container, "/tmp/bind")?, None);
    let alert = stage.expect_alert(mark, &service);
    assert_eq!(alert["kind"], "exec.unknown", "{alert:#}");
    assert_eq!(alert["behaviour"]["path"], "/bin/rotate", "{alert:#}");
    Ok(())
}

/// Names lend nothing either: a link or a new name for an image program is judged by the file, and `busybox APPLET`
/// is not the applet's own link.
#[test]
fn another_name_lends_nothing() -> anyhow::Result<()> {
    let stage = Stage::enforcing(&Options::named("names"))?;
    stage.agent.accept_applet(IMAGE, "/bin/busybox", "ln")?;
    stage.agent.accept_applet(IMAGE, "/bin/busybox", "mv")?;
    let service = stage.service("names", &[])?;
    assert!(
        service
            .start(&["/bin/ln", "-s", "/bin/rotate", "/tmp/fetch"])?
            .all_succeeded()
    );
    assert!(service.start(&["/tmp/fetch", "/tmp/link"])?.all(stage.stop));
    assert!(
        service
            .start(&["/bin/busybox", "touch", "/tmp/by-busybox"])?
            .all(stage.stop)
    );
    Stage::drop_payload(&service, "/tmp/dropped")?;
    assert!(
        service
            .start(&["/bin/mv", "/tmp/dropped", "/bin/report"])?
            .all_succeeded()
    );
    assert!(service.start(&["/bin/report", "/tmp/renamed"])?.all(stage.stop));
    for witness in ["/tmp/link", "/tmp/by-busybox", "/tmp/renamed"] {
        assert_eq!(
            stage.runtime.read(&service.container, witness)?,
            None,
            "{witness}"
        );
    }
    Ok(())
}

/// The loader as launcher is a program like any other: as long as no profile holds it, that is enough. Once it is allowed, what it
/// loads is the business of domain `library` (`tests/library.rs`), and without that a gap that `doctor` names.
#[test]
fn the_loader_is_a_program_like_any_other() -> anyhow::Result<()> {
    let stage = Stage::enforcing(&Options::named("loader"))?;
    let service = stage.service("loader", &[])?;
    for argv in [
        ["/bin/cp", DYNAMIC, "/tmp/dropped"],
        ["/bin/chmod", "755", "/tmp/dropped"],
    ] {
        assert!(service.start(&argv)?.all_succeeded());
    }
    let launch = |witness: &str| service.start(&[LOADER, "/tmp/dropped", witness]);
    let mark = stage.agent.mark();
    let unknown = launch("/tmp/unknown")?;
    assert!(
        unknown.all(stage.stop),
        "{unknown:?}; log:\n{}",
        stage.agent.log()
    );
    assert_eq!(stage.runtime.read(&service.container, "/tmp/unknown")?, None);
    let alert = stage.expect_alert(mark, &service);
    assert_eq!(alert["behaviour"]["path"], LOADER, "{alert:#}");
    stage.agent.accept(IMAGE, LOADER)?;
    let allowed = launch("/tmp/allowed")?;
    let ran = stage.runtime.read(&service.container, "/tmp/allowed")?.is_some();
    let doctor = stage.agent.json(&["doctor"])?;
    match support::field(&doctor, "library", "can")?.as_str() {
        "deny" => assert!(!ran && !allowed.all_succeeded(), "{allowed:?}"),
        _ => assert!(
            ran && allowed.all_succeeded(),
            "the gap is closed: name it no longer"
        ),
    }
    Ok(())
}
