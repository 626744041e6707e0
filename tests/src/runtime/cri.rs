//! The container runtime interface of Kubernetes, as far as the tests use it: what a kubelet says to containerd.
//!
//! Input: requests. Output: the answers, waited for. Failure: the status that the runtime answers with, or no answer in time.
//! Numbers of fields are those of `k8s.io/cri-api/pkg/apis/runtime/v1/api.proto`.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use prost::Message;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};
use tonic_prost::ProstCodec;

use crate::environment::patience;

/// How long the runtime may take to answer.
const PATIENCE: Duration = Duration::from_mins(2);

/// Namespaces of the node: its network, process ids or interprocess communication.
pub const NODE: i32 = 2;
/// Namespaces of the container alone.
pub const CONTAINER: i32 = 1;
/// No filter for system calls.
pub const UNCONFINED: i32 = 1;

/// A client of a runtime's socket.
#[derive(Debug)]
pub struct Client {
    tokio: tokio::runtime::Runtime,
    channel: Channel,
}

impl Client {
    /// A client of the socket; it need not be there yet.
    pub fn new(socket: &Path) -> anyhow::Result<Self> {
        let tokio = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let endpoint =
            Endpoint::from_shared(format!("unix:{}", socket.display()))?.timeout(patience(PATIENCE));
        let channel = {
            let _inside = tokio.enter();
            endpoint.connect_lazy()
        };
        Ok(Self { tokio, channel })
    }

