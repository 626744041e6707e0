//! A node that enforces only what a trusted key has signed: keys are minisign's, the signature is of the exported document.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, ensure};
use tests::agent::{Agent, Options};
use tests::runtime::Kind;
use tests::stage::{IMAGE, Stage};

/// A secret key's file and its public key, by minisign.
fn key(directory: &Path, name: &str) -> anyhow::Result<(String, String)> {
    let [secret, public] = ["key", "pub"].map(|end| directory.join(format!("{name}.{end}")));
    let made = Command::new("minisign")
        .args(["-G", "-W", "-s"])
        .arg(&secret)
        .arg("-p")
        .arg(&public)
        .output()
        .context("minisign is not there")?;
    ensure!(made.status.success(), "minisign: {made:?}");
    let text = std::fs::read_to_string(&public)?;
    let public = text.lines().nth(1).context("no public key")?.to_owned();
    Ok((secret.display().to_string(), public))
}

/// Mode and source of a container in a domain.
fn mode(agent: &Agent, container: &str, domain: &str) -> anyhow::Result<(String, String)> {
    let found = agent.wait_until_resolved(container)?;
    let modes = found["modes"].as_array().context("no modes")?;
    let mode = modes
        .iter()
        .find(|mode| mode["domain"] == domain)
        .with_context(|| format!("no mode for {domain}: {found:#}"))?;
    let word = |name: &str| mode[name].as_str().unwrap_or_default().to_owned();
    Ok((word("mode"), word("source")))
}

#[test]
fn only_what_a_trusted_key_has_signed_is_enforced() -> anyhow::Result<()> {
    let keys = tempfile::tempdir()?;
    let (secret, public) = key(keys.path(), "ops")?;
    let (stranger, _) = key(keys.path(), "stranger")?;
    let options = Options {
        config: format!("profiles:\n  trusted_keys: [{public}]\n  enforce_only_signed: true\n"),
        ..Options::named("signed")
    };
    let mut stage = Stage::learned(Kind::Docker, &options)?;
    stage.agent.set_mode("enforce", IMAGE)?;
    let service = stage.service("watched", &[])?;
    let id = service.container.id.clone();
    let of = |stage: &Stage, domain: &str| mode(&stage.agent, &id, domain);
    let unsigned = ("monitor".to_owned(), "unsigned".to_owned());
    let enforced = ("enforce".to_owned(), "image".to_owned());

    // Nobody signed it: it is reported upon.
    assert_eq!(of(&stage, "exec")?, unsigned);
    let doctor = stage.agent.done(&["doctor"])?;
    assert!(doctor.contains("no trusted key has signed"), "{doctor}");
    let mark = stage.agent.mark();
    assert!(service.start(&["/bin/rotate", "/tmp/before"])?.all_succeeded());
    let alert = stage.expect_alert(mark, &service);
    assert_eq!(alert["action"]["taken"], "none", "{alert:#}");
    assert_eq!(alert["mode"], "monitor", "{alert:#}");

    let file = keys.path().join("profile.yaml");
    std::fs::write(&file, stage.agent.done(&["profile", "export", IMAGE])?)?;
    let file = file.to_str().context("text")?.to_owned();
    // A stranger's signature is refused as a whole, and changes nothing.
    stage
        .agent
        .done(&["profile", "sign", &file, "--key", &stranger])?;
    let reply = stage.agent.cli(&["profile", "import", &file])?;
    assert_eq!(reply.code, 1, "{reply:?}");
    assert!(
        reply.stderr.contains("which is not trusted here") && reply.stderr.contains("--unsigned"),
        "{}",
        reply.stderr
    );
    stage.agent.done(&["profile", "import", &file, "--unsigned"])?;
    assert_eq!(of(&stage, "exec")?, unsigned);

    // Signed by the right key it is enforced at once, in the container that runs.
    stage.agent.done(&["profile", "sign", &file, "--key", &secret])?;
    stage.agent.done(&["profile", "import", &file])?;
    assert_eq!(of(&stage, "exec")?, enforced);
    assert_eq!(of(&stage, "library")?, enforced);
    assert!(service.start(&["/bin/fetch"])?.all_succeeded());
    assert!(service.start(&["/bin/rotate", "/tmp/signed"])?.all(stage.stop));
    assert_eq!(stage.runtime.read(&service.container, "/tmp/signed")?, None);

    // So it is after a restart: key, document and signature are read again.
    stage.agent.restart(stage.runtime.as_ref(), &options)?;
    assert_eq!(of(&stage, "exec")?, enforced);
    let shown = stage.agent.done(&["profile", "show", IMAGE])?;
    assert!(shown.contains("holds (timestamp:"), "{shown}");

    // What is permitted beyond what was signed ends it, in its domain alone, until the signed document is back.
    stage.agent.accept(IMAGE, "/bin/rotate")?;
    assert_eq!(of(&stage, "exec")?, unsigned);
    assert_eq!(of(&stage, "library")?, enforced);
    stage.agent.done(&["profile", "import", &file])?;
    assert_eq!(of(&stage, "exec")?, enforced);

    // A container that learns teaches all of its image: what it learns was not signed.
    let learning = stage.service("learning", &[])?;
    let name = learning.container.name.clone();
    stage
        .agent
        .done(&["mode", "set", "learn", "--container", &name])?;
    assert_eq!(of(&stage, "exec")?, enforced, "nothing was learned yet");
    assert!(learning.start(&["/bin/rotate", "/tmp/learned"])?.all_succeeded());
    stage.agent.wait_until_learned(IMAGE, &["/bin/rotate"])?;
    assert_eq!(of(&stage, "exec")?, unsigned);
    assert_eq!(of(&stage, "library")?, enforced);

    // Without the key in the configuration the signature vouches for nothing.
    let others = Options {
        config: options.config.replace(&public, &key(keys.path(), "third")?.1),
        ..options.clone()
    };
    stage.agent.done(&["profile", "import", &file])?;
    assert_eq!(of(&stage, "exec")?, enforced);
    stage.agent.restart(stage.runtime.as_ref(), &others)?;
    assert_eq!(of(&stage, "exec")?, unsigned);
    assert_eq!(of(&stage, "library")?, unsigned);
    Ok(())
}
