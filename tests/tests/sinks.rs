//! Alerts reach every sink, whatever happens to the agent and to the receivers: real receivers, programs that drift as fast as is asked for.

use std::collections::BTreeSet;
use std::hash::{BuildHasher as _, RandomState};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde_json::Value;
use tests::agent::{Agent, Options};
use tests::bench::program;
use tests::environment::{Environment, patience};
use tests::image;
use tests::receiver::{
    Access, Authority, Certificates, FileReceiver, HttpsReceiver, MARKED, NatsReceiver, PASSWORD,
    PASSWORD_IN_ADDRESS, Receiver, RsyslogReceiver, UnixReceiver,
};
use tests::runtime::Layout;
use tests::service::Service;
use tests::stage::Stage;

/// An image with a program that floods.
const FLOODING: &str = "flooding:1";
/// How many containers there are: each has a quota of records of its own.
const CONTAINERS: u64 = 4;
/// Most programs that one of them is asked for at once.
const PART: usize = 1_000;
/// For how long no sink may come any further while something is in the spool.
const DELIVERY: Duration = Duration::from_mins(1);

/// All six kinds at once, formats mixed.
#[test]
fn every_sink_gets_every_alert() -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let mut receivers = receivers(directory.path(), HttpsReceiver::new)?;
    let stage = flooding_stage(&options("sinks", &receivers, "- stdout: {}\n"))?;
    let flood = Flood {
        per_container: 100,
        per_second: 100,
    };
    let services = services(&stage)?;
    for (number, service) in (0..).zip(&services) {
        flood.run(number, service)?;
    }
    all_delivered(&stage.agent)?;
    let expected = flood.paths();
    everything_arrived(&mut receivers, &expected, &stage.agent)?;
    // Standard output shows each alert once, and first.
    let printed: Vec<_> = stage.agent.alerts().iter().filter_map(path_of).collect();
    assert_eq!(printed.len(), expected.len());
    assert_eq!(printed.into_iter().collect::<BTreeSet<_>>(), expected);
    Ok(())
}

/// NATS servers that know the agent by a password, a token and credentials. What it is given too late is read when it is there, and what is wrong is told
/// without a secret.
#[test]
fn nats_servers_let_the_agent_in_by_password_token_or_credentials() -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let certificates = Certificates::create(&directory.path().join("certificates"))?;
    let access = Access::credentials(directory.path())?;
    let Access::Credentials { authority, file, .. } = &access else {
        anyhow::bail!("another access");
    };
    // Of an authority that the server does not know.
    Authority::new().write_credentials(file)?;
    let late = directory.path().join("late.creds");
    authority.write_credentials(&late)?;
    let file = file.clone();
    let below = |name: &str| directory.path().join(name);
    let mut receivers: Vec<Box<dyn Receiver>> = vec![
        Box::new(NatsReceiver::with(
            &below("password"),
            &certificates,
            Access::Password,
        )?),
        Box::new(NatsReceiver::with(&below("token"), &certificates, Access::Token)?),
        Box::new(NatsReceiver::with(&below("credentials"), &certificates, access)?),
    ];
    for receiver in &mut receivers {
        receiver.start()?;
    }
    let stage = flooding_stage(&options("nats", &receivers, ""))?;
    let flood = Flood {
        per_container: 25,
        per_second: 100,
    };
    for (number, service) in (0..).zip(&services(&stage)?) {
        flood.run(number, service)?;
    }
    let sink = |name: &str| -> anyhow::Result<Value> {
        let status = stage.agent.json(&["status"])?;
        let sinks = status["sinks"].as_array().context("no sinks")?;
        let found = sinks.iter().find(|sink| sink["name"] == name);
        Ok(found.context("no such sink")?.clone())
    };
    let deadline = Instant::now() + patience(DELIVERY);
    for name in ["nats-password", "nats-token"] {
        while sink(name)?["delivered"] != 100 {
            ensure!(Instant::now() < deadline, "{:#}", sink(name)?);
            std::thread::sleep(Duration::from_millis(100));
        }
    }
    let refused = sink("nats-credentials")?;
    let why = refused["error"].as_str().context("nothing is wrong")?;
    assert!(
        refused["delivered"] == 0 && why.to_lowercase().contains("authorization"),
        "{refused:#}"
    );
    std::fs::rename(late, file)?;
    all_delivered(&stage.agent)?;
    let expected = flood.paths();
    everything_arrived(&mut receivers, &expected, &stage.agent)?;
    let told = format!("{}{:#}", stage.agent.log(), stage.agent.json(&["status"])?);
    assert!(
        !told.contains(PASSWORD) && !told.contains(PASSWORD_IN_ADDRESS),
        "{told}"
    );
    Ok(())
}

