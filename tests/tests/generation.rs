//! While a profile is replaced nothing that it allows is killed and nothing that it does not allow survives.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tests::agent::{Agent, Options};
use tests::service::Outcomes;
use tests::stage::{IMAGE, Stage};

const ALLOWED: u64 = 5_000;
const DRIFTED: u64 = 500;

/// A hook takes the generation that it read for the one before it, as if a flip had come in between.
const STALE: &str = "DRIFTLOCK_TEST_STALE_GENERATION";
/// A hook that misses does not read the generation again.
const NO_REREAD: &str = "DRIFTLOCK_TEST_NO_REREAD";

/// The generation of a container's rules in the kernel.
fn generation(agent: &Agent, container: &str) -> anyhow::Result<u64> {
    let container = agent.wait_until_resolved(container)?;
    container["generation"]
        .as_u64()
        .ok_or_else(|| anyhow::anyhow!("no generation: {container:#}"))
}

/// 5,000 allowed and 500 drifted starts while the rules are published anew ten times a second.
#[test]
fn a_flip_neither_kills_nor_spares() -> anyhow::Result<()> {
    let stage = Stage::enforcing(&Options::named("flips"))?;
    let document = stage.runtime.place().directory().join("profile.yaml");
    std::fs::write(&document, stage.agent.done(&["profile", "export", IMAGE])?)?;
    let document = document
        .to_str()
        .expect("the directory's name is text")
        .to_owned();
    let witnesses = stage.host_directory("witnesses")?;
    let volume = format!("--volume={}:/data", witnesses.display());
    let (conforming, attacked) = (
        stage.service("conforming", &[])?,
        stage.service("attacked", &[&volume])?,
    );
    Stage::drop_payload(&attacked, "/tmp/dropped")?;
    let first = generation(&stage.agent, &conforming.container.id)?;
    let mark = stage.agent.mark();
    let (started, done) = (Instant::now(), AtomicBool::new(false));
    let (flips, allowed, drifted) = std::thread::scope(|scope| {
        let flipping = scope.spawn(|| -> anyhow::Result<u64> {
            let mut flips = 0;
            while !done.load(Ordering::Relaxed) {
                let next = Instant::now() + Duration::from_millis(100);
                stage.agent.done(&["profile", "import", &document])?;
                flips += 1;
                std::thread::sleep(next.saturating_duration_since(Instant::now()));
            }
            Ok(flips)
        });
        let drifted = scope.spawn(|| attacked.start_many(DRIFTED, &["/tmp/dropped", "/data/witness-{}"]));
        let mut allowed = conforming.start_many(ALLOWED, &["/bin/fetch"]);
        // Whatever the machine's speed, the flips must have happened: 50 are five seconds' worth.
        while started.elapsed() < Duration::from_secs(6) && allowed.is_ok() {
            allowed = allowed.and_then(|sum| {
                let more = conforming.start_many(100, &["/bin/fetch"])?;
                Ok(Outcomes {
                    succeeded: sum.succeeded + more.succeeded,
                    failed: sum.failed + more.failed,
                    killed: sum.killed + more.killed,
                    denied: sum.denied + more.denied,
                    not_permitted: sum.not_permitted + more.not_permitted,
                    other: sum.other + more.other,
                })
            });
        }
        let drifted = drifted.join().expect("no panic");
        done.store(true, Ordering::Relaxed);
        (flipping.join().expect("no panic"), allowed, drifted)
    });
    let (flips, allowed, drifted) = (flips?, allowed?, drifted?);
    let last = generation(&stage.agent, &conforming.container.id)?;
    println!(
        "{flips} flips in {:?}, generation {first} to {last}, {} allowed",
        started.elapsed(),
        allowed.succeeded
    );
    assert!(
        last - first >= flips,
        "an import of the same document did not publish: {first} to {last}, {flips} imports"
    );
    assert!(flips >= 30, "only {flips} flips in {:?}", started.elapsed());
    assert!(allowed.all_succeeded(), "{allowed:?}");
    assert!(allowed.succeeded >= ALLOWED);
    assert_eq!(drifted, Outcomes::stopped(stage.stop_at_root, DRIFTED));
    assert_eq!(std::fs::read_dir(&witnesses)?.count(), 0, "a drifted program ran");
    let wrong = stage
        .agent
        .alerts()
        .into_iter()
        .skip(mark)
        .find(|alert| alert["kind"] != "exec.drift");
    assert_eq!(wrong, None);
    Ok(())
}

/// The race itself, forced on every lookup: each first read is stale, and the second read alone makes it right.
#[test]
fn a_stale_generation_is_read_again() -> anyhow::Result<()> {
    let mut stage = Stage::enforcing(&Options::named("stale"))?;
    let service = stage.service("stale", &[])?;
    stage.agent.stop()?;
    let options = Options {
        variables: vec![(STALE, "1".to_owned())],
        ..Options::named("stale")
    };
    stage.agent = Agent::start(stage.runtime.as_ref(), &options)?;
    stage.agent.wait_until_resolved(&service.container.id)?;
    let mark = stage.agent.mark();
    let outcomes = service.start_many(200, &["/bin/fetch", "/tmp/conforming"])?;
    assert!(
        outcomes.all_succeeded(),
        "{outcomes:?}; log:\n{}",
        stage.agent.log()
    );
    assert_eq!(
        stage.agent.wait_for_alert(mark, Duration::from_secs(2), |_| true),
        None
    );
    assert!(service.start(&["/bin/rotate", "/tmp/unknown"])?.all(stage.stop));
    assert_eq!(stage.runtime.read(&service.container, "/tmp/unknown")?, None);
    Ok(())
}

/// The same without the second read kills what is allowed: the test above can fail.
#[test]
fn without_the_second_read_a_stale_generation_kills() -> anyhow::Result<()> {
    let mut stage = Stage::enforcing(&Options::named("no-reread"))?;
    let service = stage.service("no-reread", &[])?;
    stage.agent.stop()?;
    let broken = Options {
        variables: vec![(STALE, "1".to_owned()), (NO_REREAD, "1".to_owned())],
        ..Options::named("no-reread")
    };
    stage.agent = Agent::start(stage.runtime.as_ref(), &broken)?;
    stage.agent.wait_until_resolved(&service.container.id)?;
    let outcomes = service.start_many(20, &["/bin/fetch", "/tmp/conforming"])?;
    assert!(
        outcomes.all(stage.stop),
        "{outcomes:?}; log:\n{}",
        stage.agent.log()
    );
    assert_eq!(stage.runtime.read(&service.container, "/tmp/conforming")?, None);
    Ok(())
}
