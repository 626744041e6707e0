//! containerd of the tests' own, driven as Kubernetes drives it: a pod with one container each, in the node's network.
//!
//! Of the options of `docker run` it knows `--volume=HOST:PATH`, `--entrypoint=PROGRAM` and
//! `--security-opt=seccomp=unconfined`; `--label=KEY=VALUE` and `--annotation=KEY=VALUE` are the pod's. Another one is an error.
//! The pod `NAME-pod` in the namespace [`POD_NAMESPACE`] holds the container `NAME`. The pause image is made of busybox.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

use super::cri::{
    CONTAINER, Client, ContainerConfig, ContainerMetadata, ContainerSecurity, Image, LinuxContainer,
    LinuxPod, Mount, NODE, Namespaces, PodConfig, PodMetadata, PodSecurity, SecurityProfile, UNCONFINED,
};
use super::{Container, Kind, Layout, Place, Runtime, archive, tail};
use crate::cleanup;
use crate::environment::{Environment, patience};
use crate::service::Service;

/// The namespace of all pods.
pub const POD_NAMESPACE: &str = "shop";

/// The image of the process that holds a pod's namespaces.
const PAUSE: &str = "registry.example/pause:1";

/// Takes out of a container's configuration what a version 2 without controllers, or a root without `CAP_SYS_RESOURCE`, cannot
/// give: limits, then executes runc.
const WITHOUT_LIMITS: &str = r#"#!/bin/sh
# Only to create a container is a bundle given.
previous=
for word in "$@"; do
    if [ "$previous" = --bundle ]; then
        sed -E -i \
            -e 's/,?"(cpu|memory|pids)":\{[^{}]*\}//g' \
            -e 's/,?"oomScoreAdj":-?[0-9]+//' \
            -e 's/,?"rlimits":\[[^]]*\]//' \
            -e 's/\{,/{/g' "$word/config.json"
    fi
    previous=$word
done
exec runc "$@"
"#;

/// A running containerd. Dropping it removes its pods and all that belongs to it.
#[derive(Debug)]
pub struct Containerd {
    place: Place,
    daemon: Child,
    client: Arc<Client>,
    pods: Mutex<HashMap<String, Pod>>,
}

/// What a container was made of, by its id: to make another one in its place.
#[derive(Clone, Debug)]
struct Pod {
    sandbox: String,
    config: PodConfig,
    container: ContainerConfig,
}

impl Containerd {
    /// Starts a daemon and waits until it answers.
    pub fn start(layout: Layout) -> anyhow::Result<Self> {
        let place = Place::create(layout, &["kubepods", cleanup::PLAIN])?;
        let directory = place.directory();
        std::fs::create_dir_all(directory.join("logs"))?;
        std::fs::write(directory.join("config.toml"), configuration(&place)?)?;
        let log = File::create(directory.join("containerd.log"))?;
        let daemon = place
            .within("containerd")
            .arg("--config")
            .arg(directory.join("config.toml"))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("cannot start containerd (is it installed?)")?;
        let client = Arc::new(Client::new(&directory.join("state/containerd.sock"))?);
        let mut containerd = Self {
            place,
            daemon,
            client,
            pods: Mutex::default(),
        };
        let deadline = Instant::now() + patience(Duration::from_mins(1));
        while let Err(error) = containerd.client.version() {
            let ended = containerd.daemon.try_wait()?;
            ensure!(
                ended.is_none() && Instant::now() < deadline,
                "containerd does not answer ({error}); its log ends with:\n{}",
                tail(&containerd.place.directory().join("containerd.log"))
            );
            std::thread::sleep(Duration::from_millis(50));
        }
        containerd.make_pause_image()?;
        Ok(containerd)
    }

