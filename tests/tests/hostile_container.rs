//! A container that uses up what it shares with others: processes, paths, cgroups, maps, the ring. Nothing of it changes a verdict
//! about the container beside it, and all of it is told or counted. Prints the table that is docs/hostile-container.md.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use anyhow::ensure;

use tests::agent::Options;
use tests::bench::program::nothing;
use tests::hostile::{Before, Neighbour, Row, counters, row, tell};
use tests::image;
use tests::service::Service;
use tests::stage::{IMAGE, Stage, is_about};

/// The program that attacks.
const ABUSE: &str = "/usr/bin/abuse";
/// A program on the volume that only ends, and is drift.
const NOTHING: &str = "/data/nothing";
/// Another one, that leaves a witness.
const TOOL: &str = "/data/tool";
/// The image whose profile grows while it learns, with programs of its own in [`FILES`].
const LEARNER: &str = "learner:1";
/// See [`LEARNER`].
const FILES: &str = "/opt/files";

/// Names that the attack `bytes` makes.
const NAMES: usize = 8;
/// Programs in [`FILES`]: more than there is room for in `VERIFIED`.
const FILES_COUNT: u64 = 5_000;
/// Different paths that are executed, and that are tried.
const PATHS: u64 = 100_000;
/// Different applets: more than a profile holds.
const APPLETS: u64 = 10_000;
/// Processes at once: more than are tracked of one container.
const CROWD: u64 = 17_000;
/// Cgroups below the container's own.
const CGROUPS: u64 = 10_000;
/// Of those that follow, each is named as a container's is: more than there are slots.
const FALSE_CONTAINERS: u64 = 5_000;
/// How long it may take until the cgroups are told of: the agent looks every 5 s.
const TOLD_WITHIN: Duration = Duration::from_secs(20);
/// More containers than there really are.
const KNOWN_MAX: usize = 20;
/// Most behaviours of a profile (`BEHAVIOURS_MAX`).
const PROFILE_MAX: usize = 8_192;
/// What lets a container mount: it is not to be attacked by what its runtime refuses already.
const PRIVILEGED: [&str; 3] = [
    "--cap-add=SYS_ADMIN",
    "--security-opt=seccomp=unconfined",
    "--cgroupns=private",
];
/// The same, with all the cgroups of the host before its eyes.
const ALL_CGROUPS: [&str; 3] = [PRIVILEGED[0], PRIVILEGED[1], "--cgroupns=host"];

/// All attacks, one after the other, on one agent.
#[test]
fn a_hostile_container_harms_nobody_else() -> anyhow::Result<()> {
    let stage = Stage::enforcing(&Options::named("hostile"))?;
    let volume = stage.host_directory("volume")?;
    tests::demo::put_tool(&volume)?;
    put_nothing(&volume.join("nothing"))?;
    let volume = format!("--volume={}:/data", volume.display());
    let neighbour = Neighbour::start(&stage, &volume)?;
    neighbour.check()?;
    let hostile = stage.service("hostile", &[&volume])?;
    let privileged = stage.service(
        "privileged",
        &[&[volume.as_str()], PRIVILEGED.as_slice()].concat(),
    )?;

    let mut rows = Vec::new();
    let attacks: [(Attack, &Service); 6] = [
        (names, &hostile),
        (mounts, &privileged),
        (escape, &privileged),
        (false_containers, &privileged),
        (paths, &hostile),
        (crowd, &hostile),
    ];
    for (attack, service) in attacks {
        rows.push(attack(&stage, service)?);
        neighbour.check()?;
    }
    rows.push(fork_bomb(&stage)?);
    neighbour.check()?;
    rows.push(ring(&stage, &hostile, &neighbour)?);
    neighbour.check()?;
    rows.extend(learning(&stage, &neighbour)?);
    tell(&rows)
}

type Attack = fn(&Stage, &Service) -> anyhow::Result<Row>;

/// Starts an attack, which must be made to its end.
fn attack(service: &Service, words: &[&str]) -> anyhow::Result<()> {
    let outcome = service.start(&[&[ABUSE], words].concat())?;
    ensure!(outcome.all_succeeded(), "{words:?}: {outcome:?}");
    Ok(())
}

