//! The few messages of containerd's interfaces that are used, with the few fields that are; unknown fields are skipped.
//!
//! Numbers from the published definitions: `cri-api/pkg/apis/runtime/v1/api.proto` (Kubernetes), and containerd's
//! `api/services/{containers,images,content,snapshots}/v1/*.proto` and `api/types/descriptor.proto`.

use std::collections::HashMap;

/// `runtime.v1.ContainerStatusRequest`
#[derive(Clone, PartialEq, prost::Message)]
pub struct ContainerStatusRequest {
    /// The container.
    #[prost(string, tag = "1")]
    pub container_id: String,
}

/// `runtime.v1.ContainerStatusResponse`
#[derive(Clone, PartialEq, prost::Message)]
pub struct ContainerStatusResponse {
    /// The status.
    #[prost(message, optional, tag = "1")]
    pub status: Option<ContainerStatus>,
}

/// `runtime.v1.ContainerStatus`
#[derive(Clone, PartialEq, prost::Message)]
pub struct ContainerStatus {
    /// The container.
    #[prost(string, tag = "1")]
    pub id: String,
    /// The image by one of its names.
    #[prost(message, optional, tag = "8")]
    pub image: Option<ImageSpec>,
    /// The image's config digest, or a name with its manifest's digest if it has one.
    #[prost(string, tag = "9")]
    pub image_ref: String,
    /// The container's labels.
    #[prost(map = "string, string", tag = "12")]
    pub labels: HashMap<String, String>,
}

/// `runtime.v1.ImageSpec`
#[derive(Clone, PartialEq, prost::Message)]
pub struct ImageSpec {
    /// A name, a name with a digest, or a config digest.
    #[prost(string, tag = "1")]
    pub image: String,
}

/// `runtime.v1.PodSandboxStatusRequest`
#[derive(Clone, PartialEq, prost::Message)]
pub struct PodSandboxStatusRequest {
    /// The pod's own container.
    #[prost(string, tag = "1")]
    pub pod_sandbox_id: String,
}

/// `runtime.v1.PodSandboxStatusResponse`
#[derive(Clone, PartialEq, prost::Message)]
pub struct PodSandboxStatusResponse {
    /// The status.
    #[prost(message, optional, tag = "1")]
    pub status: Option<PodSandboxStatus>,
}

/// `runtime.v1.PodSandboxStatus`
#[derive(Clone, PartialEq, prost::Message)]
pub struct PodSandboxStatus {
    /// What the pod is called.
    #[prost(message, optional, tag = "2")]
    pub metadata: Option<PodSandboxMetadata>,
    /// The pod's labels.
    #[prost(map = "string, string", tag = "7")]
    pub labels: HashMap<String, String>,
    /// The pod's annotations.
    #[prost(map = "string, string", tag = "8")]
    pub annotations: HashMap<String, String>,
}

/// `runtime.v1.PodSandboxMetadata`
#[derive(Clone, PartialEq, prost::Message)]
pub struct PodSandboxMetadata {
    /// The pod's name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Its unique id.
    #[prost(string, tag = "2")]
    pub uid: String,
    /// Its namespace.
    #[prost(string, tag = "3")]
    pub namespace: String,
}

/// `runtime.v1.ImageStatusRequest`
#[derive(Clone, PartialEq, prost::Message)]
pub struct ImageStatusRequest {
    /// Which image.
    #[prost(message, optional, tag = "1")]
    pub image: Option<ImageSpec>,
}

/// `runtime.v1.ImageStatusResponse`
#[derive(Clone, PartialEq, prost::Message)]
pub struct ImageStatusResponse {
    /// The image; nothing if there is none.
    #[prost(message, optional, tag = "1")]
    pub image: Option<CriImage>,
}

/// `runtime.v1.Image`
#[derive(Clone, PartialEq, prost::Message)]
pub struct CriImage {
    /// The config digest.
    #[prost(string, tag = "1")]
    pub id: String,
    /// Names with tags.
    #[prost(string, repeated, tag = "2")]
    pub repo_tags: Vec<String>,
    /// Names with the manifest's digest.
    #[prost(string, repeated, tag = "3")]
    pub repo_digests: Vec<String>,
}

/// `containerd.services.containers.v1.GetContainerRequest`
#[derive(Clone, PartialEq, prost::Message)]
pub struct GetContainerRequest {
    /// The container.
    #[prost(string, tag = "1")]
    pub id: String,
}

/// `containerd.services.containers.v1.GetContainerResponse`
#[derive(Clone, PartialEq, prost::Message)]
pub struct GetContainerResponse {
    /// The container.
    #[prost(message, optional, tag = "1")]
    pub container: Option<Container>,
}

/// `containerd.services.containers.v1.Container`
#[derive(Clone, PartialEq, prost::Message)]
pub struct Container {
    /// Its labels.
    #[prost(map = "string, string", tag = "2")]
    pub labels: HashMap<String, String>,
    /// The name of its image.
    #[prost(string, tag = "3")]
    pub image: String,
    /// What keeps its layers.
    #[prost(string, tag = "6")]
    pub snapshotter: String,
    /// Its topmost layer there.
    #[prost(string, tag = "7")]
    pub snapshot_key: String,
}

/// `containerd.services.images.v1.GetImageRequest`
#[derive(Clone, PartialEq, prost::Message)]
pub struct GetImageRequest {
    /// The image.
    #[prost(string, tag = "1")]
    pub name: String,
}

/// `containerd.services.images.v1.GetImageResponse`
#[derive(Clone, PartialEq, prost::Message)]
pub struct GetImageResponse {
    /// The image.
    #[prost(message, optional, tag = "1")]
    pub image: Option<Image>,
}

/// `containerd.services.images.v1.Image`
#[derive(Clone, PartialEq, prost::Message)]
pub struct Image {
    /// Its manifest or index.
    #[prost(message, optional, tag = "3")]
    pub target: Option<Descriptor>,
}

/// `containerd.types.Descriptor`
#[derive(Clone, PartialEq, prost::Message)]
pub struct Descriptor {
    /// The content's digest.
    #[prost(string, tag = "2")]
    pub digest: String,
}

/// `containerd.services.content.v1.ReadContentRequest`
#[derive(Clone, PartialEq, prost::Message)]
pub struct ReadContentRequest {
    /// The content.
    #[prost(string, tag = "1")]
    pub digest: String,
}

/// `containerd.services.content.v1.ReadContentResponse`
#[derive(Clone, PartialEq, prost::Message)]
pub struct ReadContentResponse {
    /// Where in the content the data stands.
    #[prost(int64, tag = "1")]
    pub offset: i64,
    /// A part of it.
    #[prost(bytes = "vec", tag = "2")]
    pub data: Vec<u8>,
}

/// `containerd.services.snapshots.v1.StatSnapshotRequest`
#[derive(Clone, PartialEq, prost::Message)]
pub struct StatSnapshotRequest {
    /// What keeps it.
    #[prost(string, tag = "1")]
    pub snapshotter: String,
    /// The layer.
    #[prost(string, tag = "2")]
    pub key: String,
}

/// `containerd.services.snapshots.v1.StatSnapshotResponse`
#[derive(Clone, PartialEq, prost::Message)]
pub struct StatSnapshotResponse {
    /// The layer.
    #[prost(message, optional, tag = "1")]
    pub info: Option<SnapshotInfo>,
}

/// `containerd.services.snapshots.v1.Info`
#[derive(Clone, PartialEq, prost::Message)]
pub struct SnapshotInfo {
    /// The layer below it: of a container's, the image's topmost, by its chain id.
    #[prost(string, tag = "2")]
    pub parent: String,
}
