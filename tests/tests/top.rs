//! `driftlock top` in a real terminal, with a real agent behind it.

use rustix::process::{Pid, Signal, kill_process};

use tests::agent::Options;
use tests::stage::{IMAGE, Stage};
use tests::terminal::Terminal;

/// The whole screen. In this executable, because it runs where the sources are not, too.
const SCREEN: &str = include_str!("screens/top.txt");
/// Characters of an identity that are shown.
const SHORT: usize = 12;

/// The screen with what differs between runs and kernels put by its name: identities, times, and what this kernel can do.
fn steady(screen: &str, stage: &Stage, container: &str) -> String {
    let digest = stage.digest.trim_start_matches("sha256:");
    let lines: Vec<String> = screen
        .replace(&digest[..SHORT], "IMAGE_DIGEST")
        .replace(&container[..SHORT], "CONTAINER_ID")
        .replace(stage.stop.as_str(), "ACTION")
        .replace("denied 0   ACTION 1", "ACTION 1")
        .replace("ACTION 1   killed 0", "ACTION 1")
        .lines()
        .map(steady_line)
        .collect();
    lines.join("\n")
}

fn steady_line(line: &str) -> String {
    // Version and time since the start.
    if let (Some((before, _)), Some((_, after))) = (line.split_once("  agent "), line.split_once(" s  ")) {
        return format!("{before}  agent VERSION for TIME  {after}");
    }
    // The domains that this kernel serves.
    if line.contains(" by default, can ") {
        return "DOMAINS".to_owned();
    }
    // What the image did, which is another test's.
    if let (Some((before, _)), Some((_, after))) =
        (line.split_once("/bin/service, "), line.split_once(" rules, "))
    {
        return format!("{before}/bin/service, N rules, {after}");
    }
    // Times of alerts, 12:34:56.
    match line.split_at_checked(8) {
        Some((clock, rest)) if clock.bytes().filter(|byte| *byte == b':').count() == 2 => {
            format!("HH:MM:SS{rest}")
        }
        _ => line.to_owned(),
    }
}

/// Containers, modes, losses and alerts are shown as they come; keys do what they say; the terminal is left as it was.
#[test]
fn the_live_view_follows_the_node() -> anyhow::Result<()> {
    let mut stage = Stage::enforcing(&Options::named("top"))?;
    let service = stage.service("watched", &[])?;
    let mut terminal = Terminal::start(&stage.agent.command(&["top"]), 24, 110)?;
    let screen = terminal.wait_until(|text| text.contains("watched") && text.contains("enforcing "))?;
    assert!(screen.contains("app:1") && IMAGE.ends_with("app:1"), "{screen}");
    assert!(screen.contains("enforce"), "{screen}");
    assert!(screen.contains("exec: learn by default, can "), "{screen}");
    assert!(screen.contains("latest alerts (0)"), "{screen}");
    assert!(terminal.is_coloured(), "a terminal that knows colour");
    assert!(!terminal.is_restored()?, "it is on the other screen");

    // An attack is on the screen without a key.
    let mark = stage.agent.mark();
    assert!(service.start(&["/bin/rotate", "/tmp/witness"])?.all(stage.stop));
    let alert = stage.expect_alert(mark, &service);
    assert_eq!(alert["kind"], "exec.unknown", "{alert:#}");
    let screen = terminal.wait_until(|text| text.contains("latest alerts (1)"))?;
    let alert = screen
        .lines()
        .find(|line| line.contains("watched: image /bin/rotate"));
    assert!(
        alert.is_some_and(|line| line.contains("exec.unknown")),
        "{screen}"
    );
    terminal.wait_until(|text| text.contains("denied 1") || text.contains("killed 1"))?;

    terminal.press("s")?;
    terminal.wait_until(|text| text.contains("by mode"))?;
    terminal.press("\u{1b}[B")?;
    terminal.wait_until(|text| text.contains("role /bin/service"))?;
    // Rates are those since the last sample: nothing happens any more.
    terminal.wait_until(|text| text.contains("records 0/s   alerts 0/s"))?;
    terminal.press("p")?;
    let paused = terminal.wait_until(|text| text.contains("paused"))?;
    let shown = steady(&paused, &stage, &service.container.id);
    assert_eq!(shown, SCREEN.trim_end(), "the screen shows:\n{shown}");
    terminal.press("p")?;
    terminal.wait_until(|text| !text.contains("paused"))?;
    terminal.resize(20, 70)?;
    let narrow = terminal.wait_until(|text| !text.contains("IMAGE"))?;
    assert!(narrow.lines().all(|line| line.chars().count() <= 70), "{narrow}");

    // The agent goes and comes.
    stage.agent.terminate()?;
    terminal.wait_until(|text| text.contains("agent not reachable, retrying"))?;
    stage.agent = tests::agent::Agent::start(stage.runtime.as_ref(), &Options::named("top"))?;
    terminal.wait_until(|text| !text.contains("not reachable") && text.contains("watched"))?;

    terminal.press("q")?;
    assert!(terminal.wait()?.success());
    assert!(terminal.is_restored()?, "{}", terminal.text());
    Ok(())
}

