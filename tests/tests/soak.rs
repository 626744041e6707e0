//! A real server: learned under load, then under another load without a false alert; then a dozen things that it never did, each told
//! once, with the right layer and path.

use std::time::Duration;

use serde_json::Value;
use tests::agent::{Agent, Options};
use tests::nginx::{self, Manner, NGINX};
use tests::runtime::{Docker, Layout, Runtime as _};
use tests::stage::ALERT_PATIENCE;

const IMAGE: &str = "registry.example/nginx:1";
/// The program that does what the server never did.
const ACT: &str = "/usr/bin/act";
const TOKEN: &str = "/run/secrets/kubernetes.io/serviceaccount/token";

/// What is planted, and what has to be told of it.
const PLANTED: &[(&[&str], &[&str])] = &[
    (&["read", "/etc/shadow"], &["read image /etc/shadow"]),
    (
        &["read", "/var/run/secrets/kubernetes.io/serviceaccount/token"],
        &["read volume /run/secrets/kubernetes.io/serviceaccount/token"],
    ),
    (
        &["replace", "/etc/cron.d/job", "/etc/cron.d/.job.new"],
        &[
            "create upper /etc/cron.d/.job.new",
            "rename upper /etc/cron.d/job",
        ],
    ),
    (
        &["create", "/etc/nginx/conf.d/other.conf"],
        &["create upper /etc/nginx/conf.d/other.conf"],
    ),
    (&["append", "/etc/passwd"], &["write upper /etc/passwd"]),
    (
        &["symlink", "/tmp/library.so", "/etc/ld.so.preload"],
        &["link upper /etc/ld.so.preload"],
    ),
    (
        &["link", "/etc/shadow", "/srv/www/page-x.html"],
        &["link upper /srv/www/page-x.html"],
    ),
    (&["read", "/proc/1/environ"], &["read volume /proc/1/environ"]),
    (&["raw-socket"], &["CAP_NET_RAW initial granted"]),
    (&["mount", "/tmp"], &["CAP_SYS_ADMIN initial refused"]),
    (&["trace", "@worker"], &["CAP_SYS_PTRACE initial refused"]),
    (
        &["set-id-file", "/tmp/suid"],
        &["create upper /tmp/suid", "CAP_FSETID initial granted"],
    ),
];

fn text(alert: &Value) -> String {
    let word = |name: &str| alert["behaviour"][name].as_str().unwrap_or("?").to_owned();
    if alert["domain"] == "cap" {
        format!("{} {} {}", word("capability"), word("namespace"), word("outcome"))
    } else {
        format!("{} {} {}", word("operation"), word("layer"), word("path"))
    }
}

/// The alerts since `mark`.
fn told(agent: &Agent, mark: usize) -> Vec<String> {
    agent.alerts().iter().skip(mark).map(text).collect()
}

