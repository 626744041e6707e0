//! A profile that is exported and imported is the same, byte for byte, and enforces the same.

use tests::agent::{Agent, Options};
use tests::runtime::Layout;
use tests::stage::{IMAGE, LEARNED, Stage};

/// Export, import into an agent that knows nothing, export again: the same bytes; and that agent enforces them.
#[test]
fn a_document_says_all_that_a_profile_is() -> anyhow::Result<()> {
    let mut stage = Stage::learned(Layout::Hybrid, &Options::named("from"))?;
    stage.agent.accept_probe(IMAGE, "/bin/fetch")?;
    let exported = stage.agent.done(&["profile", "export", IMAGE])?;
    assert_eq!(
        stage.agent.done(&["profile", "export", IMAGE])?,
        exported,
        "two exports differ"
    );
    assert!(
        exported.contains("driftlock/v1") && exported.contains(&stage.digest),
        "{exported}"
    );
    let document = stage.runtime.place().directory().join("profile.yaml");
    std::fs::write(&document, &exported)?;
    let document = document
        .to_str()
        .expect("the directory's name is text")
        .to_owned();
    stage.agent.stop()?;

    stage.agent = Agent::start(stage.runtime.as_ref(), &Options::named("to"))?;
    stage.agent.done(&["profile", "import", &document])?;
    assert_eq!(stage.agent.done(&["profile", "export", IMAGE])?, exported);
    let rules = stage.agent.rules(IMAGE, "main")?;
    for behaviour in LEARNED {
        assert!(
            rules.iter().any(|rule| rule == behaviour),
            "{behaviour} is not in {rules:?}"
        );
    }
    stage.agent.set_mode("enforce", IMAGE)?;
    let service = stage.service("imported", &[])?;
    assert!(service.start(&["/bin/fetch", "/tmp/conforming"])?.all_succeeded());
    assert!(service.start(&["/bin/rotate", "/tmp/unknown"])?.all(stage.stop));
    assert_eq!(stage.runtime.read(&service.container, "/tmp/unknown")?, None);
    Ok(())
}

/// A document that is wrong is refused with the place where it is wrong, and changes nothing.
#[test]
fn a_wrong_document_is_refused() -> anyhow::Result<()> {
    let stage = Stage::learned(Layout::Hybrid, &Options::named("wrong"))?;
    let exported = stage.agent.done(&["profile", "export", IMAGE])?;
    let (file, mut lines) = (
        stage.runtime.place().directory().join("wrong.yaml"),
        exported.lines().collect::<Vec<_>>(),
    );
    lines.insert(2, "unheardOf: true");
    std::fs::write(&file, lines.join("\n"))?;
    let file = file.to_str().expect("the directory's name is text");
    let reply = stage.agent.cli(&["profile", "import", file])?;
    assert_eq!(reply.code, 1, "{reply:?}");
    assert!(
        reply.stderr.contains("unheardOf") && reply.stderr.contains(":3:"),
        "{}",
        reply.stderr
    );
    assert_eq!(stage.agent.done(&["profile", "export", IMAGE])?, exported);
    Ok(())
}
