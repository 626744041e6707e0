//! System calls: those that are made are learned, those that the runtime needs are marked as its own, the first of another is told, by
//! whichever interface it is made; and a node on which nobody asks for them has no program at them.

use std::time::{Duration, Instant};

use serde_json::Value;
use tests::agent::{Agent, Options};
use tests::environment::patience;
use tests::runtime::Kind;
use tests::service::Service;
use tests::stage::{ALERT_PATIENCE, IMAGE, Stage, is_about};

tests::on_every_runtime!(system_calls_are_learned_and_told);

/// The program that makes them.
const ACT: &str = "/usr/bin/act";
/// The hook.
const HOOK: &str = "sys_enter";

fn text(behaviour: &Value) -> String {
    let name = behaviour["syscall"].as_str().or(behaviour["name"].as_str());
    let word = |name: &str| behaviour[name].as_str().unwrap_or("?").to_owned();
    format!("{} {} {}", name.unwrap_or("?"), word("abi"), word("phase"))
}

fn told(stage: &Stage, mark: usize, service: &Service) -> Vec<String> {
    stage
        .agent
        .alerts()
        .iter()
        .skip(mark)
        .filter(|alert| is_about(alert, &service.container.id) && alert["domain"] == "syscall")
        .map(|alert| text(&alert["behaviour"]))
        .collect()
}

/// Waits until the hook is attached, or is not.
fn wait_for_hook(agent: &Agent, wanted: bool) -> anyhow::Result<()> {
    let deadline = Instant::now() + patience(Duration::from_secs(20));
    loop {
        let status = agent.json(&["status"])?;
        let hooks = status["hooks"].as_array().cloned().unwrap_or_default();
        let is_attached = hooks
            .iter()
            .any(|hook| hook["name"] == HOOK && hook["attached"] == true);
        if is_attached == wanted {
            return Ok(());
        }
        assert!(
            Instant::now() < deadline,
            "{HOOK} attached: {is_attached}, wanted: {wanted}; {:#}\nlog:\n{}",
            status["hooks"],
            agent.log()
        );
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn system_calls_are_learned_and_told(kind: Kind) -> anyhow::Result<()> {
    let stage = Stage::learned(kind, &Options::named("syscall"))?;
    wait_for_hook(&stage.agent, false)?;
    stage.agent.set_domain_mode("learn", IMAGE, "syscall")?;
    // From its start on.
    let service = stage.service("calls", &[])?;
    wait_for_hook(&stage.agent, true)?;
    let learned: [&[&str]; 3] = [
        &["call", "x86_64", "121"],
        &["chroot", "/tmp"],
        &["read", "/etc/passwd"],
    ];
    let learn = || -> anyhow::Result<()> {
        for words in learned {
            assert!(service.start(&[&[ACT], words].concat())?.all_succeeded());
        }
        Ok(())
    };
    learn()?;
    let wanted = [
        "getpgid x86_64 program",
        "chroot x86_64 program",
        "execve x86_64 program",
    ];
    stage.agent.wait_until_held(IMAGE, "syscall", &wanted, text)?;
    let held = stage.agent.held(IMAGE, "syscall", text)?;
    let by_runtime = held.iter().any(|held| held == "execve x86_64 runtime");
    let is_filtered = service.start(&[ACT, "filtered"])?.all_succeeded();
    println!("the runtime's filter: {is_filtered}; held: {held:?}");
    assert_eq!(by_runtime, is_filtered, "{held:?}");

    stage.agent.set_domain_mode("monitor", IMAGE, "syscall")?;
    let mark = stage.agent.mark();
    learn()?;
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(
        told(&stage, mark, &service),
        [""; 0],
        "log:\n{}",
        stage.agent.log()
    );

    for (abi, number, wanted) in [
        ("x86_64", "111", "getpgrp x86_64 program"),
        ("i386", "132", "getpgid i386 program"),
        ("x32", "121", "getpgid x32 program"),
    ] {
        let mark = stage.agent.mark();
        for _ in 0..2 {
            // Not every kernel has each interface: then the call is made, and answered by an error.
            service.start(&[ACT, "call", abi, number])?;
        }
        let alert = stage.agent.wait_for_alert(mark, ALERT_PATIENCE, |alert| {
            is_about(alert, &service.container.id) && text(&alert["behaviour"]) == wanted
        });
        let alert = alert.unwrap_or_else(|| {
            panic!(
                "not {wanted} but {:?}; log:\n{}",
                told(&stage, mark, &service),
                stage.agent.log()
            )
        });
        assert_eq!(alert["kind"], "syscall.unknown", "{alert:#}");
        assert_eq!(told(&stage, mark, &service), [wanted], "once, and nothing else");
    }

    stage
        .agent
        .done(&["profile", "accept", IMAGE, "getpgid", "--abi", "i386"])?;
    let held = stage.agent.held(IMAGE, "syscall", text)?;
    assert!(held.contains(&"getpgid i386 program".to_owned()), "{held:?}");

    stage.agent.set_domain_mode("off", IMAGE, "syscall")?;
    wait_for_hook(&stage.agent, false)?;
    let mark = stage.agent.mark();
    service.start(&[ACT, "call", "x86_64", "102"])?;
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(told(&stage, mark, &service), [""; 0]);
    Ok(())
}

/// What does not fit is counted: with the agent halted, what was sent and what was lost are together what was to be sent.
#[test]
fn losses_are_exact() -> anyhow::Result<()> {
    const RECORDS: u64 = 6_000;
    let stage = Stage::learned(Kind::Docker, &Options::named("syscall-losses"))?;
    let service = stage.service("calls", &[])?;
    stage.agent.set_domain_mode("monitor", IMAGE, "syscall")?;
    wait_for_hook(&stage.agent, true)?;
    stage.agent.halt()?;
    let outcome = service.start(&[ACT, "call-many", "x86_64", "121", &RECORDS.to_string()]);
    stage.agent.go_on()?;
    assert!(outcome?.all_succeeded());
    let container = stage.agent.wait_until_resolved(&service.container.id)?;
    let counters = container["domain_counters"]
        .as_array()
        .and_then(|list| list.iter().find(|entry| entry["domain"] == "syscall"))
        .cloned()
        .unwrap_or_default();
    let count = |name: &str| counters[name].as_u64().unwrap_or_default();
    let lost = count("lost_ring") + count("lost_quota");
    println!(
        "{} generated, {} submitted, {lost} lost",
        count("generated"),
        count("submitted")
    );
    assert_eq!(count("submitted") + lost, count("generated"), "{container:#}");
    assert!(count("generated") >= RECORDS && lost > 0, "{container:#}");
    Ok(())
}
