//! The agent as a process: build the parts, spawn the tasks, wait for a signal, drain.
//!
//! Input: the configuration. Output: alerts on standard output, one JSON object per line. Failure: whatever the agent
//! needs and does not get ends it at once with an error; a task that ends unexpectedly ends the agent.
//!
//! Tasks: the engine (owner of all state), the spool (a thread of its own: it waits for the disk), one for each sink, the control server,
//! the metrics' server if there is one, the reader of the kernel programs' log if there is one, what reads the configuration again, and what tells the service manager.
//! Channels between them are made here.

use std::sync::Arc;
use std::time::Duration;

use agent_common::container::CONTAINER_UNPROFILED_DENY_DRIFT;
use agent_common::record::Checkpoint;
use agent_common::settings::{CGROUP_V1, CGROUP_V2};
use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};

use crate::alert::time::BootClock;
use crate::cli::logging::{self, LogControl};
use crate::config::{CgroupHierarchy, Config, Level};
use crate::confine;
use crate::container::cgroup_namespace;
use crate::container::containerd::ContainerdConfig;
use crate::container::docker::DockerConfig;
use crate::container::layout::{self, CgroupLayout, Detected, LayoutChoice};
use crate::container::podman::PodmanConfig;
use crate::container::runtimes::{Runtimes, RuntimesConfig};
use crate::control::access::{Access, AccessError};
use crate::control::connection::EngineRequest;
use crate::control::feed::AlertFeed;
use crate::control::server::{Server, ServerOptions};
use crate::control::view::{CheckedBy, DoctorView, TeardownView};
use crate::engine::pulse::Pulse;
use crate::engine::{Engine, Parts};
use crate::kernel::load::{Kernel, Loaded};
use crate::kernel::maps::CheckpointMap;
use crate::kernel::pin::{PinDirectory, PinError};
use crate::kernel::settings::LoadOptions;
use crate::kernel::{memory, pin, readiness, support};
use crate::metrics::Metrics;
use crate::metrics::server::Server as MetricsServer;
use crate::profile::store::ProfileStore;
use crate::service::manager;
use crate::service::reload::{ReadConfig, Reloader};
use crate::sink::Sinks;
use crate::spool::{BATCHES, Spool};

/// How long the sinks may take at the end for what is in the spool.
const DRAIN: Duration = Duration::from_secs(3);
/// How long threads may take to end when everything else has.
const LEAVE: Duration = Duration::from_secs(1);
/// By how much the wall clock may differ from what an earlier agent saw and not count as set, in milliseconds.
const CLOCK_SET_MS: u64 = 1_000;
/// Requests that may wait for the engine. At the bound the server's clients wait.
const REQUESTS: usize = 64;

