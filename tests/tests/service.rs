//! The agent as a service of the node: what it tells its manager, and that a reload loses no rule.

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use tests::agent::Options;
use tests::attempt::{SHELL_ALERT, SHELL_DENY, Scene};
use tests::environment::patience;
use tests::runtime::Kind;
use tests::service::Outcomes;
use tests::stage::Stage;

/// What `WATCHDOG_USEC` says here: the agent is to tell twice as often that it lives.
const WATCHDOG: Duration = Duration::from_secs(2);

/// A service manager's end.
struct Manager {
    socket: UnixDatagram,
    heard: Vec<String>,
}

impl Manager {
    fn listen(path: &Path) -> anyhow::Result<Self> {
        let socket = UnixDatagram::bind(path)?;
        socket.set_read_timeout(Some(Duration::from_millis(200)))?;
        Ok(Self {
            socket,
            heard: Vec::new(),
        })
    }

    /// Waits for a message that has this among its lines, from the message `from` on; its number.
    fn wait_for(&mut self, from: usize, line: &str) -> anyhow::Result<usize> {
        let deadline = Instant::now() + patience(Duration::from_mins(1));
        let mut next = from;
        loop {
            while next < self.heard.len() {
                if self.heard[next].lines().any(|told| told.starts_with(line)) {
                    return Ok(next);
                }
                next += 1;
            }
            ensure!(Instant::now() < deadline, "no {line} among {:?}", self.heard);
            self.hear()?;
        }
    }

    fn hear(&mut self) -> anyhow::Result<()> {
        let mut bytes = [0; 4096];
        match self.socket.recv(&mut bytes) {
            Ok(length) => self
                .heard
                .push(String::from_utf8_lossy(&bytes[..length]).into_owned()),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// What came by now.
    fn drain(&mut self) -> anyhow::Result<usize> {
        let mut before = usize::MAX;
        while before != self.heard.len() {
            before = self.heard.len();
            self.hear()?;
        }
        Ok(before)
    }
}

fn options(socket: &Path, exec_into: &'static str) -> Options {
    Options {
        policies: vec![("exec_into", exec_into)],
        variables: vec![
            ("NOTIFY_SOCKET", socket.display().to_string()),
            ("WATCHDOG_USEC", WATCHDOG.as_micros().to_string()),
        ],
        ..Options::named("service")
    }
}

/// Ready, alive, reloading and ready again, stopping; a wrong configuration is refused as a whole; and what is enforced stays so all the
/// while.
#[test]
fn the_manager_is_told_and_a_reload_loses_no_rule() -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("notify");
    let mut manager = Manager::listen(&path)?;
    let mut stage = Stage::enforcing_on(Kind::Docker, &options(&path, "alert"))?;
    let ready = manager.wait_for(0, "READY=1")?;
    let alive = manager.wait_for(ready, "WATCHDOG=1")?;
    manager.wait_for(alive + 1, "WATCHDOG=1")?;
    manager.wait_for(ready, "STATUS=")?;

    let service = stage.service("reloaded", &[])?;
    Stage::drop_payload(&service, "/tmp/dropped")?;
    // A container of its own, so that nobody else's requests are mixed with its.
    let attacked = stage.service("attacked", &[])?;
    Stage::drop_payload(&attacked, "/tmp/dropped")?;
    let done = AtomicBool::new(false);
    let drifted = std::thread::scope(|scope| {
        let drifted = scope.spawn(|| -> anyhow::Result<Outcomes> {
            let mut sum = Outcomes::default();
            while !done.load(Ordering::Relaxed) {
                let more = attacked.start_many(20, &["/tmp/dropped", "/tmp/witness-{}"])?;
                sum.succeeded += more.succeeded;
                sum.killed += more.killed;
                sum.denied += more.denied;
                sum.not_permitted += more.not_permitted;
            }
            Ok(sum)
        });
        let reloaded = reloads(&stage, &service, &path, &mut manager);
        done.store(true, Ordering::Relaxed);
        let drifted = drifted.join().expect("it does not panic");
        reloaded.and(drifted)
    })?;
    assert_eq!(drifted.succeeded, 0, "{drifted:?}");
    assert!(
        drifted.killed + drifted.denied + drifted.not_permitted > 20,
        "{drifted:?}"
    );

    let mark = manager.drain()?;
    stage.agent.terminate()?;
    manager.wait_for(mark, "STOPPING=1")?;
    stage.agent.done(&["teardown"])?;
    Ok(())
}

/// Reloads: to `deny`, to what is wrong, and to what needs a restart.
fn reloads(
    stage: &Stage,
    service: &tests::service::Service,
    path: &Path,
    manager: &mut Manager,
) -> anyhow::Result<()> {
    let scene = Scene::new(stage, service);
    let shell = SHELL_ALERT.make(&scene)?;
    ensure!(shell.faults().is_empty(), "before: {:?}", shell.faults());

    let denies = options(path, "deny");
    reload(stage, manager, &denies)?;
    let shell = SHELL_DENY.make(&scene)?;
    ensure!(
        shell.faults().is_empty(),
        "after the reload: {:?}",
        shell.faults()
    );

    let wrong = options(path, "perhaps");
    reload(stage, manager, &wrong)?;
    let refused = stage.agent.log();
    ensure!(
        refused.contains("refused as a whole") && refused.contains("exec_into: perhaps"),
        "{refused}"
    );
    let status = stage.agent.json(&["status"])?;
    let held = status.pointer("/policies/exec_into").context("no policies")?;
    ensure!(held == "deny", "{held}");

    let later = Options {
        config: "limits: { clients: 5 }\n".to_owned(),
        ..denies
    };
    reload(stage, manager, &later)?;
    let log = stage.agent.log();
    ensure!(
        log.contains("from the next start on") && log.contains("limits"),
        "{log}"
    );
    Ok(())
}

/// Has the agent read its configuration, and waits until it says that it did.
fn reload(stage: &Stage, manager: &mut Manager, options: &Options) -> anyhow::Result<()> {
    let mark = manager.drain()?;
    stage.agent.reload(stage.runtime.as_ref(), options)?;
    let reloading = manager.wait_for(mark, "RELOADING=1")?;
    let message = &manager.heard[reloading];
    ensure!(message.contains("\nMONOTONIC_USEC="), "{message}");
    manager.wait_for(reloading + 1, "READY=1").map(drop)
}
