//! Uses of files: learned, conforming in silence, told once each with operation, layer and path, and refused or killed where that is
//! asked for.

use std::time::Duration;

use serde_json::Value;
use tests::agent::Options;
use tests::runtime::Kind;
use tests::service::Service;
use tests::stage::{ALERT_PATIENCE, IMAGE, Stage, is_about};
use tests::support;

tests::on_every_runtime!(uses_of_files_are_learned_and_told);

/// The program that uses files.
const ACT: &str = "/usr/bin/act";

/// What is learned: each can be done again and again.
const LEARNED: &[&[&str]] = &[
    &["read", "/etc/passwd", "/data/known"],
    &["write", "/data/known"],
    &["replace", "/tmp/state", "/tmp/state.new"],
    &["name-only", "/etc/group"],
];

/// What the profile holds after that, besides what other programs use.
const HELD: &[&str] = &[
    "read image /etc/passwd",
    "read volume /data/known",
    "write volume /data/known",
    "create upper /tmp/state.new",
    "rename upper /tmp/state",
];

/// What was not learned, and what has to be told of it.
struct Deviation {
    argv: &'static [&'static str],
    operation: &'static str,
    layer: &'static str,
    path: &'static str,
}

const fn deviation(
    argv: &'static [&'static str],
    operation: &'static str,
    layer: &'static str,
    path: &'static str,
) -> Deviation {
    Deviation {
        argv,
        operation,
        layer,
        path,
    }
}

const DEVIATIONS: &[Deviation] = &[
    deviation(&["read", "/etc/group"], "read", "image", "/etc/group"),
    // Another way of using what is known, and then what came of it.
    deviation(&["read-write", "/etc/passwd"], "write", "upper", "/etc/passwd"),
    deviation(&["read", "/etc/passwd"], "read", "upper", "/etc/passwd"),
    deviation(&["append", "/etc/mark"], "write", "upper", "/etc/mark"),
    deviation(&["create", "/tmp/created"], "create", "upper", "/tmp/created"),
    deviation(&["create", "/data/created"], "create", "volume", "/data/created"),
    deviation(
        &["rename", "/tmp/created", "/etc/renamed"],
        "rename",
        "upper",
        "/etc/renamed",
    ),
    deviation(
        &["rename-in", "/etc", "renamed", "../tmp/again"],
        "rename",
        "upper",
        "/tmp/again",
    ),
    deviation(
        &["link", "/tmp/again", "/tmp/linked"],
        "link",
        "upper",
        "/tmp/linked",
    ),
    deviation(
        &["symlink", "/etc", "/tmp/directory"],
        "link",
        "upper",
        "/tmp/directory",
    ),
    // Through a symbolic link in the way: where it really goes.
    deviation(
        &["rename", "/tmp/linked", "/tmp/directory/moved"],
        "rename",
        "upper",
        "/etc/moved",
    ),
    deviation(&["read", "/tmp/directory/moved"], "read", "upper", "/etc/moved"),
];

fn act(service: &Service, words: &[&str]) -> anyhow::Result<()> {
    let argv = [&[ACT], words].concat();
    let outcome = service.start(&argv)?;
    assert!(outcome.all_succeeded(), "{argv:?}: {outcome:?}");
    Ok(())
}

/// The alerts of domain file about a container since `mark`, each as `OPERATION LAYER PATH`.
fn told(stage: &Stage, mark: usize, service: &Service) -> Vec<String> {
    stage
        .agent
        .alerts()
        .iter()
        .skip(mark)
        .filter(|alert| is_about(alert, &service.container.id) && alert["domain"] == "file")
        .map(|alert| text(&alert["behaviour"]))
        .collect()
}

fn text(behaviour: &Value) -> String {
    let word = |name: &str| behaviour[name].as_str().unwrap_or("?").to_owned();
    format!("{} {} {}", word("operation"), word("layer"), word("path"))
}

fn learned(kind: Kind, options: &Options) -> anyhow::Result<(Stage, Service)> {
    let stage = Stage::learned(kind, options)?;
    let volume = stage.host_directory("volume")?;
    std::fs::write(volume.join("known"), "known\n")?;
    let service = stage.service("file", &[&format!("--volume={}:/data", volume.display())])?;
    for words in LEARNED {
        act(&service, words)?;
    }
    stage.agent.wait_until_held(IMAGE, "file", HELD, text)?;
    Ok((stage, service))
}

