//! A program that was dropped does not get to run one instruction, however often it is tried.

use std::path::Path;
use std::time::{Duration, Instant};

use tests::agent::Options;
use tests::service::{Outcomes, Service, Stop};
use tests::stage::{IMAGE, Stage};

const STARTS: u64 = 1_000;

/// Dropped on a volume and in the root filesystem, each: 1,000 starts, 0 witnesses, 1,000 refusals that the caller sees, or as
/// many kills, counted and confirmed. Each start would leave a witness of its own.
#[test]
fn no_start_of_a_dropped_program_does_anything() -> anyhow::Result<()> {
    let stage = Stage::enforcing(&Options::named("thousand"))?;
    let witnesses = stage.host_directory("witnesses")?;
    let volume = format!("--volume={}:/data", witnesses.display());
    let service = stage.service("thousand", &[&volume, "--tmpfs=/run:exec"])?;
    for (program, stop) in [("/run/dropped", stage.stop), ("/tmp/dropped", stage.stop_at_root)] {
        Stage::drop_payload(&service, program)?;
        // The same program by the same way does leave a witness where nothing is enforced.
        stage.agent.set_mode("monitor", IMAGE)?;
        let before = std::fs::read_dir(&witnesses)?.count();
        let monitored = service.start_many(3, &[program, &format!("/data/{stop:?}-{{}}")])?;
        assert!(monitored.all_succeeded(), "{monitored:?}");
        assert_eq!(std::fs::read_dir(&witnesses)?.count(), before + 3);
        stage.agent.set_mode("enforce", IMAGE)?;
        no_start_does_anything(&stage, &service, &witnesses, program, stop)?;
    }
    Ok(())
}

fn no_start_does_anything(
    stage: &Stage,
    service: &Service,
    witnesses: &Path,
    program: &str,
    stop: Stop,
) -> anyhow::Result<()> {
    let before = std::fs::read_dir(witnesses)?.count();
    let counted = ["kills", "denied", "kills_confirmed"].map(|name| stage.agent.counter(name));
    let [kills, denied, confirmed] = counted.map(|count| count.expect("a counter"));

    let outcomes = service.start_many(STARTS, &[program, "/data/enforce-{}"])?;

    assert_eq!(outcomes, Outcomes::stopped(stop, STARTS), "{program}");
    assert_eq!(std::fs::read_dir(witnesses)?.count(), before, "something ran");
    let (expected_kills, expected_denials) = match stop {
        Stop::Killed => (STARTS, 0),
        // Nothing was left to be killed.
        Stop::Denied | Stop::NotPermitted => (0, STARTS),
    };
    let since = |name: &str, before: u64| anyhow::Ok(stage.agent.counter(name)? - before);
    // What is counted elsewhere than in the kernel comes a moment later.
    let deadline = Instant::now() + Duration::from_secs(10);
    while (since("denied", denied)? < expected_denials
        || since("kills_confirmed", confirmed)? < expected_kills)
        && Instant::now() < deadline
    {
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(since("kills", kills)?, expected_kills, "{program}");
    assert_eq!(since("kills_confirmed", confirmed)?, expected_kills, "{program}");
    assert_eq!(since("denied", denied)?, expected_denials, "{program}");
    assert_eq!(stage.agent.counter("kills_failed")?, 0);
    Ok(())
}