/// Two thousand alerts, the agent killed four times.
#[test]
fn nothing_is_lost_in_a_storm_of_failures() -> anyhow::Result<()> {
    let flood = Flood {
        per_container: 500,
        per_second: 20,
    };
    storm(&flood, 4, Duration::from_secs(3))
}

/// A hundred thousand alerts, the agent killed twenty times.
#[test]
#[ignore = "takes a quarter of an hour"]
fn nothing_is_lost_in_a_long_storm_of_failures() -> anyhow::Result<()> {
    let flood = Flood {
        per_container: 25_000,
        per_second: 60,
    };
    storm(&flood, 20, Duration::from_secs(15))
}

/// Programs that drift.
#[derive(Clone, Copy, Debug)]
struct Flood {
    per_container: u64,
    per_second: u64,
}

impl Flood {
    /// Has a container make its part, bit by bit: a service must answer in time.
    fn run(&self, container: u64, service: &Service) -> anyhow::Result<()> {
        let prefix = format!("{MARKED}{container}-");
        let rate = self.per_second.to_string();
        for first in (0..self.per_container).step_by(PART) {
            let count = (self.per_container - first).min(PART as u64);
            let outcome = service.start(&[
                "/usr/bin/flood",
                &prefix,
                &first.to_string(),
                &count.to_string(),
                &rate,
            ])?;
            ensure!(outcome.all_succeeded(), "{outcome:?}");
        }
        Ok(())
    }

    /// All paths of which an alert tells.
    fn paths(&self) -> BTreeSet<String> {
        (0..CONTAINERS)
            .flat_map(|container| {
                (0..self.per_container).map(move |number| format!("{MARKED}{container}-{number}"))
            })
            .collect()
    }
}

/// While alerts arise, the agent is killed so many times, each time after `alive`, and receivers are stopped and started: every alert arrives
/// everywhere, more than once only under the same id. An agent has to live for long enough to come to an end with what happened while there
/// was none: what the ring buffer has no room for is lost.
fn storm(flood: &Flood, kills: u32, alive: Duration) -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let mut receivers = receivers(directory.path(), |certificates| {
        Ok(HttpsReceiver::new(certificates)?.faulty())
    })?;
    let options = options("storm", &receivers, "");
    let mut stage = flooding_stage(&options)?;
    let services = services(&stage)?;
    let mut outages = 0;
    std::thread::scope(|scope| -> anyhow::Result<()> {
        let floods: Vec<_> = (0..)
            .zip(&services)
            .map(|(number, service)| scope.spawn(move || flood.run(number, service)))
            .collect();
        for _ in 0..kills {
            let due = Instant::now() + patience(alive);
            while Instant::now() < due {
                let chosen = usize::try_from(random(receivers.len() as u64))?;
                let receiver = &mut receivers[chosen];
                receiver.stop()?;
                std::thread::sleep(Duration::from_millis(random(1_000)));
                receiver.start()?;
                outages += 1;
                std::thread::sleep(Duration::from_millis(random(1_000)));
            }
            stage.agent.kill()?;
            std::thread::sleep(Duration::from_millis(random(500)));
            stage.agent = Agent::start(stage.runtime.as_ref(), &options)?;
        }
        for one in floods {
            one.join().expect("no panic")?;
        }
        Ok(())
    })?;
    all_delivered(&stage.agent)?;
    for counter in ["lost_ring", "lost_quota"] {
        assert_eq!(stage.agent.counter(counter)?, 0, "{counter}: alerts never arose");
    }
    let expected = flood.paths();
    println!(
        "{} alerts, {kills} kills, {outages} outages of receivers",
        expected.len()
    );
    let mut faults = Vec::new();
    for receiver in &mut receivers {
        let arrived = receiver.arrived()?;
        println!(
            "{}: {} alerts, {} more than once, {} told again as repeats",
            receiver.name(),
            arrived.paths(),
            arrived.repeated(),
            arrived.told_as_repeats()
        );
        faults.extend(
            arrived
                .faults(&expected)
                .into_iter()
                .map(|fault| format!("{}: {fault}", receiver.name())),
        );
        // Each program was executed once, whichever agent's programs told of it.
        if arrived.told_as_repeats() > 0 {
            let count = arrived.told_as_repeats();
            faults.push(format!("{}: {count} executions count twice", receiver.name()));
        }
    }
    let status = stage.agent.json(&["status"])?;
    assert!(
        faults.is_empty(),
        "{}\n{:#}\n{:#}\n{}",
        faults.join("\n"),
        status["spool"],
        status["sinks"],
        stage.agent.log()
    );
    Ok(())
}