fn uses_of_files_are_learned_and_told(kind: Kind) -> anyhow::Result<()> {
    let (stage, service) = learned(kind, &Options::named("file"))?;
    assert_ne!(
        support::tier(&stage.agent, "file")?,
        "none",
        "{}",
        support::reason(&stage.agent, "file")?
    );
    stage.agent.set_domain_mode("monitor", IMAGE, "file")?;

    // What conforms is silent, and costs no record.
    let before = stage
        .agent
        .container_counter(&service.container.id, "generated")?;
    let mark = stage.agent.mark();
    for _ in 0..3 {
        for words in LEARNED {
            act(&service, words)?;
        }
    }
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(
        told(&stage, mark, &service),
        [""; 0],
        "log:\n{}",
        stage.agent.log()
    );
    let after = stage
        .agent
        .container_counter(&service.container.id, "generated")?;
    assert_eq!(after, before, "records of what conforms");

    for Deviation {
        argv,
        operation,
        layer,
        path,
    } in DEVIATIONS
    {
        let mark = stage.agent.mark();
        act(&service, argv)?;
        let wanted = format!("{operation} {layer} {path}");
        let alert = stage.agent.wait_for_alert(mark, ALERT_PATIENCE, |alert| {
            is_about(alert, &service.container.id) && text(&alert["behaviour"]) == wanted
        });
        let alert = alert.unwrap_or_else(|| {
            panic!(
                "{argv:?}: not {wanted} but {:?}; log:\n{}",
                told(&stage, mark, &service),
                stage.agent.log()
            )
        });
        assert_eq!(alert["kind"], "file.unknown", "{alert:#}");
        assert_eq!(alert["action"]["taken"], "none", "{alert:#}");
        assert_eq!(alert["process"]["exe"], ACT, "{alert:#}");
        assert_eq!(told(&stage, mark, &service), [wanted], "once, and nothing else");
    }
    // A name that begins as one that conforms and is longer than what is read of it is never taken for that.
    let mark = stage.agent.mark();
    let padded = format!("{}/tmp/state-other", "/".repeat(245));
    act(&service, &["rename", "/tmp/state", &padded])?;
    let alert = stage.agent.wait_for_alert(mark, ALERT_PATIENCE, |alert| {
        is_about(alert, &service.container.id) && alert["behaviour"]["operation"] == "rename"
    });
    assert!(
        alert.is_some(),
        "{:?}; log:\n{}",
        told(&stage, mark, &service),
        stage.agent.log()
    );
    // What was told is not told again.
    let mark = stage.agent.mark();
    act(&service, &["read", "/etc/group"])?;
    act(&service, &["append", "/etc/mark"])?;
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(told(&stage, mark, &service), [""; 0]);
    Ok(())
}

/// What the reader is too slow for is counted, in each domain by itself: what was sent and what was lost are what there was.
#[test]
fn losses_are_exact_in_each_domain() -> anyhow::Result<()> {
    const RECORDS: u64 = 6_000;
    let (stage, service) = learned(Kind::Docker, &Options::named("losses"))?;
    for domain in ["file", "cap"] {
        stage.agent.set_domain_mode("monitor", IMAGE, domain)?;
    }
    stage.agent.halt()?;
    let outcomes = [
        service.start(&[ACT, "create-many", "/tmp", &RECORDS.to_string()]),
        service.start(&[ACT, "priority-many", &RECORDS.to_string()]),
    ];
    stage.agent.go_on()?;
    for outcome in outcomes {
        assert!(outcome?.all_succeeded());
    }
    let container = stage.agent.wait_until_resolved(&service.container.id)?;
    for domain in ["file", "cap"] {
        let counters = container["domain_counters"]
            .as_array()
            .and_then(|list| list.iter().find(|entry| entry["domain"] == domain))
            .cloned()
            .unwrap_or_default();
        let count = |name: &str| counters[name].as_u64().unwrap_or_default();
        let lost = count("lost_ring") + count("lost_quota");
        println!(
            "{domain}: {} generated, {} submitted, {lost} lost",
            count("generated"),
            count("submitted")
        );
        assert_eq!(count("submitted") + lost, count("generated"), "{container:#}");
        assert!(count("generated") >= RECORDS, "{container:#}");
        assert!(lost > 0, "all fit; nothing was tested: {container:#}");
    }
    Ok(())
}

/// Where the tier can refuse, an open that does not conform fails and leaves nothing; else its process is killed, but only if the
/// operator asked for that.
#[test]
fn what_is_enforced_is_refused_or_killed() -> anyhow::Result<()> {
    for kill in ["[]", "[file]"] {
        let options = Options {
            policies: vec![("kill", kill)],
            ..Options::named(if kill == "[]" { "spare" } else { "kill" })
        };
        let (stage, service) = learned(Kind::Docker, &options)?;
        let denies = support::tier(&stage.agent, "file")? == "deny";
        stage.agent.set_domain_mode("enforce", IMAGE, "file")?;
        for words in LEARNED {
            act(&service, words)?;
        }
        let mark = stage.agent.mark();
        let outcome = service.start(&[ACT, "create", "/tmp/denied"])?;
        let is_there = stage.runtime.read(&service.container, "/tmp/denied")?.is_some();
        let (ended, taken) = match (denies, kill) {
            (true, _) => (outcome.all_denied() && !is_there, "denied"),
            (false, "[file]") => (outcome.all_killed(), "killed"),
            (false, _) => (outcome.all_succeeded() && is_there, "none"),
        };
        assert!(ended, "{kill}: {outcome:?}, is there: {is_there}");
        let alert = stage.agent.wait_for_alert(mark, ALERT_PATIENCE, |alert| {
            text(&alert["behaviour"]) == "create upper /tmp/denied"
        });
        let alert = alert.unwrap_or_else(|| panic!("{kill}: no alert; log:\n{}", stage.agent.log()));
        assert_eq!(alert["action"]["taken"], taken, "{alert:#}");
        if denies {
            for (argv, path) in [
                (vec!["read", "/etc/group"], "read image /etc/group"),
                (
                    vec!["rename", "/tmp/state", "/tmp/taken"],
                    "rename upper /tmp/taken",
                ),
                (
                    vec!["link", "/tmp/state", "/tmp/linked"],
                    "link upper /tmp/linked",
                ),
            ] {
                let mark = stage.agent.mark();
                assert!(
                    service.start(&[vec![ACT], argv.clone()].concat())?.all_denied(),
                    "{argv:?}"
                );
                let alert = stage
                    .agent
                    .wait_for_alert(mark, ALERT_PATIENCE, |alert| text(&alert["behaviour"]) == path);
                assert_eq!(alert.unwrap_or_default()["action"]["taken"], "denied", "{path}");
            }
        }
    }
    Ok(())
}