/// Runs the agent until SIGINT or SIGTERM. SIGHUP has it read its configuration again.
pub fn run(config: Config, read_config: ReadConfig) -> anyhow::Result<()> {
    let log = logging::init(&config).map_err(|error| anyhow::anyhow!("cannot start the log: {error}"))?;
    memory::share();
    match cgroup_namespace::enter_the_nodes() {
        Ok(true) => tracing::info!("the node's cgroups are seen in the place of the agent's own"),
        Ok(false) => {}
        Err(error) => {
            tracing::warn!(%error, "the node's cgroup namespace cannot be entered: containers may not be found");
        }
    }
    if config.confine {
        confine::before_threads()?;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let result = runtime.block_on(serve(config, read_config, log));
    // A thread may be writing to somebody who does not read.
    runtime.shutdown_timeout(LEAVE);
    result
}

async fn serve(config: Config, read_config: ReadConfig, log: LogControl) -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot handle SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot handle SIGTERM")?;
    let (reloader, reconfigures) =
        Reloader::new(read_config, config.clone(), log).context("cannot handle SIGHUP")?;

    let access = access(&config)?;
    let store = ProfileStore::open(&config.state_dir)?;
    let layout = detect(&config)?;
    tracing::info!(layout = %layout.layout, reason = %layout.reason, "container ids come from this hierarchy");
    let runtimes = Runtimes::discover(runtimes_config(&config));
    let Loaded {
        mut kernel,
        maps,
        events,
        positions,
        checkpoint,
        rewound,
    } = Kernel::load(&load_options(&config, &layout), open_pins(&config)?)?;
    let kernel_log = (config.kernel_log_level != Level::Off)
        .then(|| kernel.logger())
        .transpose()?;
    let events = readiness::of_events(events).context("cannot wait for records")?;

    let feed = AlertFeed::new(config.limits.alerts_kept);
    let (checkpoint, move_checkpoint) = checkpoints(checkpoint)?;
    let spool = Spool::open(
        &config.state_dir,
        config.spool,
        &config.sinks,
        Arc::clone(&feed),
        move_checkpoint,
    )?;
    let sinks = Sinks::start(&config.sinks, spool.state().sinks(), &spool.reader());
    let (alerts, batches) = mpsc::channel(BATCHES);
    let (requests, asked) = mpsc::channel(REQUESTS);
    let pulse = Arc::new(Pulse::default());
    let options = ServerOptions {
        access,
        clients: config.limits.clients,
        ..ServerOptions::new(&config.socket)
    };
    let metrics = Metrics::new();
    let endpoint = listen_for_readers(&config, &requests, &metrics).await?;
    let server = Server::bind(options, requests, Arc::clone(&feed))?;

    let socket = config.socket.display().to_string();
    let is_confined = config.confine;
    let told = manager::keep_told(Arc::clone(&pulse), Arc::clone(&feed));
    let parts = Parts {
        config,
        kernel,
        maps,
        store,
        runtimes,
        layout,
        feed,
        metrics,
        positions,
        checkpoint,
        overwritten_bytes: rewound.overwritten,
        alerts,
        spool: spool.state(),
        pulse,
        reconfigures,
    };
    let (mut engine, checked) = Engine::new(parts);
    begin(&mut engine, is_confined)?;
    tracing::info!(version = env!("CARGO_PKG_VERSION"), socket, "attached");

    let (stop_engine, engine_stopped) = stop_signal();
    let (stop_server, server_stopped) = stop_signal();
    let (stop_endpoint, endpoint_stopped) = stop_signal();
    let mut spool = tokio::task::spawn_blocking(move || spool.run(batches));
    let mut engine = tokio::spawn(engine.run(events, checked, asked, engine_stopped));
    let mut server = tokio::spawn(server.run(server_stopped));
    let mut endpoint = tokio::spawn(serve_metrics(endpoint, endpoint_stopped));
    if let Some(log) = kernel_log {
        tokio::spawn(read_kernel_log(log));
    }
    tokio::spawn(reloader.run());
    tokio::spawn(told);
    manager::ready();

    tokio::select! {
        _ = interrupt.recv() => tracing::info!("interrupted"),
        _ = terminate.recv() => tracing::info!("told to end"),
        ended = &mut engine => anyhow::bail!("the engine ended: {ended:?}"),
        ended = &mut server => anyhow::bail!("the control server ended: {ended:?}"),
        ended = &mut endpoint => anyhow::bail!("the metrics' server ended: {ended:?}"),
        _ = &mut spool => anyhow::bail!("the spool ended"),
    }
    manager::stopping();
    // Drained in the order of the data: the records that are in the ring, the alerts they led to, their readers.
    stop_engine();
    engine.await.context("the engine failed")??;
    let spool = spool.await.context("the spool failed")?;
    drain(spool, sinks).await?;
    stop_endpoint();
    endpoint.await.context("the metrics' server failed")?;
    stop_server();
    server.await.context("the control server failed")?;
    Ok(())
}

/// The metrics' server, if the configuration names an address.
async fn listen_for_readers(
    config: &Config,
    requests: &mpsc::Sender<EngineRequest>,
    metrics: &Metrics,
) -> anyhow::Result<Option<MetricsServer>> {
    let Some(address) = config.metrics.listen else {
        return Ok(None);
    };
    let server = MetricsServer::bind(address, requests.clone(), metrics.clone()).await?;
    tracing::info!(%address, "metrics are served");
    Ok(Some(server))
}

/// Serves metrics until `stopped`, or just waits for that.
async fn serve_metrics(server: Option<MetricsServer>, stopped: impl Future<Output = ()>) {
    match server {
        Some(server) => server.run(stopped).await,
        None => stopped.await,
    }
}

/// Attaches the kernel programs and says what they can do; then the agent gives up what it needs no longer.
fn begin(engine: &mut Engine, is_confined: bool) -> anyhow::Result<()> {
    engine.attach()?;
    if is_confined {
        // Now that all is open and attached, and before anything is read that containers wrote.
        confine::after_start(engine.will_answer())?;
    }
    engine.start_answering();
    memory::give_back();
    for tier in engine.tiers() {
        tracing::info!(domain = %tier.domain, can = ?tier.can, reason = tier.reason, "tier");
    }
    tracing::info!(confined = %confine::state(), "what the agent may do");
    Ok(())
}

/// What tells a task to stop, and what the task waits for.
fn stop_signal() -> (impl FnOnce(), impl Future<Output = ()>) {
    let (stop, stopped) = oneshot::channel::<()>();
    let wait = async {
        // Dropping the other end without a word means the same.
        let _ = stopped.await;
    };
    let tell = move || {
        // Nobody waits any more if the task has ended.
        let _ = stop.send(());
    };
    (tell, wait)
}

/// Lets the sinks have what is in the spool, if they take it soon.
async fn drain(spool: Spool, sinks: Sinks) -> anyhow::Result<()> {
    if tokio::time::timeout(DRAIN, sinks.stop()).await.is_err() {
        tracing::warn!("not every sink has every alert: they stay in the spool");
    }
    tokio::task::spawn_blocking(move || spool.close())
        .await
        .context("the spool failed")
}

