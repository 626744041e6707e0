//! Nothing is lost in silence: what a flood of records costs is counted, per container, and told.

use std::os::unix::fs::PermissionsExt as _;

use tests::agent::Options;
use tests::docker::Layout;
use tests::service::Service;
use tests::stage::{IMAGE, Stage, is_about};

/// Programs that each container of the flood starts, each at a path of its own.
const PROGRAMS: u64 = 3_000;

/// Two containers flood the agent with drift that is new each time. Each start is a record that was submitted or
/// counted as lost, for its container; a third container's record gets through meanwhile.
#[test]
fn a_flood_is_accounted_for() -> anyhow::Result<()> {
    let stage = Stage::learned(Layout::Hybrid, &Options::named("flood"))?;
    stage.agent.set_mode("monitor", IMAGE)?;
    let volume = stage.host_directory("volume")?;
    tests::demo::put_tool(&volume)?;
    std::fs::set_permissions(volume.join("tool"), std::fs::Permissions::from_mode(0o755))?;
    for number in 0..PROGRAMS {
        std::fs::hard_link(volume.join("tool"), volume.join(format!("tool-{number}")))?;
    }
    let volume = format!("--volume={}:/data", volume.display());
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
    let counter = |service: &Service, name: &str| -> anyhow::Result<u64> {
        let container = stage.agent.wait_until_resolved(&service.container.id)?;
        container["counters"][name]
            .as_u64()
            .ok_or_else(|| anyhow::anyhow!("no {name}: {container:#}"))
    };
    for service in &flooding {
        let (generated, submitted) = (counter(service, "generated")?, counter(service, "submitted")?);
        let lost = counter(service, "lost_ring")? + counter(service, "lost_quota")?;
        println!(
            "{}: {generated} generated, {submitted} submitted, {lost} lost",
            service.container.name
        );
        assert_eq!(submitted + lost, generated);
        assert!(generated >= PROGRAMS);
        if lost == 0 {
            println!("not on this machine: it starts too few programs per second for a loss");
            continue;
        }
        // A later alert of the container carries the blind window.
        assert!(service.start(&["/bin/rotate", "/tmp/after"])?.all_succeeded());
        let told: u64 = wait_for_losses(&stage, mark, service, lost);
        assert_eq!(told, lost, "blind windows of {}", service.container.name);
    }
    assert_eq!(counter(&quiet, "lost_ring")? + counter(&quiet, "lost_quota")?, 0);
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
