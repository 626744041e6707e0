//! What a container does is told of that container, however many come and go at once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use tests::agent::Options;
use tests::environment::Environment;
use tests::image;
use tests::runtime::{Container, Layout};
use tests::stage::Stage;

const CONTAINERS: usize = 20;
const CROWD: &str = "crowd:1";

/// The program that only containers from `number` on execute.
fn program(number: usize) -> String {
    format!("/opt/program-{number:02}")
}

/// 20 containers start, execute 1 to 20 programs of their own and go, in parallel. Each exec is told of its container,
/// and of all records nothing is unaccounted for.
#[test]
fn every_exec_is_told_of_its_container() -> anyhow::Result<()> {
    let stage = Stage::start(Layout::Hybrid, &Options::named("crowd"))?;
    image::build_with(stage.runtime.as_ref(), CROWD, "crowd", |root| {
        std::fs::create_dir(root.join("opt"))?;
        for number in 0..CONTAINERS {
            std::fs::copy(
                Environment::get().fixture("fetch"),
                root.join(&program(number)[1..]),
            )?;
        }
        Ok(())
    })?;
    // The image is known, and its profile holds the entrypoint alone.
    let learning = stage.runtime.run("learning", CROWD, &[], &[])?;
    stage.agent.wait_until_learned(CROWD, &["/bin/service"])?;
    stage.agent.set_mode("monitor", CROWD)?;
    stage.runtime.remove(&learning)?;

    let results: Vec<anyhow::Result<Container>> = std::thread::scope(|scope| {
        let (runtime, mut threads) = (&stage.runtime, Vec::new());
        for number in 0..CONTAINERS {
            threads.push(scope.spawn(move || {
                let programs: Vec<String> = (0..=number)
                    .map(|number| format!("{},/tmp/done", program(number)))
                    .collect();
                let words: Vec<&str> = programs.iter().map(String::as_str).collect();
                let container = runtime.run(&format!("crowd-{number:02}"), CROWD, &[], &words)?;
                let deadline = Instant::now() + Duration::from_mins(1);
                while runtime
                    .read(&container, "/tmp/done")?
                    .unwrap_or_default()
                    .lines()
                    .count()
                    <= number
                {
                    anyhow::ensure!(Instant::now() < deadline, "{} does not get done", container.name);
                    std::thread::sleep(Duration::from_millis(50));
                }
                runtime.remove(&container)?;
                Ok(container)
            }));
        }
        threads
            .into_iter()
            .map(|thread| thread.join().expect("no panic"))
            .collect()
    });
    let containers = results.into_iter().collect::<anyhow::Result<Vec<Container>>>()?;
    let expected: BTreeMap<String, BTreeSet<String>> = containers
        .iter()
        .enumerate()
        .map(|(number, container)| (container.id.clone(), (0..=number).map(program).collect()))
        .collect();

    let deadline = Instant::now() + Duration::from_secs(20);
    let mut told;
    loop {
        told = told_per_container(&stage);
        if told == expected || Instant::now() > deadline {
            break;
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    assert_eq!(told, expected, "log:\n{}", stage.agent.log());
    for alert in stage.agent.alerts() {
        let name = alert["container"]["name"].as_str().unwrap_or_default();
        let known = containers
            .iter()
            .find(|container| alert["container"]["id"] == container.id.as_str());
        assert_eq!(
            known.map(|container| container.name.as_str()),
            Some(name),
            "{alert:#}"
        );
        assert_eq!(alert["container"]["image"]["reference"], CROWD, "{alert:#}");
        assert_eq!(alert["kind"], "exec.unknown", "{alert:#}");
        assert_eq!(alert["process"]["state"], "main", "{alert:#}");
    }
    let status = stage.agent.json(&["status"])?;
    let counter = |name: &str| {
        status["counters"][name]
            .as_u64()
            .unwrap_or_else(|| panic!("no {name}: {status:#}"))
    };
    assert_eq!(
        counter("submitted") + counter("lost_ring") + counter("lost_quota"),
        counter("generated")
    );
    assert_eq!(
        counter("undecodable") + counter("duplicate") + counter("unattributed") + counter("waiting"),
        0,
        "{status:#}"
    );
    let execs = CONTAINERS as u64 * (CONTAINERS as u64 + 1) / 2;
    assert!(counter("submitted") >= execs, "{status:#}");
    Ok(())
}

/// The paths that alerts tell of, by container.
fn told_per_container(stage: &Stage) -> BTreeMap<String, BTreeSet<String>> {
    let mut told = BTreeMap::<String, BTreeSet<String>>::new();
    for alert in stage.agent.alerts() {
        let text = |path: &str| {
            alert
                .pointer(path)
                .and_then(|value| value.as_str())
                .unwrap_or("?")
                .to_owned()
        };
        told.entry(text("/container/id"))
            .or_default()
            .insert(text("/behaviour/path"));
    }
    told
}