/// The checkpoint that this agent begins with, and what moves it. What the wall clock showed when the boot-time clock was zero is taken from an
/// agent before this one, so that the ids of alerts are the same for records that are read again, unless the clock was set since.
fn checkpoints(
    mut map: CheckpointMap,
) -> anyhow::Result<(Checkpoint, impl FnMut(Checkpoint) + Send + 'static)> {
    let mut checkpoint = map.get()?;
    let now = BootClock::sample().date(0).epoch_ms();
    if checkpoint.id_epoch_ms.abs_diff(now) > CLOCK_SET_MS {
        checkpoint.id_epoch_ms = now;
    }
    map.set(checkpoint)?;
    let set = move |checkpoint| {
        if let Err(error) = map.set(checkpoint) {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "after a crash records would be read again that were told of"
            );
        }
    };
    Ok((checkpoint, set))
}

/// Carries the kernel programs' own log into the agent's.
async fn read_kernel_log(log: aya_log::EbpfLogger<&'static dyn log::Log>) {
    let mut log = match readiness::of_log(log) {
        Ok(log) => log,
        Err(error) => return tracing::error!(%error, "the kernel programs' log cannot be read"),
    };
    while let Ok(mut guard) = log.readable_mut().await {
        guard.get_inner_mut().flush();
        guard.clear_ready();
    }
}

/// Who may ask the agent.
fn access(config: &Config) -> Result<Access, AccessError> {
    let group = |name: &str| {
        let group = nix::unistd::Group::from_name(name)?;
        Ok(group.map(|group| group.gid.as_raw()))
    };
    Access::new(&config.control, rustix::process::geteuid().as_raw(), group)
}

fn detect(config: &Config) -> anyhow::Result<Detected> {
    let choice = match config.cgroup_hierarchy {
        CgroupHierarchy::Auto => LayoutChoice::Auto,
        CgroupHierarchy::V2 => LayoutChoice::V2,
        CgroupHierarchy::V1 => LayoutChoice::V1(None),
    };
    Ok(layout::detect(&choice)?)
}

fn runtimes_config(config: &Config) -> RuntimesConfig {
    let find = config.runtimes.find;
    RuntimesConfig {
        docker: DockerConfig {
            data_roots: config.runtimes.docker_data_roots.clone(),
            find_daemons: find,
        },
        containerd: ContainerdConfig {
            states: config.runtimes.containerd_states.clone(),
            find,
        },
        podman: PodmanConfig {
            storages: config.runtimes.podman_storages.clone(),
            find,
        },
    }
}

fn load_options(config: &Config, layout: &Detected) -> LoadOptions {
    let (cgroup_source, cgroup_v1) = match &layout.layout {
        CgroupLayout::V2 { .. } => (CGROUP_V2, None),
        CgroupLayout::V1 {
            controller,
            hierarchy_id,
            ..
        } => (CGROUP_V1, Some((*hierarchy_id, controller.clone()))),
    };
    let for_test = |name| std::env::var_os(name).is_some_and(|value| value == "1");
    LoadOptions {
        cgroup_source,
        cgroup_v1,
        pending_flags: if config.policies.denies_unprofiled_drift() {
            CONTAINER_UNPROFILED_DENY_DRIFT
        } else {
            0
        },
        log_level: match config.kernel_log_level {
            Level::Off => 0,
            Level::Error => 1,
            Level::Warn => 2,
            Level::Info => 3,
            Level::Debug => 4,
            Level::Trace => 5,
        },
        // They make the agent weaker or no stronger, and only its own environment can say so.
        stale_generation: for_test("DRIFTLOCK_TEST_STALE_GENERATION"),
        no_reread: for_test("DRIFTLOCK_TEST_NO_REREAD"),
        no_lsm: for_test("DRIFTLOCK_TEST_NO_LSM"),
    }
}

/// What this machine can do, found out without an agent.
pub fn doctor(config: &Config) -> anyhow::Result<DoctorView> {
    let mut checks = support::machine_checks();
    let mut tiers = Vec::new();
    match detect(config) {
        Ok(layout) => {
            checks.push(support::layout_check(&layout));
            let (found, proved) = support::load_check(&load_options(config, &layout));
            checks.extend(found);
            tiers = proved;
        }
        Err(error) => checks.push(support::failed_check("cgroups", format!("{error:#}"))),
    }
    checks.push(support::left_check(&config.bpffs));
    checks.extend(support::runtime_checks(&Runtimes::discover(runtimes_config(
        config,
    ))));
    Ok(DoctorView {
        checked_by: CheckedBy::Command,
        tiers,
        checks,
    })
}

/// Removes what is pinned under the agent's directory in bpffs.
pub fn teardown(config: &Config) -> anyhow::Result<TeardownView> {
    let removed = pin::teardown(&config.bpffs)?;
    Ok(TeardownView { removed })
}

/// Opens the directory that everything is pinned in. Without one the agent runs, and says that what it enforces ends with it.
fn open_pins(config: &Config) -> anyhow::Result<Option<PinDirectory>> {
    match PinDirectory::open(&config.bpffs) {
        Ok(pins) => Ok(Some(pins)),
        Err(error @ PinError::NotBpf { .. }) => {
            tracing::warn!(%error, "nothing can be pinned: what is enforced ends with the agent");
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}
