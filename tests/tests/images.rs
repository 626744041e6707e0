//! A profile belongs to an image by its digest; a reference is a name that moves.

use tests::agent::Options;
use tests::image;
use tests::runtime::Kind;
use tests::stage::{IMAGE, Stage};

tests::on_every_runtime!(a_reference_that_moves_takes_no_profile_along, roles_are_apart);

/// An image that is built anew under the same reference is another image: the old one's profile still holds for its
/// containers, and both can be named by their digests.
fn a_reference_that_moves_takes_no_profile_along(kind: Kind) -> anyhow::Result<()> {
    let stage = Stage::enforcing_on(kind, &Options::named("moving"))?;
    let old = stage.service("old", &[])?;
    let digest = image::build(stage.runtime.as_ref(), IMAGE, "two")?;
    assert_ne!(digest, stage.digest);
    let new = stage.service("new", &[])?;
    let described = stage.agent.wait_until_resolved(&new.container.id)?;
    assert_eq!(described["digest"], digest.as_str(), "{described:#}");
    assert!(old.start(&["/bin/fetch", "/tmp/conforming"])?.all_succeeded());
    assert!(old.start(&["/bin/rotate", "/tmp/unknown"])?.all(stage.stop));
    for known in [&digest, &stage.digest] {
        let shown = stage.agent.json(&["profile", "show", known])?;
        assert_eq!(shown["summary"]["digest"], known.as_str(), "{shown:#}");
    }
    stage.agent.set_mode("enforce", &digest)?;
    assert!(new.start(&["/bin/rotate", "/tmp/unknown"])?.all(stage.stop));
    stage.agent.set_mode("learn", &digest)?;
    assert!(new.start(&["/bin/rotate", "/tmp/learned"])?.all_succeeded());
    stage.agent.wait_until_learned(&digest, &["/bin/rotate"])?;
    assert!(old.start(&["/bin/rotate", "/tmp/unknown"])?.all(stage.stop));
    assert_eq!(stage.runtime.read(&old.container, "/tmp/unknown")?, None);
    // The reference alone fits both: the answer names the newer one, or asks which is meant, but never mixes them.
    let reply = stage.agent.cli(&["profile", "show", IMAGE, "--json"])?;
    if reply.code == 0 {
        let shown: serde_json::Value = serde_json::from_str(&reply.stdout)?;
        assert_eq!(shown["summary"]["digest"], digest.as_str(), "{shown:#}");
    } else {
        assert!(
            reply.stderr.contains(&stage.digest[7..19]) && reply.stderr.contains(&digest[7..19]),
            "{reply:?}"
        );
    }
    Ok(())
}

/// An image serves several roles, by entrypoint: what one does is not permitted to the other.
fn roles_are_apart(kind: Kind) -> anyhow::Result<()> {
    let stage = Stage::enforcing_on(kind, &Options::named("roles"))?;
    stage.agent.set_mode("learn", IMAGE)?;
    let words = ["-c", "/bin/rotate /tmp/learned; /bin/sleep 600"];
    let batch = stage
        .runtime
        .run("batch", IMAGE, &["--entrypoint=/bin/sh"], &words)?;
    let described = stage.agent.wait_until_resolved(&batch.id)?;
    assert_ne!(described["role"], "/bin/service", "{described:#}");
    let role = described["role"].as_str().unwrap_or_default().to_owned();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    loop {
        let shown = stage.agent.json(&["profile", "show", IMAGE, "--role", &role])?;
        let learned = shown["behaviours"].as_array().is_some_and(|behaviours| {
            behaviours
                .iter()
                .any(|behaviour| behaviour["path"] == "/bin/rotate")
        });
        if learned {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "{shown:#}");
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    stage.agent.set_mode("enforce", IMAGE)?;
    let service = stage.service("service", &[])?;
    assert!(service.start(&["/bin/rotate", "/tmp/unknown"])?.all(stage.stop));
    assert!(service.start(&["/bin/fetch", "/tmp/conforming"])?.all_succeeded());
    let batch = stage.runtime.restart(&batch)?;
    let starts = if kind.keeps_files() { 2 } else { 1 };
    for _ in 0..100 {
        let lines = stage
            .runtime
            .read(&batch, "/tmp/learned")?
            .unwrap_or_default()
            .lines()
            .count();
        if lines == starts {
            return Ok(());
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    anyhow::bail!("the other role was disturbed; log:\n{}", stage.agent.log())
}