fn soak(learn: Duration, watch: Duration) -> anyhow::Result<()> {
    let docker = Docker::start(Layout::Hybrid)?;
    nginx::build(&docker, IMAGE)?;
    let agent = Agent::start(&docker, &Options::named("soak"))?;
    let secrets = docker.place().directory().join("secrets");
    std::fs::create_dir_all(&secrets)?;
    std::fs::write(secrets.join("token"), "secret\n")?;
    let volume = format!(
        "--volume={}:{}",
        secrets.display(),
        TOKEN.trim_end_matches("/token")
    );
    // Docker's filter of system calls would refuse some of what is planted before the kernel asks for a capability.
    let options = [
        "--entrypoint=/usr/bin/service",
        "--security-opt=seccomp=unconfined",
        volume.as_str(),
    ];
    let service = docker.service("web", IMAGE, &options, &[])?;
    agent.wait_until_resolved(&service.container.id)?;
    for argv in [&[NGINX][..], &[ACT]] {
        let outcome = service.start(argv)?;
        assert!(outcome.all_succeeded(), "{argv:?}: {outcome:?}");
    }
    let process = docker.process(&service.container)?;
    let reload = || -> anyhow::Result<()> {
        let outcome = service.start(&[NGINX, "-s", "reload"])?;
        assert!(outcome.all_succeeded(), "{outcome:?}");
        Ok(())
    };
    let half = learn / 2;
    let mut learned = nginx::load(process, 2, Manner::Ordinary, half)?;
    reload()?;
    learned += nginx::load(process, 2, Manner::Ordinary, half)?;
    agent.wait_until_held(
        IMAGE,
        "file",
        &["read image /srv/www/page-39.html"],
        |behaviour| text(&serde_json::json!({"domain": "file", "behaviour": behaviour})),
    )?;
    agent.done(&["profile", "approve", IMAGE])?;
    agent.done(&["mode", "set", "monitor", "--image", IMAGE])?;

    let mark = agent.mark();
    let records = agent.container_counter(&service.container.id, "generated")?;
    let rounds = 5;
    let mut watched = 0;
    for _ in 0..rounds {
        watched += nginx::load(process, 4, Manner::Rough, watch / rounds)?;
        reload()?;
    }
    let more = agent.container_counter(&service.container.id, "generated")? - records;
    println!(
        "learned from {learned} answers; {watched} answers in {} s of another load: {} alerts, {more} records",
        watch.as_secs(),
        agent.mark() - mark
    );
    assert_eq!(told(&agent, mark), [""; 0], "false alerts; log:\n{}", agent.log());
    assert!(learned > 100 && watched > 100, "{learned} {watched}");

    // Workers from before the last reload end when their connections have.
    std::thread::sleep(Duration::from_secs(3));
    let worker = nginx_worker(&docker, process)?;
    for (words, wanted) in PLANTED {
        let words: Vec<&str> = words
            .iter()
            .map(|word| if *word == "@worker" { worker.as_str() } else { word })
            .collect();
        let mark = agent.mark();
        // Some are refused by the kernel itself.
        service.start(&[&[ACT], words.as_slice()].concat())?;
        for wanted in *wanted {
            let alert = agent.wait_for_alert(mark, ALERT_PATIENCE, |alert| text(alert) == *wanted);
            assert!(
                alert.is_some(),
                "{words:?}: not {wanted} but {:?}; log:\n{}",
                told(&agent, mark),
                agent.log()
            );
        }
        std::thread::sleep(Duration::from_millis(300));
        let mut all = told(&agent, mark);
        all.sort();
        let mut expected = wanted.to_vec();
        expected.sort_unstable();
        assert_eq!(all, expected, "{words:?}: each once, and nothing else");
        println!("{}: {}", words.join(" "), wanted.join(", "));
    }
    Ok(())
}

/// Process id of a worker, as the container sees it: a process of another user than root.
fn nginx_worker(docker: &Docker, init: u32) -> anyhow::Result<String> {
    let top = docker.text(["top", "web", "-eo", "pid,user,comm"])?;
    let host: u32 = top
        .lines()
        .filter(|line| line.contains("nginx") && !line.contains("root"))
        .filter_map(|line| line.split_whitespace().next()?.parse().ok())
        .max()
        .unwrap_or(init);
    let status = std::fs::read_to_string(format!("/proc/{host}/status"))?;
    let own = status
        .lines()
        .find_map(|line| line.strip_prefix("NSpid:"))
        .and_then(|numbers| numbers.split_whitespace().last())
        .unwrap_or_default();
    Ok(own.to_owned())
}

#[test]
fn nginx_for_a_minute() -> anyhow::Result<()> {
    soak(Duration::from_secs(12), Duration::from_secs(30))
}

#[test]
#[ignore = "takes twelve minutes"]
fn nginx_for_ten_minutes() -> anyhow::Result<()> {
    soak(Duration::from_secs(90), Duration::from_mins(10))
}
