//! What clients of the control socket do that mean no good, or know no better: the agent answers root all the while, and stays small.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use rustix::thread::{Gid, Uid, set_thread_gid, set_thread_groups, set_thread_uid};

use tests::agent::{Agent, Options};
use tests::environment::patience;
use tests::runtime::Layout;
use tests::stage::{IMAGE, Stage};

const HELLO: &str = "{\"protocol\":1,\"version\":\"0\"}\n";
const STATUS: &str = "{\"request\":\"status\"}\n";
/// Who may read, and no more.
const READER: u32 = 3001;
/// Memory that the agent may take beyond what it had, whatever its clients do.
const GROWTH_KIB: u64 = 64 << 10;
/// How long root may wait for an answer meanwhile.
const ANSWER: Duration = Duration::from_secs(2);

/// Does something as another user than root, in a thread that is no longer root's.
fn as_user<T: Send>(uid: u32, what: impl FnOnce() -> anyhow::Result<T> + Send) -> anyhow::Result<T> {
    std::thread::scope(|scope| {
        let user = scope.spawn(|| {
            set_thread_groups(&[])?;
            set_thread_gid(Gid::from_raw(uid))?;
            set_thread_uid(Uid::from_raw(uid))?;
            what()
        });
        user.join().map_err(|_| anyhow::anyhow!("the thread panicked"))?
    })
}

/// Sends bytes and gives what comes until the agent closes.
fn send(socket: &Path, bytes: &[u8]) -> anyhow::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(patience(Duration::from_secs(30))))?;
    // The agent may close before it has read everything.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// Memory of the agent, in KiB.
fn memory_kib(agent: &Agent) -> anyhow::Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{}/status", agent.pid()))?;
    text.lines()
        .find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"))
        .context("no VmRSS")?
        .parse()
        .context("not a number")
}

fn descriptors(agent: &Agent) -> anyhow::Result<usize> {
    Ok(std::fs::read_dir(format!("/proc/{}/fd", agent.pid()))?.count())
}

/// Root is answered, soon, ten times.
fn root_is_answered(agent: &Agent, while_: &str) -> anyhow::Result<()> {
    for _ in 0..10 {
        let begun = Instant::now();
        let reply = agent.cli(&["containers", "--json"])?;
        let took = begun.elapsed();
        ensure!(reply.code == 0, "while {while_}: {reply:?}");
        ensure!(took < patience(ANSWER), "while {while_}: root waited {took:?}");
    }
    Ok(())
}

fn stage(name: &str) -> anyhow::Result<(Stage, PathBuf)> {
    let options = Options {
        config: format!("control: {{readers: [{READER}]}}\n"),
        ..Options::named(name)
    };
    let stage = Stage::start(Layout::Hybrid, &options)?;
    let socket = stage.agent.directory().join("socket");
    Ok((stage, socket))
}