/// Told to end by a signal, it leaves the terminal as it was; without a terminal it says what to use.
#[test]
fn the_terminal_is_left_as_it_was() -> anyhow::Result<()> {
    let stage = Stage::start(tests::runtime::Layout::Hybrid, &Options::named("signal"))?;
    let mut terminal = Terminal::start(&stage.agent.command(&["top"]), 24, 80)?;
    terminal.wait_until(|text| text.contains("exec: learn by default"))?;
    let pid = i32::try_from(terminal.pid()).ok().and_then(Pid::from_raw);
    kill_process(pid.expect("a process"), Signal::TERM)?;
    terminal.wait()?;
    assert!(terminal.is_restored()?, "{}", terminal.text());

    let reply = stage.agent.cli(&["top"])?;
    assert_eq!(reply.code, 1, "{reply:?}");
    assert!(reply.stderr.contains("needs a terminal"), "{reply:?}");
    Ok(())
}

/// What the reading commands print fits the terminal, has colour there and none elsewhere, and says first what matters.
#[test]
fn tables_fit_the_terminal() -> anyhow::Result<()> {
    let stage = Stage::enforcing(&Options::named("tables"))?;
    let name = "a-container-with-a-name-that-is-much-longer-than-a-column-of-a-table-can-be";
    let service = stage.service(name, &[])?;
    let mark = stage.agent.mark();
    assert!(service.start(&["/bin/rotate", "/tmp/witness"])?.all(stage.stop));
    let alert = stage.expect_alert(mark, &service);
    assert_eq!(alert["kind"], "exec.unknown", "{alert:#}");
    for (arguments, first) in [
        (&["status"][..], "enforcing "),
        (&["containers"], "ID "),
        (&["doctor"], "the agent can run"),
        (&["alerts"], ""),
        (&["mode", "get"], "FOR "),
        (&["profile", "list"], "IMAGE "),
        (&["profile", "show", IMAGE], "image "),
    ] {
        for columns in [80, 132] {
            let mut terminal = Terminal::start(&stage.agent.command(arguments), 300, columns)?;
            let status = terminal.wait()?;
            // What it wrote last is still on its way.
            let screen = terminal.wait_until(|text| !text.is_empty())?;
            std::thread::sleep(std::time::Duration::from_millis(100));
            let screen = if terminal.text() == screen {
                screen
            } else {
                terminal.text()
            };
            println!("== {arguments:?} in {columns} columns\n{screen}");
            assert!(status.success(), "{arguments:?}: {screen}");
            assert!(screen.starts_with(first), "{arguments:?}: {screen}");
            // An alert is a line of a stream: a narrow terminal breaks it.
            assert!(
                !terminal.is_wrapped() || (arguments == ["alerts"] && columns == 80),
                "{arguments:?} in {columns} columns:\n{screen}"
            );
            // Heads of tables are bold, not coloured.
            let has_tones = ["status", "doctor", "alerts"].contains(&arguments[0]);
            assert!(!has_tones || terminal.is_coloured(), "{arguments:?}: no colour");
        }
        let plain = stage.agent.done(arguments)?;
        assert!(!plain.contains('\u{1b}'), "{arguments:?}: {plain:?}");
    }
    let mut forced = stage.agent.command(&["status"]);
    let output = forced.env("CLICOLOR_FORCE", "1").output()?;
    assert!(
        String::from_utf8_lossy(&output.stdout).contains("\u{1b}["),
        "colour was asked for"
    );
    Ok(())
}