/// A receiver of each kind but standard output, running.
fn receivers(
    directory: &std::path::Path,
    https: impl FnOnce(&Certificates) -> anyhow::Result<HttpsReceiver>,
) -> anyhow::Result<Vec<Box<dyn Receiver>>> {
    let certificates = Certificates::create(&directory.join("certificates"))?;
    let mut receivers: Vec<Box<dyn Receiver>> = vec![
        Box::new(FileReceiver::new(directory)),
        Box::new(UnixReceiver::new(directory)),
        Box::new(RsyslogReceiver::new(directory, &certificates)?),
        Box::new(https(&certificates)?),
        Box::new(NatsReceiver::new(directory, &certificates)?),
    ];
    for receiver in &mut receivers {
        receiver.start()?;
    }
    Ok(receivers)
}

fn options(name: &str, receivers: &[Box<dyn Receiver>], further: &str) -> Options {
    let sinks: String = receivers.iter().map(|receiver| receiver.sink()).collect();
    Options {
        // Repeats are summed up while the test runs.
        config: format!("limits: {{ fold_window_s: 2 }}\nsinks:\n{further}{sinks}"),
        ..Options::named(name)
    }
}

/// An agent that watches programs alone, so that the records of what a flood writes take nothing of a container's quota, and [`FLOODING`].
fn flooding_stage(options: &Options) -> anyhow::Result<Stage> {
    let stage = Stage::start(Layout::Hybrid, options)?;
    for domain in ["file", "cap"] {
        stage
            .agent
            .done(&["mode", "set", "off", "--default", "--domain", domain])?;
    }
    image::build_with(stage.runtime.as_ref(), FLOODING, "flooding", |root| {
        std::fs::copy(Environment::get().fixture("flood"), root.join("usr/bin/flood"))?;
        Ok(std::fs::write(
            root.join("usr/share/nothing"),
            program::nothing(),
        )?)
    })?;
    Ok(stage)
}

fn services(stage: &Stage) -> anyhow::Result<Vec<Service>> {
    (0..CONTAINERS)
        .map(|number| {
            let service = stage
                .runtime
                .service(&format!("flooding-{number}"), FLOODING, &[], &[])?;
            stage.agent.wait_until_resolved(&service.container.id)?;
            Ok(service)
        })
        .collect()
}

/// Each receiver has exactly what is expected.
fn everything_arrived(
    receivers: &mut [Box<dyn Receiver>],
    expected: &BTreeSet<String>,
    agent: &Agent,
) -> anyhow::Result<()> {
    for receiver in receivers {
        let faults = receiver.arrived()?.faults(expected);
        assert!(
            faults.is_empty(),
            "{}: {faults:?}\n{}",
            receiver.name(),
            agent.log()
        );
    }
    Ok(())
}

/// Waits until each sink has everything.
fn all_delivered(agent: &Agent) -> anyhow::Result<()> {
    let mut deadline = Instant::now() + patience(DELIVERY);
    let mut before = Vec::new();
    loop {
        let status = agent.json(&["status"])?;
        let sinks = status["sinks"].as_array().context("no sinks")?;
        let backlogs: Vec<_> = sinks.iter().map(|sink| sink["backlog"].clone()).collect();
        if backlogs != before {
            deadline = Instant::now() + patience(DELIVERY);
            before = backlogs;
        }
        // The agent may not have come to the latest records yet.
        let is_done = |sinks: &[Value]| sinks.iter().all(|sink| sink["backlog"] == 0);
        if is_done(sinks) {
            std::thread::sleep(Duration::from_millis(500));
            let again = agent.json(&["status"])?;
            if is_done(again["sinks"].as_array().context("no sinks")?) {
                return Ok(());
            }
        }
        ensure!(
            Instant::now() < deadline,
            "not every sink has every alert: {:#}\n{:#}\n{}",
            status["spool"],
            status["sinks"],
            agent.log()
        );
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn path_of(alert: &Value) -> Option<String> {
    let path = alert["behaviour"]["path"].as_str()?;
    path.starts_with(MARKED).then(|| path.to_owned())
}

/// A random number below `bound`.
fn random(bound: u64) -> u64 {
    RandomState::new().hash_one(0) % bound
}