    /// Calls a method, `/runtime.v1.RuntimeService/...`, and waits for its answer.
    fn call<Question, Answer>(&self, method: &'static str, question: Question) -> Result<Answer, Status>
    where
        Question: Message + Default + 'static,
        Answer: Message + Default + 'static,
    {
        self.tokio.block_on(async {
            let mut client = Grpc::new(self.channel.clone());
            client
                .ready()
                .await
                .map_err(|error| Status::unavailable(error.to_string()))?;
            let codec = ProstCodec::<Question, Answer>::default();
            let path = PathAndQuery::from_static(method);
            let answer = client.unary(Request::new(question), path, codec).await?;
            Ok(answer.into_inner())
        })
    }

    /// Whether the runtime answers.
    pub fn version(&self) -> Result<(), Status> {
        let answer: Result<Empty, _> = self.call("/runtime.v1.RuntimeService/Version", Empty {});
        answer.map(drop)
    }

    /// Starts a pod; returns the id of its sandbox.
    pub fn run_pod(&self, config: PodConfig) -> anyhow::Result<String> {
        let question = RunPod { config: Some(config) };
        let answer: Id = self
            .call("/runtime.v1.RuntimeService/RunPodSandbox", question)
            .context("RunPodSandbox")?;
        Ok(answer.id)
    }

    /// Creates and starts a container in a pod; returns its id.
    pub fn run_container(
        &self,
        sandbox: &str,
        pod: &PodConfig,
        container: &ContainerConfig,
    ) -> anyhow::Result<String> {
        let question = CreateContainer {
            sandbox: sandbox.to_owned(),
            config: Some(container.clone()),
            pod: Some(pod.clone()),
        };
        let created: Id = self
            .call("/runtime.v1.RuntimeService/CreateContainer", question)
            .context("CreateContainer")?;
        let started: Result<Empty, _> =
            self.call("/runtime.v1.RuntimeService/StartContainer", created.clone());
        started.context("StartContainer")?;
        Ok(created.id)
    }

    /// Ends a container's first process, after `grace_s` seconds by force, and removes the container.
    pub fn remove_container(&self, id: &str, grace_s: i64) -> anyhow::Result<()> {
        let question = StopContainer {
            id: id.to_owned(),
            grace_s,
        };
        let stopped: Result<Empty, _> = self.call("/runtime.v1.RuntimeService/StopContainer", question);
        stopped.context("StopContainer")?;
        let removed: Result<Empty, _> = self.call("/runtime.v1.RuntimeService/RemoveContainer", Id::new(id));
        removed.map(drop).context("RemoveContainer")
    }

    /// Ends and removes a pod and all that is in it.
    pub fn remove_pod(&self, sandbox: &str) -> anyhow::Result<()> {
        for method in [
            "/runtime.v1.RuntimeService/StopPodSandbox",
            "/runtime.v1.RuntimeService/RemovePodSandbox",
        ] {
            let done: Result<Empty, _> = self.call(method, Id::new(sandbox));
            done.context(method)?;
        }
        Ok(())
    }

    /// The ids of the sandboxes that there are.
    pub fn pods(&self) -> anyhow::Result<Vec<String>> {
        let answer: Pods = self
            .call("/runtime.v1.RuntimeService/ListPodSandbox", Empty {})
            .context("ListPodSandbox")?;
        Ok(answer.pods.into_iter().map(|pod| pod.id).collect())
    }

    /// Runs a program in a container and waits for its end.
    pub fn exec(&self, id: &str, argv: &[&str]) -> Result<Executed, Status> {
        let question = Exec {
            id: id.to_owned(),
            argv: argv.iter().map(|&word| word.to_owned()).collect(),
        };
        self.call("/runtime.v1.RuntimeService/ExecSync", question)
    }

    /// What the runtime knows of a container beyond the interface, as JSON.
    pub fn container_info(&self, id: &str) -> anyhow::Result<serde_json::Value> {
        let question = Describe {
            id: id.to_owned(),
            verbose: true,
        };
        let answer: Described = self
            .call("/runtime.v1.RuntimeService/ContainerStatus", question)
            .context("ContainerStatus")?;
        let text = answer.info.get("info").context("no info")?;
        Ok(serde_json::from_str(text)?)
    }

    /// Whether the runtime has the image.
    pub fn has_image(&self, name: &str) -> anyhow::Result<bool> {
        let question = ImageQuestion {
            image: Some(Image {
                name: name.to_owned(),
            }),
        };
        let answer: ImageAnswer = self
            .call("/runtime.v1.ImageService/ImageStatus", question)
            .context("ImageStatus")?;
        Ok(answer.image.is_some())
    }
}

// === messages ===

/// No field that matters here.
#[derive(Clone, PartialEq, Message)]
struct Empty {}

/// Messages that hold an id alone.
#[derive(Clone, PartialEq, Message)]
struct Id {
    #[prost(string, tag = "1")]
    id: String,
}

impl Id {
    fn new(id: &str) -> Self {
        Self { id: id.to_owned() }
    }
}

/// `RunPodSandboxRequest`
#[derive(Clone, PartialEq, Message)]
struct RunPod {
    #[prost(message, optional, tag = "1")]
    config: Option<PodConfig>,
}

/// `PodSandboxConfig`
#[derive(Clone, PartialEq, Message)]
pub struct PodConfig {
    /// Name, namespace and the like.
    #[prost(message, optional, tag = "1")]
    pub metadata: Option<PodMetadata>,
    /// Where the containers' output goes.
    #[prost(string, tag = "3")]
    pub log_directory: String,
    /// The pod's labels.
    #[prost(map = "string, string", tag = "6")]
    pub labels: HashMap<String, String>,
    /// The pod's annotations.
    #[prost(map = "string, string", tag = "7")]
    pub annotations: HashMap<String, String>,
    /// Cgroup and namespaces.
    #[prost(message, optional, tag = "8")]
    pub linux: Option<LinuxPod>,
}

/// `PodSandboxMetadata`
#[derive(Clone, PartialEq, Message)]
pub struct PodMetadata {
    /// The pod's name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// The pod's unique id.
    #[prost(string, tag = "2")]
    pub uid: String,
    /// The pod's namespace.
    #[prost(string, tag = "3")]
    pub namespace: String,
}

/// `LinuxPodSandboxConfig`
#[derive(Clone, PartialEq, Message)]
pub struct LinuxPod {
    /// The cgroup that the containers' are created in.
    #[prost(string, tag = "1")]
    pub cgroup_parent: String,
    /// Namespaces.
    #[prost(message, optional, tag = "2")]
    pub security: Option<PodSecurity>,
}

/// `LinuxSandboxSecurityContext`
#[derive(Clone, PartialEq, Message)]
pub struct PodSecurity {
    /// Namespaces.
    #[prost(message, optional, tag = "1")]
    pub namespaces: Option<Namespaces>,
}

/// `NamespaceOption`
#[derive(Clone, Copy, PartialEq, Message)]
pub struct Namespaces {
    /// Whose network.
    #[prost(int32, tag = "1")]
    pub network: i32,
    /// Whose process ids.
    #[prost(int32, tag = "2")]
    pub pid: i32,
}

/// `CreateContainerRequest`
#[derive(Clone, PartialEq, Message)]
struct CreateContainer {
    #[prost(string, tag = "1")]
    sandbox: String,
    #[prost(message, optional, tag = "2")]
    config: Option<ContainerConfig>,
    #[prost(message, optional, tag = "3")]
    pod: Option<PodConfig>,
}

/// `ContainerConfig`
#[derive(Clone, PartialEq, Message)]
pub struct ContainerConfig {
    /// Name and attempt.
    #[prost(message, optional, tag = "1")]
    pub metadata: Option<ContainerMetadata>,
    /// The image.
    #[prost(message, optional, tag = "2")]
    pub image: Option<Image>,
    /// The entrypoint, if it is another than the image's.
    #[prost(string, repeated, tag = "3")]
    pub command: Vec<String>,
    /// Arguments.
    #[prost(string, repeated, tag = "4")]
    pub arguments: Vec<String>,
    /// Volumes.
    #[prost(message, repeated, tag = "7")]
    pub mounts: Vec<Mount>,
    /// The container's labels.
    #[prost(map = "string, string", tag = "9")]
    pub labels: HashMap<String, String>,
    /// Where its output goes, below the pod's directory.
    #[prost(string, tag = "11")]
    pub log_path: String,
    /// It has a standard input.
    #[prost(bool, tag = "12")]
    pub stdin: bool,
    /// What else is particular about it.
    #[prost(message, optional, tag = "15")]
    pub linux: Option<LinuxContainer>,
}

/// `ContainerMetadata`
#[derive(Clone, PartialEq, Message)]
pub struct ContainerMetadata {
    /// The container's name in its pod.
    #[prost(string, tag = "1")]
    pub name: String,
    /// How often it was started before.
    #[prost(uint32, tag = "2")]
    pub attempt: u32,
}

/// `ImageSpec`
#[derive(Clone, PartialEq, Message)]
pub struct Image {
    /// A reference or an id.
    #[prost(string, tag = "1")]
    pub name: String,
}

/// `Mount`
#[derive(Clone, PartialEq, Message)]
pub struct Mount {
    /// Where it is in the container.
    #[prost(string, tag = "1")]
    pub container_path: String,
    /// Where it is on the host.
    #[prost(string, tag = "2")]
    pub host_path: String,
}

/// `LinuxContainerConfig`
#[derive(Clone, PartialEq, Message)]
pub struct LinuxContainer {
    /// Namespaces and the filter for system calls.
    #[prost(message, optional, tag = "2")]
    pub security: Option<ContainerSecurity>,
}

/// `LinuxContainerSecurityContext`
#[derive(Clone, PartialEq, Message)]
pub struct ContainerSecurity {
    /// Namespaces.
    #[prost(message, optional, tag = "3")]
    pub namespaces: Option<Namespaces>,
    /// The filter for system calls; the runtime's own if it is empty.
    #[prost(message, optional, tag = "15")]
    pub seccomp: Option<SecurityProfile>,
}

/// `SecurityProfile`
#[derive(Clone, Copy, PartialEq, Message)]
pub struct SecurityProfile {
    /// 0 is the runtime's default, [`UNCONFINED`] none.
    #[prost(int32, tag = "1")]
    pub kind: i32,
}

/// `StopContainerRequest`
#[derive(Clone, PartialEq, Message)]
struct StopContainer {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(int64, tag = "2")]
    grace_s: i64,
}

