//! Capabilities: those that are used are learned, the first use of another is told, and so is what the kernel refuses; what it asks
//! silently to account memory is neither.

use std::time::Duration;

use serde_json::Value;
use tests::agent::Options;
use tests::runtime::Kind;
use tests::service::Service;
use tests::stage::{ALERT_PATIENCE, IMAGE, Stage, is_about};
use tests::support;

tests::on_every_runtime!(capabilities_are_learned_and_told);

/// The program that uses them.
const ACT: &str = "/usr/bin/act";

fn text(behaviour: &Value) -> String {
    let word = |name: &str| behaviour[name].as_str().unwrap_or("?").to_owned();
    format!("{} {} {}", word("capability"), word("namespace"), word("outcome"))
}

fn told(stage: &Stage, mark: usize, service: &Service) -> Vec<String> {
    stage
        .agent
        .alerts()
        .iter()
        .skip(mark)
        .filter(|alert| is_about(alert, &service.container.id) && alert["domain"] == "cap")
        .map(|alert| text(&alert["behaviour"]))
        .collect()
}

fn capabilities_are_learned_and_told(kind: Kind) -> anyhow::Result<()> {
    let stage = Stage::learned(kind, &Options::named("cap"))?;
    let service = stage.service("cap", &[])?;
    assert!(service.start(&[ACT, "chroot", "/tmp"])?.all_succeeded());
    stage
        .agent
        .wait_until_held(IMAGE, "cap", &["CAP_SYS_CHROOT initial granted"], text)?;
    // Memory, for which the kernel asks whether it is an administrator's.
    assert!(service.start(&[ACT, "memory", "64"])?.all_succeeded());
    let held = stage.agent.held(IMAGE, "cap", text)?;
    assert!(!held.iter().any(|held| held.contains("SYS_ADMIN")), "{held:?}");

    stage.agent.set_domain_mode("monitor", IMAGE, "cap")?;
    let mark = stage.agent.mark();
    assert!(service.start(&[ACT, "chroot", "/tmp"])?.all_succeeded());
    assert!(service.start(&[ACT, "memory", "64"])?.all_succeeded());
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(
        told(&stage, mark, &service),
        [""; 0],
        "log:\n{}",
        stage.agent.log()
    );

    for (argv, succeeds, wanted) in [
        (&["set-user", "65534"][..], true, "CAP_SETUID initial granted"),
        (&["priority", "-5"], false, "CAP_SYS_NICE initial refused"),
    ] {
        let mark = stage.agent.mark();
        let argv = [&[ACT], argv].concat();
        let outcome = service.start(&argv)?;
        assert_eq!(outcome.all_succeeded(), succeeds, "{argv:?}: {outcome:?}");
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
        assert_eq!(alert["kind"], "cap.unknown", "{alert:#}");
        assert_eq!(told(&stage, mark, &service), [wanted], "once, and nothing else");
    }
    Ok(())
}

/// Where the tier can refuse, what the container's runtime gave it is taken back; else its process is killed if that was asked for.
#[test]
fn what_is_enforced_is_refused_or_killed() -> anyhow::Result<()> {
    let options = Options {
        policies: vec![("kill", "[cap]")],
        ..Options::named("enforced")
    };
    let stage = Stage::learned(Kind::Docker, &options)?;
    let service = stage.service("cap", &[])?;
    stage.agent.set_domain_mode("enforce", IMAGE, "cap")?;
    let mark = stage.agent.mark();
    let outcome = service.start(&[ACT, "chroot", "/tmp"])?;
    let taken = if support::tier(&stage.agent, "cap")? == "deny" {
        // It ends with the number of the error, 1, which is any program's word for failure.
        assert_eq!(outcome.failed, 1, "{outcome:?}");
        "denied"
    } else {
        assert!(outcome.all_killed(), "{outcome:?}");
        "killed"
    };
    let alert = stage.agent.wait_for_alert(mark, ALERT_PATIENCE, |alert| {
        text(&alert["behaviour"]) == "CAP_SYS_CHROOT initial granted"
    });
    let alert = alert.unwrap_or_else(|| panic!("no alert; log:\n{}", stage.agent.log()));
    assert_eq!(alert["action"]["taken"], taken, "{alert:#}");
    Ok(())
}