/// Garbage, halves of lines, lines without an end and several requests at once: each is refused or answered once, and changes nothing.
#[test]
fn what_makes_no_sense_is_refused() -> anyhow::Result<()> {
    let (stage, socket) = stage("garbage")?;
    let before = memory_kib(&stage.agent)?;
    let greeted = |text: &[u8]| [HELLO.as_bytes(), text].concat();
    let import = br#"{"request":"profile_import","document":""#;
    let nested = format!("{{\"request\":\"mode_set\",\"mode\":{}", "[".repeat(60_000));
    let cases: [(&str, Vec<u8>); 13] = [
        ("nothing", Vec::new()),
        ("an empty line", b"\n".to_vec()),
        ("another protocol", b"GET / HTTP/1.1\r\n\r\n".to_vec()),
        ("no text", b"\xff\xfe\x00\n".to_vec()),
        (
            "a later version",
            b"{\"protocol\":4294967296,\"version\":\"\"}\n".to_vec(),
        ),
        ("an unknown request", greeted(b"{\"request\":\"reboot\"}\n")),
        (
            "an unknown field",
            greeted(b"{\"request\":\"mode_get\",\"force\":true}\n"),
        ),
        ("deep nesting", greeted(&[nested.as_bytes(), b"\n"].concat())),
        (
            "a huge number",
            greeted(b"{\"request\":\"alerts\",\"follow\":false,\"last\":1e999}\n"),
        ),
        ("a line of 100 MiB", vec![b'{'; 100 << 20]),
        ("a request of 100 MiB", greeted(&vec![b' '; 100 << 20])),
        (
            "a document of 100 MiB",
            greeted(&[&import[..], &vec![b'x'; 100 << 20]].concat()),
        ),
        ("half a line", greeted(b"{\"request\":")),
    ];
    for (case, bytes) in &cases {
        let socket = &socket;
        let answer = if matches!(*case, "nothing" | "half a line") {
            let mut stream = UnixStream::connect(socket)?;
            stream.write_all(bytes)?;
            stream.shutdown(std::net::Shutdown::Write)?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            answer
        } else {
            send(socket, bytes)?
        };
        let last = answer.lines().last().unwrap_or_default();
        assert!(last.starts_with("{\"err\":{\"kind\":"), "{case}: {answer}");
        assert!(
            !answer.contains('\x1b') && answer.len() < 4096,
            "{case}: {answer}"
        );
    }
    let pipelined = greeted(STATUS.repeat(1000).as_bytes());
    let answer = send(&socket, &pipelined)?;
    assert_eq!(answer.lines().count(), 2, "a greeting and one answer");
    root_is_answered(&stage.agent, "nothing more is sent")?;
    let grown = memory_kib(&stage.agent)?.saturating_sub(before);
    assert!(grown < GROWTH_KIB, "grown by {grown} KiB");
    eprintln!("garbage: {} cases refused, grown by {grown} KiB", cases.len());
    Ok(())
}

/// A thousand connections of one reader that say nothing, then a thousand that ask and do not read: root is answered as before.
#[test]
fn a_reader_cannot_keep_root_away() -> anyhow::Result<()> {
    let (stage, socket) = stage("thousand")?;
    let _service = stage.service("watched", &[])?;
    root_is_answered(&stage.agent, "nobody else asks")?;
    let (before, descriptors_before) = (memory_kib(&stage.agent)?, descriptors(&stage.agent)?);
    let follow = "{\"request\":\"alerts\",\"follow\":true,\"last\":null}\n";
    for (case, first) in [
        ("nothing is said", String::new()),
        ("half a greeting is said", HELLO[..9].to_owned()),
        (
            "answers are not read",
            [HELLO, "{\"request\":\"containers\"}\n"].concat(),
        ),
        ("alerts are not read", [HELLO, follow].concat()),
    ] {
        let held = as_user(READER, || {
            let mut streams = Vec::new();
            for _ in 0..1000 {
                let mut stream = UnixStream::connect(&socket)?;
                // It was refused already, perhaps.
                let _ = stream.write_all(first.as_bytes());
                streams.push(stream);
            }
            Ok(streams)
        })?;
        root_is_answered(&stage.agent, case)?;
        let (open, memory) = (descriptors(&stage.agent)?, memory_kib(&stage.agent)?);
        assert!(
            open < descriptors_before + 128,
            "{case}: {open} descriptors, {descriptors_before} before"
        );
        let grown = memory.saturating_sub(before);
        assert!(grown < GROWTH_KIB, "{case}: grown by {grown} KiB");
        eprintln!("1000 connections, {case}: {open} descriptors, grown by {grown} KiB");
        drop(held);
    }
    Ok(())
}

