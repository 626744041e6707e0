//! An agent that is killed loses nothing that it has shown.

use std::collections::BTreeSet;
use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

use tests::agent::{Agent, Options};
use tests::environment::Environment;
use tests::image;
use tests::runtime::Layout;
use tests::stage::Stage;

const CRASHES: usize = 50;
const CRASHING: &str = "crashing:1";

/// A random time of at most `most_ms` milliseconds.
fn random(most_ms: u64) -> Duration {
    Duration::from_millis(RandomState::new().hash_one(0) % (most_ms + 1))
}

/// Killed at random 50 times while learning: each time the store opens and holds all that was shown before, and in
/// the end nothing of that is reported as unknown.
#[test]
fn what_was_shown_is_never_lost() -> anyhow::Result<()> {
    let mut stage = Stage::start(Layout::Hybrid, &Options::named("crashing"))?;
    image::build_with(stage.runtime.as_ref(), CRASHING, "crashing", |root| {
        std::fs::create_dir(root.join("opt"))?;
        for number in 0..CRASHES * 4 {
            let target = root.join(format!("opt/{number}"));
            std::fs::copy(Environment::get().fixture("fetch"), target)?;
        }
        Ok(())
    })?;
    let service = stage.runtime.service("crashing", CRASHING, &[], &[])?;
    stage.agent.wait_until_learned(CRASHING, &["/bin/service"])?;
    let mut shown = BTreeSet::new();
    for crash in 0..CRASHES {
        let starting = std::thread::scope(|scope| -> anyhow::Result<()> {
            let (service, stage) = (&service, &stage);
            let learning = scope.spawn(move || {
                (crash * 4..crash * 4 + 4).try_for_each(|number| {
                    let outcome = service.start(&[&format!("/opt/{number}")])?;
                    anyhow::ensure!(
                        outcome.all_succeeded(),
                        "/opt/{number} while learning: {outcome:?}"
                    );
                    Ok(())
                })
            });
            let until = std::time::Instant::now() + random(300);
            while std::time::Instant::now() < until {
                shown.extend(stage.agent.rules(CRASHING, "main")?);
            }
            learning.join().expect("no panic")
        });
        starting?;
        shown.extend(stage.agent.rules(CRASHING, "main")?);
        stage.agent.kill()?;
        if crash % 5 == 4 {
            // Killed while it starts, too.
            let mut starting = Agent::spawn(stage.runtime.as_ref(), &Options::named("crashing"))?;
            std::thread::sleep(random(1_000));
            starting.kill()?;
        }
        stage.agent = Agent::start(stage.runtime.as_ref(), &Options::named("crashing"))?;
        let held: BTreeSet<String> = stage.agent.rules(CRASHING, "main")?.into_iter().collect();
        let lost: Vec<_> = shown.difference(&held).collect();
        assert!(lost.is_empty(), "crash {crash}: lost {lost:?}");
    }
    println!(
        "{} of {} behaviours were shown before a crash",
        shown.len(),
        CRASHES * 4 + 1
    );
    assert!(shown.len() > CRASHES, "hardly anything was learned: {shown:?}");
    stage.agent.wait_until_resolved(&service.container.id)?;
    stage.agent.set_mode("monitor", CRASHING)?;
    let mark = stage.agent.mark();
    for path in shown.iter().filter(|path| path.starts_with("/opt/")) {
        assert!(service.start(&[path])?.all_succeeded());
    }
    // What was never executed while learning is reported, so silence about the others means something.
    assert!(service.start(&["/bin/rotate"])?.all_succeeded());
    let alert = stage.expect_alert(mark, &service);
    assert_eq!(alert["behaviour"]["path"], "/bin/rotate", "{alert:#}");
    let other = stage.agent.wait_for_alert(mark, Duration::from_secs(2), |alert| {
        alert["behaviour"]["path"] != "/bin/rotate"
    });
    assert_eq!(other, None, "what was learned is reported");
    Ok(())
}
