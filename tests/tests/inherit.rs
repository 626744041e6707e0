//! A new image of a known reference begins with what did not change since the image before, and learns what did.

use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;
use tests::agent::{Agent, Options};
use tests::environment::Environment;
use tests::image;
use tests::nginx::{self, Manner, NGINX};
use tests::runtime::{Docker, Kind, Layout, Runtime};
use tests::service::{Service, Stop};
use tests::stage::{ALERT_PATIENCE, IMAGE, LEARNED, Stage, is_about};

tests::on_every_runtime!(what_changed_is_learned_and_the_rest_is_judged_as_before);

/// The next image in the repository of [`IMAGE`].
const NEXT: &str = "registry.example/app:2";
/// A program that only the next image has.
const ADDED: &str = "/usr/bin/added";

/// The paths of the programs of an image's profile that are in this state.
fn programs(agent: &Agent, image: &str, state: &str) -> anyhow::Result<Vec<String>> {
    agent.behaviours(image, |behaviour| {
        behaviour["section"] == "main" && behaviour["state"] == state
    })
}

/// Waits until an image's profile has begun with what that of the image before had, and gives what is said of it.
fn wait_until_begun(agent: &Agent, image: &str) -> anyhow::Result<Value> {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let shown = agent.json(&["profile", "show", image])?;
        let follows = &shown["summary"]["follows"];
        if follows.is_object() {
            return Ok(follows.clone());
        }
        anyhow::ensure!(Instant::now() < deadline, "{shown:#}\nlog:\n{}", agent.log());
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// What changes in the next image: one program has another content, one is new.
fn change(root: &Path) -> anyhow::Result<()> {
    std::fs::OpenOptions::new()
        .append(true)
        .open(root.join("bin/report"))?
        .write_all(b"\nchanged\n")?;
    std::fs::copy(Environment::get().fixture("rotate"), root.join(&ADDED[1..]))?;
    Ok(())
}

/// Waits for the alert about a program of a container.
fn alert_about(stage: &Stage, mark: usize, service: &Service, path: &str) -> Option<Value> {
    stage.agent.wait_for_alert(mark, ALERT_PATIENCE, |alert| {
        is_about(alert, &service.container.id) && alert["behaviour"]["path"] == path
    })
}

/// Enforced was the image before. In the next one drift is refused as before, what is unchanged and was never seen is told, and what
/// changed is learned; an approval has all of it enforced again.
fn what_changed_is_learned_and_the_rest_is_judged_as_before(kind: Kind) -> anyhow::Result<()> {
    let stage = Stage::enforcing_on(kind, &Options::named("inherit"))?;
    let agent = &stage.agent;
    agent.accept_probe(IMAGE, "/bin/fetch")?;
    agent.done(&["profile", "approve", IMAGE])?;
    let digest = image::build_with(stage.runtime.as_ref(), NEXT, "two", change)?;
    let service = stage.runtime.service("next", NEXT, &[], &[])?;
    agent.wait_until_resolved(&service.container.id)?;
    let follows = wait_until_begun(agent, NEXT)?;
    assert_eq!(follows["digest"], stage.digest.as_str(), "{follows:#}");
    assert_eq!(follows["learns_changes"], true, "{follows:#}");
    if stage.stop_at_root == Stop::NotPermitted {
        agent.wait_until_answered(&service.container.id)?;
    }

    let inherited = programs(agent, NEXT, "inherited")?;
    for program in LEARNED {
        let is_inherited = inherited.iter().any(|inherited| inherited == program);
        assert_eq!(
            is_inherited,
            *program != "/bin/report",
            "{program}: {inherited:?}"
        );
    }
    let probes = agent.rules(NEXT, "exec_in")?;
    assert_eq!(probes, ["/bin/fetch"], "what was accepted for probes");

    let mark = agent.mark();
    for argv in [
        ["/bin/fetch", "/tmp/a"],
        ["/bin/report", "/tmp/b"],
        [ADDED, "/tmp/c"],
    ] {
        let outcome = service.start(&argv)?;
        assert!(outcome.all_succeeded(), "{argv:?}: {outcome:?}\n{}", agent.log());
    }
    agent.wait_until_learned(NEXT, &["/bin/report", ADDED])?;
    let outcome = service.start(&["/bin/rotate", "/tmp/d"])?;
    assert!(outcome.all_succeeded(), "{outcome:?}");
    let alert =
        alert_about(&stage, mark, &service, "/bin/rotate").expect("it is unchanged, and was never seen");
    assert_eq!(
        (&alert["kind"], &alert["mode"]),
        (&"exec.unknown".into(), &"monitor".into()),
        "{alert:#}"
    );
    Stage::drop_payload(&service, "/tmp/dropped")?;
    assert!(
        service.start(&["/tmp/dropped"])?.all(stage.stop_at_root),
        "drift is refused as before"
    );
    assert!(
        alert_about(&stage, mark, &service, "/tmp/dropped").is_some(),
        "drift is told"
    );
    let told: Vec<Value> = agent.alerts().into_iter().skip(mark).collect();
    let programs_told = told
        .iter()
        .filter(|alert| alert["domain"] == "exec" && is_about(alert, &service.container.id))
        .map(|alert| alert["behaviour"]["path"].as_str().unwrap_or_default());
    let mut programs_told: Vec<&str> = programs_told.collect();
    programs_told.sort_unstable();
    assert_eq!(programs_told, ["/bin/rotate", "/tmp/dropped"], "{told:#?}");

    let diff = agent.json(&["profile", "diff", &stage.digest, &digest])?;
    let role = &diff["roles"][0];
    assert_eq!(role["descent"]["inherited"], follows["inherited"], "{diff:#}");
    let paths = |list: &Value| -> Vec<String> {
        let list = list.as_array().into_iter().flatten();
        list.filter(|one| one["domain"] == "exec")
            .map(|one| one["path"].as_str().unwrap_or_default().to_owned())
            .collect()
    };
    assert_eq!(paths(&role["descent"]["anew"]), ["/bin/report"], "{diff:#}");
    assert!(paths(&role["behaviours"]).contains(&ADDED.to_owned()), "{diff:#}");

    agent.done(&["profile", "approve", NEXT])?;
    assert!(service.start(&["/bin/rotate", "/tmp/e"])?.all(stage.stop));
    for argv in [
        ["/bin/fetch", "/tmp/f"],
        ["/bin/report", "/tmp/g"],
        [ADDED, "/tmp/h"],
    ] {
        let outcome = service.start(&argv)?;
        assert!(outcome.all_succeeded(), "{argv:?}: {outcome:?}\n{}", agent.log());
    }
    assert_eq!(stage.runtime.read(&service.container, "/tmp/e")?, None);
    Ok(())
}

/// Where it is switched off, a new image begins with nothing.
#[test]
fn a_node_can_do_without() -> anyhow::Result<()> {
    let options = Options {
        policies: vec![("inherit", "false")],
        ..Options::named("no-inherit")
    };
    let stage = Stage::learned(Layout::Hybrid, &options)?;
    image::build_with(stage.runtime.as_ref(), NEXT, "two", change)?;
    let service = stage.runtime.service("next", NEXT, &[], &[])?;
    stage.agent.wait_until_resolved(&service.container.id)?;
    assert!(service.start(&["/bin/fetch", "/tmp/a"])?.all_succeeded());
    stage.agent.wait_until_learned(NEXT, &["/bin/fetch"])?;
    assert_eq!(programs(&stage.agent, NEXT, "inherited")?, [""; 0]);
    let shown = stage.agent.json(&["profile", "show", NEXT])?;
    assert_eq!(shown["summary"]["follows"], Value::Null);
    Ok(())
}

/// A server of which one package was upgraded: what the rest of its image does is judged as before, without a false alert.
#[test]
fn one_package_of_a_server_is_upgraded() -> anyhow::Result<()> {
    const BEFORE: &str = "registry.example/nginx:1";
    const AFTER: &str = "registry.example/nginx:2";
    const ACT: &str = "/usr/bin/act";
    let docker = Docker::start(Layout::Hybrid)?;
    nginx::build_upgraded(&docker, BEFORE, AFTER)?;
    let agent = Agent::start(&docker, &Options::named("upgraded"))?;
    let options = ["--entrypoint=/usr/bin/service"];
    let serve = |name: &str, image: &str| -> anyhow::Result<Service> {
        let service = docker.service(name, image, &options, &[])?;
        agent.wait_until_resolved(&service.container.id)?;
        for argv in [&[NGINX][..], &[ACT]] {
            let outcome = service.start(argv)?;
            anyhow::ensure!(outcome.all_succeeded(), "{argv:?}: {outcome:?}");
        }
        let process = docker.process(&service.container)?;
        let answers = nginx::load(process, 2, Manner::Ordinary, Duration::from_secs(8))?;
        anyhow::ensure!(answers > 50, "only {answers} answers");
        Ok(service)
    };
    let service = serve("before", BEFORE)?;
    agent.wait_until_held(BEFORE, "file", &["/srv/www/page-39.html"], |behaviour| {
        behaviour["path"].as_str().unwrap_or_default().to_owned()
    })?;
    docker.remove(&service.detach())?;
    agent.done(&["profile", "approve", BEFORE])?;
    agent.done(&["mode", "set", "monitor", "--image", BEFORE])?;

    let mark = agent.mark();
    let service = serve("after", AFTER)?;
    let follows = wait_until_begun(&agent, AFTER)?;
    agent.wait_until_learned(AFTER, &[NGINX])?;
    std::thread::sleep(Duration::from_secs(2));
    let told: Vec<Value> = agent.alerts().into_iter().skip(mark).collect();
    assert!(told.is_empty(), "false alerts: {told:#?}\nlog:\n{}", agent.log());
    assert_eq!(
        programs(&agent, AFTER, "inherited")?,
        ["/usr/bin/act", "/usr/bin/service"]
    );
    assert_eq!(programs(&agent, AFTER, "learned")?, [NGINX]);
    let diff = agent.json(&["profile", "diff", BEFORE, AFTER])?;
    let role = &diff["roles"][0];
    let number = |list: &Value| list.as_array().map_or(0, Vec::len);
    println!(
        "{} rules were inherited, {} came in anew, {} differ",
        follows["inherited"],
        number(&role["descent"]["anew"]),
        number(&role["behaviours"])
    );
    println!("{}", agent.done(&["profile", "diff", BEFORE, AFTER])?);
    let all = follows["inherited"].as_u64().unwrap_or(0);
    assert!(all > 40 && number(&role["descent"]["anew"]) < 10, "{diff:#}");

    // The same program of the same image reads what it never read: judged as before.
    let mark = agent.mark();
    service.start(&[ACT, "read", "/etc/shadow"])?;
    let alert = agent.wait_for_alert(mark, ALERT_PATIENCE, |alert| {
        alert["behaviour"]["path"] == "/etc/shadow"
    });
    assert!(alert.is_some(), "not told; log:\n{}", agent.log());
    Ok(())
}