/// `ListPodSandboxResponse`
#[derive(Clone, PartialEq, Message)]
struct Pods {
    #[prost(message, repeated, tag = "1")]
    pods: Vec<Id>,
}

/// `ExecSyncRequest`
#[derive(Clone, PartialEq, Message)]
struct Exec {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(string, repeated, tag = "2")]
    argv: Vec<String>,
}

/// `ExecSyncResponse`
#[derive(Clone, PartialEq, Message)]
pub struct Executed {
    /// What it wrote to its standard output.
    #[prost(bytes = "vec", tag = "1")]
    pub stdout: Vec<u8>,
    /// What it wrote to its standard error.
    #[prost(bytes = "vec", tag = "2")]
    pub stderr: Vec<u8>,
    /// How it ended; 128 and the signal's number if by a signal.
    #[prost(int32, tag = "3")]
    pub exit_code: i32,
}

/// `ContainerStatusRequest`
#[derive(Clone, PartialEq, Message)]
struct Describe {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(bool, tag = "2")]
    verbose: bool,
}

/// `ContainerStatusResponse`
#[derive(Clone, PartialEq, Message)]
struct Described {
    #[prost(map = "string, string", tag = "2")]
    info: HashMap<String, String>,
}

/// `ImageStatusRequest`
#[derive(Clone, PartialEq, Message)]
struct ImageQuestion {
    #[prost(message, optional, tag = "1")]
    image: Option<Image>,
}

/// `ImageStatusResponse`
#[derive(Clone, PartialEq, Message)]
struct ImageAnswer {
    #[prost(message, optional, tag = "1")]
    image: Option<Id>,
}
