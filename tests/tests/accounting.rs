//! Nothing is lost in silence: what a flood of records costs is counted, per container, and told.

use std::os::unix::fs::PermissionsExt as _;

use tests::agent::Options;
use tests::prometheus::{free_address, get, value};
use tests::runtime::Layout;
use tests::service::{Outcomes, Service};
use tests::stage::{IMAGE, Stage, is_about};

/// Programs that each container of the flood starts, each at a path of its own.
const PROGRAMS: u64 = 3_000;

/// Two containers flood the agent with drift that is new each time. Each start is a record that was submitted or
/// counted as lost, for its container; a third container's record gets through meanwhile.
#[test]
fn a_flood_is_accounted_for() -> anyhow::Result<()> {
    let stage = Stage::learned(Layout::Hybrid, &Options::named("flood"))?;
    let volume = prepare(&stage)?;
    let flooding = [
        stage.service("flood-0", &[&volume])?,
        stage.service("flood-1", &[&volume])?,
    ];
    let quiet = stage.service("quiet", &[&volume])?;
    let mark = stage.agent.mark();
    std::thread::scope(|scope| -> anyhow::Result<()> {
        let floods: Vec<_> = flooding
            .iter()
            .map(|service| scope.spawn(|| service.start_many(PROGRAMS, &["/data/tool-{}"])))
            .collect();
        assert!(quiet.start(&["/data/tool", "/tmp/quiet"])?.all_succeeded());
        let alert = stage.expect_alert(mark, &quiet);
        assert_eq!(alert["behaviour"]["path"], "/data/tool", "{alert:#}");
        for flood in floods {
            let outcomes = flood.join().expect("no panic")?;
            assert_eq!(
                outcomes.succeeded, PROGRAMS,
                "monitor disturbs nothing: {outcomes:?}"
            );
        }
        Ok(())
    })?;
    for service in &flooding {
        // How much is lost depends on how fast this machine starts programs; that it adds up does not.
        check_losses(&stage, mark, service)?;
    }
    assert_eq!(losses(&stage, &quiet)?, 0);
    Ok(())
}

/// With the agent halted the ring buffer fills up: what it could not take is counted and told, also to Prometheus, and no verdict changes.
#[test]
fn what_the_ring_could_not_take_is_told() -> anyhow::Result<()> {
    let address = free_address()?;
    let options = Options {
        config: format!("metrics: {{ listen: '{address}' }}\n"),
        ..Options::named("ring")
    };
    let stage = Stage::learned(Layout::Hybrid, &options)?;
    let volume = prepare(&stage)?;
    let service = stage.service("flood", &[&volume])?;
    stage.agent.set_mode("enforce", IMAGE)?;
    let mark = stage.agent.mark();
    stage.agent.halt()?;
    let flood = service.start_many(PROGRAMS, &["/data/tool-{}", "/tmp/witness"]);
    let conforming = service.start_many(20, &["/bin/fetch"]);
    stage.agent.go_on()?;
    assert_eq!(flood?, Outcomes::stopped(stage.stop, PROGRAMS));
    assert!(conforming?.all_succeeded());
    assert_eq!(stage.runtime.read(&service.container, "/tmp/witness")?, None);
    assert!(
        losses(&stage, &service)? > 0,
        "{PROGRAMS} records fit; nothing was tested"
    );
    assert_eq!(counter(&stage, &service, stage.stop.counter())?, PROGRAMS);
    check_losses(&stage, mark, &service)?;
    let (_, page) = get(address, "/metrics")?;
    let lost = |cause| {
        value(
            &page,
            "driftlock_records_lost_total",
            &[("domain", "exec"), ("cause", cause)],
        )
    };
    let of_exec = |name: &str| domain_counter(&stage, &service, "exec", name);
    for (cause, name) in [("ring", "lost_ring"), ("quota", "lost_quota")] {
        assert_eq!(
            lost(cause),
            Some(of_exec(name)?.to_string().as_str()),
            "{cause}: {page}"
        );
    }
    assert!(
        stage.agent.log().contains("records lost"),
        "{}",
        stage.agent.log()
    );
    Ok(())
}

/// Makes a volume with all the programs, and sets the mode to `monitor`. Returns Docker's option for it.
fn prepare(stage: &Stage) -> anyhow::Result<String> {
    stage.agent.set_mode("monitor", IMAGE)?;
    let volume = stage.host_directory("volume")?;
    tests::demo::put_tool(&volume)?;
    std::fs::set_permissions(volume.join("tool"), std::fs::Permissions::from_mode(0o755))?;
    for number in 0..PROGRAMS {
        std::fs::hard_link(volume.join("tool"), volume.join(format!("tool-{number}")))?;
    }
    Ok(format!("--volume={}:/data", volume.display()))
}

fn counter(stage: &Stage, service: &Service, name: &str) -> anyhow::Result<u64> {
    let container = stage.agent.wait_until_resolved(&service.container.id)?;
    container["counters"][name]
        .as_u64()
        .ok_or_else(|| anyhow::anyhow!("no {name}: {container:#}"))
}

fn domain_counter(stage: &Stage, service: &Service, domain: &str, name: &str) -> anyhow::Result<u64> {
    let container = stage.agent.wait_until_resolved(&service.container.id)?;
    let domains = container["domain_counters"].as_array().into_iter().flatten();
    let mut of = domains.filter(|counters| counters["domain"] == domain);
    of.find_map(|counters| counters[name].as_u64())
        .ok_or_else(|| anyhow::anyhow!("no {name} of {domain}: {container:#}"))
}

fn losses(stage: &Stage, service: &Service) -> anyhow::Result<u64> {
    Ok(counter(stage, service, "lost_ring")? + counter(stage, service, "lost_quota")?)
}

/// All records of a container are accounted for, and its alerts tell of all that were lost.
fn check_losses(stage: &Stage, mark: usize, service: &Service) -> anyhow::Result<()> {
    let generated = counter(stage, service, "generated")?;
    let submitted = counter(stage, service, "submitted")?;
    let lost = losses(stage, service)?;
    println!(
        "{}: {generated} generated, {submitted} submitted, {lost} lost",
        service.container.name
    );
    assert_eq!(submitted + lost, generated);
    assert!(generated >= PROGRAMS);
    // The next alert of the container carries the blind window.
    service.start(&["/bin/rotate", "/tmp/after"])?;
    assert_eq!(wait_for_losses(stage, mark, service, lost), lost);
    Ok(())
}

/// The sum of a container's blind windows, as soon as it reaches `expected`.
fn wait_for_losses(stage: &Stage, mark: usize, service: &Service, expected: u64) -> u64 {
    let mut sum = 0;
    for _ in 0..100 {
        sum = stage
            .agent
            .alerts()
            .iter()
            .skip(mark)
            .filter(|alert| is_about(alert, &service.container.id))
            .filter_map(|alert| alert["lost"]["records"].as_u64())
            .sum();
        if sum >= expected {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    sum
}
