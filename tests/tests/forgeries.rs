//! Programs that pretend to be something else: at an image program's path on a mount of their own, behind a bind mount,
//! behind a launcher. None is mistaken for the image's, or the gap is the one that DESIGN names.

use std::path::Path;
use std::process::Command;

use tests::agent::Options;
use tests::docker::Layout;
use tests::image::{self, PAYLOAD};
use tests::stage::{IMAGE, Stage};

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
            &[
                "/usr/bin/userns_overlay",
                PAYLOAD,
                "/bin/fetch",
                "/tmp/overlay.d",
                "/tmp/overlay",
            ],
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
            assert!(
                outcome.all_killed(),
                "{user}: {case:?}: {outcome:?}; log:\n{}",
                stage.agent.log()
            );
            assert_eq!(
                stage.docker.read(&service.container, case[case.len() - 1])?,
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
    assert!(service.start(&["/bin/fetch", "/tmp/bind"])?.all_killed());
    assert_eq!(stage.docker.read(&service.container, "/tmp/bind")?, None);
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
    assert!(service.start(&["/tmp/fetch", "/tmp/link"])?.all_killed());
    assert!(
        service
            .start(&["/bin/busybox", "touch", "/tmp/by-busybox"])?
            .all_killed()
    );
    Stage::drop_payload(&service, "/tmp/dropped")?;
    assert!(
        service
            .start(&["/bin/mv", "/tmp/dropped", "/bin/report"])?
            .all_succeeded()
    );
    assert!(service.start(&["/bin/report", "/tmp/renamed"])?.all_killed());
    for witness in ["/tmp/link", "/tmp/by-busybox", "/tmp/renamed"] {
        assert_eq!(stage.docker.read(&service.container, witness)?, None, "{witness}");
    }
    Ok(())
}

/// The loader as launcher. This tier sees the loader alone: as long as no profile holds it, that is enough. What it
/// loads once it is allowed is the gap that domain `library` closes, and that `doctor` names until then.
#[test]
fn the_loader_is_a_program_like_any_other() -> anyhow::Result<()> {
    let stage = Stage::learned(Layout::Hybrid, &Options::named("loader"))?;
    image::build_with(&stage.docker, "loader:1", "loader", |root| {
        let ldd = Command::new("ldd").arg("/usr/bin/touch").output()?;
        let text = String::from_utf8(ldd.stdout)?;
        for library in text.split_whitespace().filter(|word| word.starts_with('/')) {
            let target = root.join(&library[1..]);
            std::fs::create_dir_all(target.parent().unwrap_or(root))?;
            std::fs::copy(library, target)?;
        }
        std::fs::copy("/usr/bin/touch", root.join("usr/share/dynamic"))?;
        Ok(())
    })?;
    let loader = "/lib64/ld-linux-x86-64.so.2";
    assert!(Path::new(loader).exists(), "not on this machine: {loader}");
    let launch = |service: &tests::service::Service, witness: &str| {
        service.start(&[loader, "/usr/share/dynamic", witness])
    };
    let learning = stage.docker.service("loader-learning", "loader:1", &[], &[])?;
    stage.agent.wait_until_learned("loader:1", &["/bin/service"])?;
    stage.agent.set_mode("enforce", "loader:1")?;
    let unknown = launch(&learning, "/tmp/unknown")?;
    assert!(unknown.all_killed(), "{unknown:?}; log:\n{}", stage.agent.log());
    assert_eq!(stage.docker.read(&learning.container, "/tmp/unknown")?, None);
    stage.agent.set_mode("learn", "loader:1")?;
    assert!(launch(&learning, "/tmp/learned")?.all_succeeded());
    stage.agent.wait_until_learned("loader:1", &[loader])?;
    stage.agent.set_mode("enforce", "loader:1")?;
    assert!(
        launch(&learning, "/tmp/gap")?.all_succeeded(),
        "the gap is closed: name it no longer"
    );
    let doctor = stage.agent.json(&["doctor"])?;
    let library = doctor["tiers"]
        .as_array()
        .and_then(|tiers| tiers.iter().find(|tier| tier["domain"] == "library"));
    assert_eq!(
        library.map(|tier| &tier["can"]),
        Some(&"none".into()),
        "{doctor:#}"
    );
    Ok(())
}