    /// The socket at which it answers.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.place.directory().join("state/containerd.sock")
    }

    /// Stops the daemon where it is: it answers nobody. Its containers run on.
    pub fn halt(&self) -> anyhow::Result<()> {
        self.signal(Signal::STOP)
    }

    /// Lets it go on.
    pub fn go_on(&self) -> anyhow::Result<()> {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let id = i32::try_from(self.daemon.id()).ok().and_then(Pid::from_raw);
        Ok(kill_process(id.context("not a process id")?, signal)?)
    }

    /// A command line of containerd's own tool, for what is in one of its namespaces.
    #[must_use]
    pub fn ctr(&self, namespace: &str) -> Command {
        let mut command = self.place.beside("ctr");
        command
            .arg("--address")
            .arg(self.socket())
            .arg(format!("--namespace={namespace}"))
            .stdin(Stdio::null());
        command
    }

    /// Makes the image `name` of a root filesystem in a namespace other than that of Kubernetes. Returns its config digest.
    pub fn import_into(
        &self,
        namespace: &str,
        root: &Path,
        name: &str,
        entrypoint: &[&str],
    ) -> anyhow::Result<String> {
        let file = self.place.directory().join("image.tar");
        let digest = archive::write(root, name, entrypoint, &file)?;
        let output = self
            .ctr(namespace)
            .args(["images", "import"])
            .arg(&file)
            .output()
            .context("cannot run ctr")?;
        ensure!(
            output.status.success(),
            "ctr images import failed: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        std::fs::remove_file(&file)?;
        Ok(digest)
    }

    fn make_pause_image(&self) -> anyhow::Result<()> {
        let root = tempfile::Builder::new()
            .prefix("pause-")
            .tempdir_in(self.place.directory())?;
        let bin = root.path().join("bin");
        std::fs::create_dir(&bin)?;
        std::fs::copy(&Environment::get().busybox, bin.join("busybox"))?;
        symlink("busybox", bin.join("sleep"))?;
        self.load(root.path(), PAUSE, &["/bin/sleep", "2147483647"])
            .map(drop)
    }

    fn load(&self, root: &Path, name: &str, entrypoint: &[&str]) -> anyhow::Result<String> {
        let digest = self.import_into("k8s.io", root, name, entrypoint)?;
        // The image is known to the interface a moment after it is in the store.
        let deadline = Instant::now() + patience(Duration::from_secs(20));
        while !self.client.has_image(&digest)? {
            ensure!(Instant::now() < deadline, "the image {name} is not there");
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(digest)
    }

    fn start_container(
        &self,
        name: &str,
        image: &str,
        options: &[&str],
        arguments: &[&str],
        stdin: bool,
    ) -> anyhow::Result<Container> {
        let (config, container) = self.describe(name, image, options, arguments, stdin)?;
        let sandbox = self.client.run_pod(config.clone())?;
        self.start_in(Pod {
            sandbox,
            config,
            container,
        })
    }

    fn start_in(&self, pod: Pod) -> anyhow::Result<Container> {
        let id = self
            .client
            .run_container(&pod.sandbox, &pod.config, &pod.container)?;
        let metadata = pod.container.metadata.as_ref().context("no name")?;
        let container = Container {
            id: id.clone(),
            name: metadata.name.clone(),
        };
        self.pods().insert(id, pod);
        Ok(container)
    }

    fn pods(&self) -> std::sync::MutexGuard<'_, HashMap<String, Pod>> {
        self.pods.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pod(&self, container: &Container) -> anyhow::Result<Pod> {
        self.pods()
            .get(&container.id)
            .cloned()
            .with_context(|| format!("there is no container {}", container.name))
    }

    /// What a kubelet would say of such a pod and its container.
    fn describe(
        &self,
        name: &str,
        image: &str,
        options: &[&str],
        arguments: &[&str],
        stdin: bool,
    ) -> anyhow::Result<(PodConfig, ContainerConfig)> {
        let uid = format!("{:08x}-0000-4000-8000-{:012x}", std::process::id(), serial());
        let metadata = PodMetadata {
            name: format!("{name}-pod"),
            uid: uid.clone(),
            namespace: POD_NAMESPACE.to_owned(),
        };
        let namespaces = |pid| Some(Namespaces { network: NODE, pid });
        let mut labels: HashMap<String, String> = [
            ("io.kubernetes.pod.name", &metadata.name),
            ("io.kubernetes.pod.namespace", &metadata.namespace),
            ("io.kubernetes.pod.uid", &uid),
        ]
        .map(|(key, value)| (key.to_owned(), value.clone()))
        .into();
        let mut container = ContainerConfig {
            metadata: Some(ContainerMetadata {
                name: name.to_owned(),
                attempt: 0,
            }),
            image: Some(Image {
                name: image.to_owned(),
            }),
            arguments: arguments.iter().map(|&word| word.to_owned()).collect(),
            labels: labels.clone(),
            log_path: format!("{name}-0.log"),
            stdin,
            ..ContainerConfig::default()
        };
        container
            .labels
            .insert("io.kubernetes.container.name".to_owned(), name.to_owned());
        let mut security = ContainerSecurity {
            namespaces: namespaces(CONTAINER),
            seccomp: Some(SecurityProfile::default()),
        };
        let mut annotations = HashMap::new();
        for option in options {
            let pair = |text: &str, separator| {
                let (key, value) = text.split_once(separator).context("no value")?;
                anyhow::Ok((key.to_owned(), value.to_owned()))
            };
            match option.split_once('=') {
                Some(("--volume", volume)) => {
                    let (host_path, container_path) = pair(volume, ':')?;
                    container.mounts.push(Mount {
                        container_path,
                        host_path,
                    });
                }
                Some(("--entrypoint", program)) => container.command = vec![program.to_owned()],
                Some(("--label", label)) => labels.extend([pair(label, '=')?]),
                Some(("--annotation", annotation)) => annotations.extend([pair(annotation, '=')?]),
                Some(("--security-opt", "seccomp=unconfined")) => {
                    security.seccomp = Some(SecurityProfile { kind: UNCONFINED });
                }
                _ => bail!("with containerd there is no option {option}"),
            }
        }
        container.linux = Some(LinuxContainer {
            security: Some(security),
        });
        let logs = self.place.directory().join("logs").join(&uid);
        let config = PodConfig {
            metadata: Some(metadata),
            log_directory: logs.display().to_string(),
            labels,
            annotations,
            linux: Some(LinuxPod {
                cgroup_parent: if self.place.layout() == Layout::Systemd {
                    format!("kubepods-burstable-pod{}.slice", uid.replace('-', "_"))
                } else {
                    format!("/kubepods/burstable/pod{uid}")
                },
                security: Some(PodSecurity {
                    namespaces: namespaces(CONTAINER),
                }),
            }),
        };
        Ok((config, container))
    }

    /// Where a container's standard input is read from: containerd and its shim have this pipe open as well.
    fn input(&self, id: &str) -> anyhow::Result<PathBuf> {
        let containers = self
            .place
            .directory()
            .join("state/io.containerd.grpc.v1.cri/containers")
            .join(id)
            .join("io");
        for entry in std::fs::read_dir(&containers)? {
            let pipe = entry?.path().join(format!("{id}-stdin"));
            if pipe.exists() {
                return Ok(pipe);
            }
        }
        bail!("{} has no pipe for the standard input", containers.display())
    }
}

impl Pod {
    /// Removes the pod's cgroup, which is a kubelet's work.
    fn remove_cgroup(&self) {
        let Some(name) = self
            .config
            .linux
            .as_ref()
            .and_then(|linux| linux.cgroup_parent.strip_prefix("/kubepods/"))
        else {
            return;
        };
        for hierarchy in cleanup::hierarchies() {
            cleanup::remove_empty(&hierarchy.join("kubepods").join(name));
        }
    }
}

impl Runtime for Containerd {
    fn kind(&self) -> Kind {
        Kind::Containerd
    }

    fn place(&self) -> &Place {
        &self.place
    }

    fn configuration(&self) -> String {
        String::new()
    }

    fn import(&self, root: &Path, name: &str) -> anyhow::Result<String> {
        self.load(root, name, &["/bin/service"])
    }

    fn run(
        &self,
        name: &str,
        image: &str,
        options: &[&str],
        arguments: &[&str],
    ) -> anyhow::Result<Container> {
        self.start_container(name, image, options, arguments, false)
    }

    fn service(
        &self,
        name: &str,
        image: &str,
        options: &[&str],
        arguments: &[&str],
    ) -> anyhow::Result<Service> {
        let container = self.start_container(name, image, options, arguments, true)?;
        let input = File::options().write(true).open(self.input(&container.id)?)?;
        let pod = self.pod(&container)?;
        let log = Path::new(&pod.config.log_directory).join(&pod.container.log_path);
        Service::of_log(container, input, log)
    }

    fn exec(&self, container: &Container, argv: &[&str]) -> anyhow::Result<Output> {
        // As Docker says of what could not be started.
        const NOT_STARTED: i32 = 126;
        let (code, stdout, stderr) = match self.client.exec(&container.id, argv) {
            Ok(done) => (done.exit_code, done.stdout, done.stderr),
            Err(status) => (NOT_STARTED, Vec::new(), status.message().as_bytes().to_vec()),
        };
        Ok(Output {
            status: ExitStatus::from_raw(code << 8),
            stdout,
            stderr,
        })
    }

    fn exec_detached(&self, container: &Container, argv: &[&str]) -> anyhow::Result<()> {
        let client = Arc::clone(&self.client);
        let id = container.id.clone();
        let argv: Vec<String> = argv.iter().map(|&word| word.to_owned()).collect();
        // It ends with the program or with the container.
        std::thread::spawn(move || {
            let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
            let _ = client.exec(&id, &argv);
        });
        Ok(())
    }

    fn restart(&self, container: &Container) -> anyhow::Result<Container> {
        let mut pod = self.pod(container)?;
        self.client.remove_container(&container.id, 5)?;
        self.pods().remove(&container.id);
        let metadata = pod.container.metadata.as_mut().context("no name")?;
        metadata.attempt += 1;
        pod.container.log_path = format!("{}-{}.log", metadata.name, metadata.attempt);
        self.start_in(pod)
    }

    fn remove(&self, container: &Container) -> anyhow::Result<()> {
        let pod = self.pod(container)?;
        self.client.remove_container(&container.id, 0)?;
        self.client.remove_pod(&pod.sandbox)?;
        self.pods().remove(&container.id);
        pod.remove_cgroup();
        Ok(())
    }

    fn process(&self, container: &Container) -> anyhow::Result<u32> {
        let info = self.client.container_info(&container.id)?;
        info["pid"]
            .as_u64()
            .filter(|process| *process != 0)
            .and_then(|process| u32::try_from(process).ok())
            .with_context(|| format!("{} does not run", container.name))
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        let _ = self.go_on();
        for sandbox in self.client.pods().unwrap_or_default() {
            if let Err(error) = self.client.remove_pod(&sandbox) {
                eprintln!("cleanup: {error:#}");
            }
        }
        for pod in self.pods().values() {
            pod.remove_cgroup();
        }
        super::docker::end(&mut self.daemon);
        self.place.remove();
    }
}

/// containerd's configuration, version 2.
fn configuration(place: &Place) -> anyhow::Result<String> {
    let directory = place.directory();
    let below = |name: &str| directory.join(name).display().to_string();
    let mut runc = "runc".to_owned();
    if place.layout().is_v2() {
        runc = below("runc-without-limits");
        std::fs::write(&runc, WITHOUT_LIMITS)?;
        std::fs::set_permissions(&runc, std::fs::Permissions::from_mode(0o755))?;
    }
    Ok(format!(
        r#"version = 2
root = "{root}"
state = "{state}"
[grpc]
address = "{socket}"
[plugins."io.containerd.internal.v1.opt"]
path = "{opt}"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{PAUSE}"
restrict_oom_score_adj = true
disable_apparmor = true
stream_server_address = "127.0.0.1"
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{cni}"
conf_dir = "{cni}"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
BinaryName = "{runc}"
Root = "{runc_root}"
SystemdCgroup = {systemd}
"#,
        runc_root = below("runc"),
        systemd = place.layout() == Layout::Systemd,
        root = below("data"),
        state = below("state"),
        socket = below("state/containerd.sock"),
        opt = below("opt"),
        cni = below("cni"),
    ))
}

/// A number that this process has not used yet.
fn serial() -> u32 {
    static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(1);
    NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
}