/// Connections as fast as they can be made, by one who may read and one who may not: root is answered, the log stays short.
#[test]
fn a_flood_of_connections_is_survived() -> anyhow::Result<()> {
    let (stage, socket) = stage("flood")?;
    let before = memory_kib(&stage.agent)?;
    let end = Instant::now() + Duration::from_secs(5);
    let flood = |uid| {
        let socket = socket.clone();
        std::thread::spawn(move || {
            as_user(uid, || {
                let mut connections = 0_u32;
                while Instant::now() < end {
                    let mut stream = UnixStream::connect(&socket)?;
                    let _ = stream.write_all([HELLO, STATUS].concat().as_bytes());
                    connections += 1;
                }
                Ok(connections)
            })
        })
    };
    let floods = [flood(READER), flood(READER + 1)];
    while Instant::now() < end {
        root_is_answered(&stage.agent, "connections flood in")?;
    }
    let mut connections = Vec::new();
    for flood in floods {
        connections.push(flood.join().map_err(|_| anyhow::anyhow!("panicked"))??);
    }
    let grown = memory_kib(&stage.agent)?.saturating_sub(before);
    eprintln!("flood: {connections:?} connections in 5 s, grown by {grown} KiB");
    assert!(connections.iter().all(|number| *number > 100), "{connections:?}");
    assert!(grown < GROWTH_KIB, "grown by {grown} KiB");
    let log = std::fs::read_to_string(stage.agent.directory().join("log"))?;
    let refusals = log
        .lines()
        .filter(|line| line.contains("refused clients"))
        .count();
    assert!((1..=3).contains(&refusals), "{refusals} lines about refusals");
    Ok(())
}

/// Documents that are broken, too long, nested or made to grow are refused with file, line and column; no profile changes.
#[test]
fn a_broken_document_changes_nothing() -> anyhow::Result<()> {
    let stage = Stage::learned(Layout::Hybrid, &Options::named("documents"))?;
    let good = stage.agent.done(&["profile", "export", IMAGE])?;
    let rules = stage.agent.rules(IMAGE, "main")?;
    let before = memory_kib(&stage.agent)?;
    let file = stage.runtime.place().directory().join("broken.yaml");
    let name = file.to_str().context("a path")?;
    let bomb: String = (1..20)
        .map(|level| {
            let before = level - 1;
            format!("l{level}: &l{level} [*l{before}, *l{before}]\n")
        })
        .collect::<Vec<_>>()
        .concat();
    for (case, document, expected) in [
        ("empty", String::new(), ":"),
        (
            "unknown field",
            good.replacen("kind:", "kynd:", 1),
            ":2:1: unknown field `kynd`",
        ),
        (
            "wrong kind",
            good.replacen("ImageProfile", "Pod", 1),
            ":2:7: unknown variant `Pod`",
        ),
        // In the middle of a digest: cut elsewhere, what is left may be a document.
        (
            "cut",
            good[..good.find("sha256:").unwrap_or(0) + 20].to_owned(),
            ":",
        ),
        ("nesting", format!("roles: {}", "[".repeat(100_000)), ":1:"),
        ("aliases", format!("l0: &l0 [x]\n{bomb}"), ":1:"),
        (
            "huge number",
            good.replacen("windows: ", "windows: 99999999999999999999", 1),
            "invalid u64",
        ),
        (
            "9 MiB",
            format!("{good}{}", "# x\n".repeat(9 << 18)),
            "more than a profile document may have",
        ),
        ("17 MiB", "x".repeat(17 << 20), "too long for a profile document"),
        ("no text", "\u{0}\u{1b}[31m".to_owned(), ":1:"),
    ] {
        std::fs::write(&file, document)?;
        let begun = Instant::now();
        let reply = stage.agent.cli(&["profile", "import", name])?;
        assert!(matches!(reply.code, 1 | 2), "{case}: {reply:?}");
        assert!(
            reply.stderr.contains(name) && reply.stderr.contains(expected),
            "{case}: {reply:?}"
        );
        assert!(
            !reply.stderr.contains('\x1b') && reply.stderr.len() < 4096,
            "{case}: {reply:?}"
        );
        assert!(begun.elapsed() < patience(Duration::from_secs(10)), "{case}");
        assert_eq!(stage.agent.rules(IMAGE, "main")?, rules, "{case}");
    }
    let grown = memory_kib(&stage.agent)?.saturating_sub(before);
    assert!(grown < 2 * GROWTH_KIB, "grown by {grown} KiB");
    Ok(())
}
