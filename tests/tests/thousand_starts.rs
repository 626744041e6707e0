//! A program that was dropped does not get to run one instruction, however often it is tried.

use std::time::{Duration, Instant};

use tests::agent::Options;
use tests::service::{Outcomes, Stop};
use tests::stage::{IMAGE, Stage};

const STARTS: u64 = 1_000;

/// 1,000 starts, 0 witnesses, 1,000 refusals that the caller sees, or as many kills, counted and confirmed. Each start would
/// leave a witness of its own.
#[test]
fn no_start_of_a_dropped_program_does_anything() -> anyhow::Result<()> {
    let stage = Stage::enforcing(&Options::named("thousand"))?;
    let witnesses = stage.host_directory("witnesses")?;
    let service = stage.service("thousand", &[&format!("--volume={}:/data", witnesses.display())])?;
    Stage::drop_payload(&service, "/tmp/dropped")?;
    // The same program by the same way does leave a witness where nothing is enforced.
    stage.agent.set_mode("monitor", IMAGE)?;
    assert!(
        service
            .start_many(3, &["/tmp/dropped", "/data/monitor-{}"])?
            .all_succeeded()
    );
    assert_eq!(std::fs::read_dir(&witnesses)?.count(), 3);
    stage.agent.set_mode("enforce", IMAGE)?;
    let (stopped, confirmed) = (
        stage.agent.counter(stage.stop.counter())?,
        stage.agent.counter("kills_confirmed")?,
    );

    let outcomes = service.start_many(STARTS, &["/tmp/dropped", "/data/enforce-{}"])?;

    assert_eq!(outcomes, Outcomes::stopped(stage.stop, STARTS));
    assert_eq!(std::fs::read_dir(&witnesses)?.count(), 3, "something ran");
    assert_eq!(stage.agent.counter(stage.stop.counter())? - stopped, STARTS);
    if stage.stop == Stop::Denied {
        // Nothing was left to be killed.
        assert_eq!(stage.agent.counter("kills")?, 0);
        return Ok(());
    }
    let deadline = Instant::now() + Duration::from_secs(10);
    while stage.agent.counter("kills_confirmed")? - confirmed < STARTS && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(stage.agent.counter("kills_confirmed")? - confirmed, STARTS);
    assert_eq!(stage.agent.counter("kills_failed")?, 0);
    Ok(())
}