fn names(stage: &Stage, service: &Service) -> anyhow::Result<Row> {
    let before = Before::now(stage, &service.container.id)?;
    attack(service, &["bytes", TOOL, "/tmp"])?;
    let told = || {
        stage
            .agent
            .alerts()
            .iter()
            .skip(before.alerts)
            .filter(|alert| is_about(alert, &service.container.id) && alert["domain"] == "exec")
            .count()
    };
    for _ in 0..100 {
        if told() == NAMES {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    ensure!(told() == NAMES, "{} of {NAMES} names were told", told());
    let stray = stage.agent.stray_output();
    ensure!(stray.is_none(), "a line that is no JSON: {stray:?}");
    let what = "names, arguments and environment of line breaks, escape sequences and invalid UTF-8; a path of 4,095 bytes";
    let outcome = "each was stopped; each alert is one line of JSON, the bytes escaped";
    row(stage, what, &service.container.id, before, outcome.to_owned())
}

fn mounts(stage: &Stage, service: &Service) -> anyhow::Result<Row> {
    let before = Before::now(stage, &service.container.id)?;
    attack(service, &["mounts", TOOL, "/bin/fetch", "/tmp/mounted"])?;
    ensure!(
        stage.runtime.read(&service.container, "/tmp/mounted")?.is_none(),
        "it ran"
    );
    let alert = stage.expect_alert(before.alerts, service);
    let layer = alert["behaviour"]["layer"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    ensure!(alert["kind"] == "exec.drift" && layer != "image", "{alert:#}");
    let what = "a filesystem of its own, mounted over a program that the profile holds (CAP_SYS_ADMIN)";
    row(
        stage,
        what,
        &service.container.id,
        before,
        format!("stopped; reported as layer `{layer}`"),
    )
}

fn escape(stage: &Stage, service: &Service) -> anyhow::Result<Row> {
    let outcome = service.start(&[ABUSE, "escape", TOOL, "/tmp/escaped"])?;
    ensure!(
        stage.runtime.read(&service.container, "/tmp/escaped")?.is_none(),
        "it ran: {outcome:?}"
    );
    let host = stage.service("unconfined", &ALL_CGROUPS)?;
    Stage::drop_payload(&host, "/tmp/payload")?;
    let before = Before::now(stage, &host.container.id)?;
    let outcome = host.start(&[ABUSE, "escape", "/tmp/payload", "/tmp/escaped"])?;
    ensure!(
        stage.runtime.read(&host.container, "/tmp/escaped")?.is_none(),
        "it ran: {outcome:?}"
    );
    let alert = stage.expect_alert(before.alerts, &host);
    ensure!(alert["kind"] == "exec.left_cgroup", "{alert:#}");
    let what =
        "leaves its cgroup for the root (CAP_SYS_ADMIN, the host's cgroups), and starts what it dropped";
    let outcome = "the leaving is reported; what it starts there is judged as before: stopped";
    let row = row(stage, what, &host.container.id, before, outcome.to_owned())?;
    stage.runtime.remove(&host.container)?;
    Ok(row)
}

fn false_containers(stage: &Stage, service: &Service) -> anyhow::Result<Row> {
    let before = Before::now(stage, &service.container.id)?;
    let (count, below) = (CGROUPS.to_string(), FALSE_CONTAINERS.to_string());
    let mark = stage.agent.mark();
    attack(service, &["cgroups", &count, &below])?;
    let told = stage.agent.wait_for_alert(mark, TOLD_WITHIN, |alert| {
        is_about(alert, &service.container.id) && alert["kind"] == "exec.cgroup_limit"
    });
    ensure!(told.is_some(), "the cgroups are not told of");
    let known = stage.agent.json(&["containers"])?;
    let known = known.as_array().map_or(0, Vec::len);
    ensure!(known < KNOWN_MAX, "{known} containers are known");
    // Whoever comes now is known, while all of them are there.
    let newcomer = stage.service("newcomer", &[])?;
    let conforming = newcomer.start(&["/bin/fetch"])?;
    ensure!(conforming.all_succeeded(), "{conforming:?}");
    let unknown = newcomer.start(&["/bin/rotate", "/tmp/witness"])?;
    ensure!(unknown.all(stage.stop), "{unknown:?}");
    stage.runtime.remove(&newcomer.container)?;
    attack(service, &["no-cgroups"])?;
    let what = format!(
        "{CGROUPS} cgroups below its own, and {FALSE_CONTAINERS} more that are named as a container's (CAP_SYS_ADMIN)"
    );
    let outcome = "256 are entered as its own, the others by their processes; reported once; a container that starts then is known and enforced".to_owned();
    row(stage, &what, &service.container.id, before, outcome)
}

fn paths(stage: &Stage, service: &Service) -> anyhow::Result<Row> {
    let before = Before::now(stage, &service.container.id)?;
    let first = counters(stage, &service.container.id)?;
    let count = PATHS.to_string();
    attack(service, &["paths", &count, NOTHING, "/data"])?;
    attack(service, &["absent", &count, "/data"])?;
    let after = counters(stage, &service.container.id)?;
    let stopped = after.stopped - first.stopped;
    ensure!(stopped == PATHS, "{stopped} of {PATHS} were stopped");
    let what = format!("{PATHS} different paths executed, and {PATHS} that lead nowhere");
    row(
        stage,
        &what,
        &service.container.id,
        before,
        format!("{stopped} were stopped"),
    )
}

fn crowd(stage: &Stage, service: &Service) -> anyhow::Result<Row> {
    let before = Before::now(stage, &service.container.id)?;
    attack(service, &["crowd", &CROWD.to_string(), TOOL, "/tmp/crowd"])?;
    ensure!(
        stage.runtime.read(&service.container, "/tmp/crowd")?.is_none(),
        "it ran"
    );
    let alert = stage.expect_alert(before.alerts, service);
    ensure!(alert["kind"] == "exec.drift", "{alert:#}");
    let untracked = counters(stage, &service.container.id)?.untracked;
    ensure!(untracked == 0, "{untracked} processes were not tracked");
    let what = format!("{CROWD} processes at once, then drift");
    row(
        stage,
        &what,
        &service.container.id,
        before,
        "all of them are tracked; the drift was stopped".to_owned(),
    )
}

fn fork_bomb(stage: &Stage) -> anyhow::Result<Row> {
    let service = stage.service("bomb", &["--pids-limit=300"])?;
    let before = Before::now(stage, &service.container.id)?;
    attack(&service, &["bomb", "5"])?;
    let what = "a fork bomb that executes itself, to its bound of 300 processes, for 5 s";
    let row = row(
        stage,
        what,
        &service.container.id,
        before,
        "all of it conforms: nothing to tell".to_owned(),
    )?;
    stage.runtime.remove(&service.container)?;
    Ok(row)
}

fn ring(stage: &Stage, service: &Service, neighbour: &Neighbour<'_>) -> anyhow::Result<Row> {
    let before = Before::now(stage, &service.container.id)?;
    let first = counters(stage, &service.container.id)?;
    stage.agent.halt()?;
    let flooded = attack(service, &["paths", "20000", NOTHING, "/data"]);
    let beside = neighbour.check();
    stage.agent.go_on()?;
    flooded?;
    beside?;
    let after = counters(stage, &service.container.id)?;
    let (stopped, lost) = (after.stopped - first.stopped, after.lost - first.lost);
    ensure!(stopped == 20_000, "{stopped} were stopped");
    ensure!(lost > 0, "all records fit; nothing was tested");
    let what = "20,000 different paths executed while the agent is halted, until the ring is full";
    row(
        stage,
        what,
        &service.container.id,
        before,
        format!("{stopped} were stopped; {lost} records of that, and of the ends of those processes, lost"),
    )
}

/// What grows while an image learns, and what is remembered of files.
fn learning(stage: &Stage, neighbour: &Neighbour<'_>) -> anyhow::Result<Vec<Row>> {
    image::build_with(stage.runtime.as_ref(), LEARNER, "learner", |root| {
        let files = root.join(&FILES[1..]);
        std::fs::create_dir_all(&files)?;
        for number in 0..FILES_COUNT {
            put_nothing(&files.join(format!("file-{number}")))?;
        }
        Ok(())
    })?;
    let service = stage.runtime.service("learner", LEARNER, &[], &[])?;
    let id = service.container.id.as_str();
    stage.agent.wait_until_resolved(id)?;

    let before = Before::now(stage, &service.container.id)?;
    attack(&service, &["files", FILES])?;
    neighbour.check()?;
    neighbour.has_its_own_verified()?;
    let what = format!("while it learns: {FILES_COUNT} programs of its image copied up, each then executed");
    let outcome =
        "reported; 256 of them may run again as they have the image's content, the others stay drift"
            .to_owned();
    let mut rows = vec![row(stage, &what, id, before, outcome)?];

    let before = Before::now(stage, &service.container.id)?;
    attack(&service, &["applets", &APPLETS.to_string(), "/bin/busybox"])?;
    neighbour.check()?;
    let learned = stage.agent.behaviours(LEARNER, |_| true)?.len();
    ensure!(learned <= PROFILE_MAX, "the profile holds {learned}");
    let what = format!("while it learns: a multi-call program under {APPLETS} names");
    rows.push(row(
        stage,
        &what,
        id,
        before,
        format!("its own profile holds {learned}, at most {PROFILE_MAX}"),
    )?);
    stage.runtime.remove(&service.container)?;
    stage.agent.set_mode("enforce", IMAGE)?;
    neighbour.check()?;
    Ok(rows)
}

fn put_nothing(path: &Path) -> anyhow::Result<()> {
    std::fs::write(path, nothing())?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))?;
    Ok(())
}
