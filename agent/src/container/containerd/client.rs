//! What containerd is asked over its socket. Nothing is ever commanded: these are reading calls alone.
//!
//! Input: a [`Question`]. Output: [`Answer`]. Failure: [`AskError`]; whatever containerd does, a question ends within
//! [`WITHIN`], and no message is longer than [`MESSAGE_BYTES`]. What is named by its digest is compared with it.

use std::path::PathBuf;
use std::time::Duration;

use http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};
use tonic_prost::ProstCodec;

use super::answer::{Answer, names};
use super::image::{self, Document, ImageError};
use super::messages::{
    Container, ContainerStatus, ContainerStatusRequest, ContainerStatusResponse, CriImage,
    GetContainerRequest, GetContainerResponse, GetImageRequest, GetImageResponse, ImageSpec,
    ImageStatusRequest, ImageStatusResponse, PodSandboxStatus, PodSandboxStatusRequest,
    PodSandboxStatusResponse, ReadContentRequest, ReadContentResponse, StatSnapshotRequest,
    StatSnapshotResponse,
};
use super::{About, Question};
use crate::container::pod;
use crate::container::read::show;
use crate::image::{ImageDigest, without_tag};
use crate::text::ByteText;

/// How long a question may take in all.
pub const WITHIN: Duration = Duration::from_secs(3);
/// Longest message and longest content that are taken.
const MESSAGE_BYTES: usize = 8 << 20;
/// Most manifests of an index that are tried.
const MANIFESTS_MAX: usize = 8;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The socket's path is not one that can be connected to.
    #[error("the socket `{}` cannot be named", show(path))]
    Path {
        /// The socket.
        path: PathBuf,
    },
    /// It cannot be connected to.
    #[error("cannot connect to `{}`: {}", show(path), innermost(source))]
    Connect {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: tonic::transport::Error,
    },
    /// The runtime refused.
    #[error("{call} of `{}`: {message} ({code:?})", show(path))]
    Refused {
        /// The socket.
        path: PathBuf,
        /// What was called.
        call: &'static str,
        /// What kind of refusal.
        code: tonic::Code,
        /// What the runtime says about it.
        message: String,
    },
    /// It took too long.
    #[error("`{}` did not answer within {} s", show(path), WITHIN.as_secs())]
    Late {
        /// The socket.
        path: PathBuf,
    },
    /// What it said is not what was asked for.
    #[error("`{}` answers {call} with {problem}", show(path))]
    Unexpected {
        /// The socket.
        path: PathBuf,
        /// What was called.
        call: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// A document of the image cannot be used.
    #[error(transparent)]
    Image(#[from] ImageError),
}

/// Asks.
pub async fn ask(question: &Question) -> Result<Answer, AskError> {
    let late = |_| AskError::Late {
        path: question.socket.clone(),
    };
    tokio::time::timeout(WITHIN, ask_whenever(question))
        .await
        .map_err(late)?
}

async fn ask_whenever(question: &Question) -> Result<Answer, AskError> {
    let mut client = Client::connect(question).await?;
    match &question.about {
        About::PodContainer { id, sandbox } => client.pod_container(id, sandbox).await,
        About::PodSandbox { id } => {
            let mut answer = client.container(id).await?;
            // CRI knows the pod only when its own container has started, which must not wait for this answer.
            match client.pod(id).await {
                Ok(pod) => answer.add_pod(&pod),
                Err(error) => tracing::debug!(error = &error as &dyn std::error::Error, "no labels of a pod"),
            }
            Ok(answer)
        }
        About::Container { id } => client.container(id).await,
        About::Content { digest } => {
            let digest = client.digest("Image", digest)?;
            Ok(Answer {
                digest: Some(client.config_of(digest, None).await?),
                ..Answer::default()
            })
        }
    }
}

/// A connection.
struct Client<'a> {
    question: &'a Question,
    channel: tonic::client::Grpc<Channel>,
}

impl<'a> Client<'a> {
    async fn connect(question: &'a Question) -> Result<Self, AskError> {
        let path = || question.socket.clone();
        let text = question
            .socket
            .to_str()
            .ok_or_else(|| AskError::Path { path: path() })?;
        let connect = |source| AskError::Connect { path: path(), source };
        let channel = Endpoint::new(format!("unix://{text}"))
            .map_err(connect)?
            .connect()
            .await
            .map_err(connect)?;
        let channel = tonic::client::Grpc::new(channel).max_decoding_message_size(MESSAGE_BYTES);
        Ok(Self { question, channel })
    }

    /// A container in a pod: its status, the image that names, and its pod.
    async fn pod_container(&mut self, id: &str, sandbox: &str) -> Result<Answer, AskError> {
        const CALL: &str = "ContainerStatus";
        let request = ContainerStatusRequest {
            container_id: id.to_owned(),
        };
        let response: ContainerStatusResponse = self
            .call(CALL, "/runtime.v1.RuntimeService/ContainerStatus", request)
            .await?;
        let status: ContainerStatus = response
            .status
            .filter(|status| status.id == id)
            .ok_or_else(|| self.unexpected(CALL, "nothing about this container".to_owned()))?;
        let request = ImageStatusRequest {
            image: Some(ImageSpec {
                image: status.image_ref.clone(),
            }),
        };
        let response: ImageStatusResponse = self
            .call("ImageStatus", "/runtime.v1.ImageService/ImageStatus", request)
            .await?;
        // An image that was removed under its container is named by its config digest.
        let image = response.image.unwrap_or_else(|| CriImage {
            id: status.image_ref.clone(),
            ..CriImage::default()
        });
        let digest = self.digest(CALL, &image.id)?;
        let mut answer = Answer {
            digest: Some(digest),
            references: names(image.repo_tags),
            manifests: names(image.repo_digests),
            labels: pod::labels(&status.labels),
            ..Answer::default()
        };
        answer.add_pod(&self.pod(sandbox).await?);
        Ok(answer)
    }

    async fn pod(&mut self, sandbox: &str) -> Result<PodSandboxStatus, AskError> {
        const CALL: &str = "PodSandboxStatus";
        let request = PodSandboxStatusRequest {
            pod_sandbox_id: sandbox.to_owned(),
        };
        let response: PodSandboxStatusResponse = self
            .call(CALL, "/runtime.v1.RuntimeService/PodSandboxStatus", request)
            .await?;
        response
            .status
            .ok_or_else(|| self.unexpected(CALL, "nothing".to_owned()))
    }

    /// A container of any client: the image that its image's name leads to, if its layers are that image's.
    async fn container(&mut self, id: &str) -> Result<Answer, AskError> {
        const CALL: &str = "Containers.Get";
        let request = GetContainerRequest { id: id.to_owned() };
        let response: GetContainerResponse = self
            .call(CALL, "/containerd.services.containers.v1.Containers/Get", request)
            .await?;
        let container = response
            .container
            .filter(|container| !container.image.is_empty())
            .ok_or_else(|| self.unexpected(CALL, "a container without image".to_owned()))?;
        let request = GetImageRequest {
            name: container.image.clone(),
        };
        let response: GetImageResponse = self
            .call("Images.Get", "/containerd.services.images.v1.Images/Get", request)
            .await?;
        let target = response.image.and_then(|image| image.target);
        let target = target.ok_or_else(|| self.unexpected("Images.Get", "no image".to_owned()))?;
        let target = self.digest("Images.Get", &target.digest)?;
        let digest = self.config_of(target.clone(), Some(&container)).await?;
        let is_name = !container.image.starts_with("sha256:");
        let name = is_name.then(|| ByteText::from(container.image.as_str()));
        let manifest = is_name.then(|| {
            let name = container.image.split('@').next().unwrap_or_default();
            ByteText::from(format!("{}@{target}", without_tag(name)).as_str())
        });
        Ok(Answer {
            digest: Some(digest),
            references: name.into_iter().collect(),
            manifests: manifest.into_iter().collect(),
            labels: pod::labels(&container.labels),
            snapshotter: Some(container.snapshotter),
            ..Answer::default()
        })
    }

    /// The config that a manifest or index leads to. Where there is a container, only one whose layers are the ones that
    /// the container was made from: its image's name may name another image by now.
    async fn config_of(
        &mut self,
        target: ImageDigest,
        container: Option<&Container>,
    ) -> Result<ImageDigest, AskError> {
        let manifests = match self.document(&target).await? {
            Document::Manifest(config) => vec![config],
            Document::Index(manifests) => {
                let mut configs = Vec::new();
                for manifest in manifests.iter().take(MANIFESTS_MAX) {
                    // An index may name what was never fetched.
                    if let Ok(Document::Manifest(config)) = self.document(manifest).await {
                        configs.push(config);
                    }
                }
                configs
            }
        };
        let Some(container) = container else {
            return manifests
                .into_iter()
                .next()
                .ok_or_else(|| self.unexpected("Content.Read", "no manifest for this platform".to_owned()));
        };
        let request = StatSnapshotRequest {
            snapshotter: container.snapshotter.clone(),
            key: container.snapshot_key.clone(),
        };
        let path = "/containerd.services.snapshots.v1.Snapshots/Stat";
        let response: StatSnapshotResponse = self.call("Snapshots.Stat", path, request).await?;
        let made_from = response.info.map(|info| info.parent).unwrap_or_default();
        for config in manifests {
            let content = self.content(&config).await?;
            if image::chain_id(&content)?.unwrap_or_default() == made_from {
                return Ok(config);
            }
        }
        let problem = format!(
            "an image `{}` that is not the one that the container was made from",
            crate::text::escape(container.image.as_bytes())
        );
        Err(self.unexpected("Images.Get", problem))
    }

    async fn document(&mut self, digest: &ImageDigest) -> Result<Document, AskError> {
        let content = self.content(digest).await?;
        Ok(image::document(digest, &content)?)
    }

    /// A content, which is compared with its digest.
    async fn content(&mut self, digest: &ImageDigest) -> Result<Vec<u8>, AskError> {
        const CALL: &str = "Content.Read";
        self.ready(CALL).await?;
        let request = self.request(ReadContentRequest {
            digest: digest.as_str().to_owned(),
        });
        let path = PathAndQuery::from_static("/containerd.services.content.v1.Content/Read");
        let codec = ProstCodec::<ReadContentRequest, ReadContentResponse>::default();
        let answered = self.channel.server_streaming(request, path, codec).await;
        let mut parts = answered
            .map_err(|status| self.refused(CALL, &status))?
            .into_inner();
        let mut content = Vec::new();
        while let Some(part) = parts
            .message()
            .await
            .map_err(|status| self.refused(CALL, &status))?
        {
            if content.len() + part.data.len() > MESSAGE_BYTES {
                return Err(self.unexpected(CALL, format!("more than {MESSAGE_BYTES} bytes")));
            }
            content.extend(part.data);
        }
        if image::digest_of(&content) != digest.as_str() {
            return Err(self.unexpected(CALL, format!("another content than `{digest}`")));
        }
        Ok(content)
    }

    async fn call<T, R>(&mut self, call: &'static str, path: &'static str, message: T) -> Result<R, AskError>
    where
        T: prost::Message + 'static,
        R: prost::Message + Default + 'static,
    {
        self.ready(call).await?;
        let request = self.request(message);
        let path = PathAndQuery::from_static(path);
        let answered = self
            .channel
            .unary(request, path, ProstCodec::<T, R>::default())
            .await;
        answered
            .map(tonic::Response::into_inner)
            .map_err(|status| self.refused(call, &status))
    }

    async fn ready(&mut self, call: &'static str) -> Result<(), AskError> {
        let ready = self.channel.ready().await;
        ready.map_err(|error| self.refused(call, &Status::unavailable(error.to_string())))
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Ok(namespace) = self.question.namespace.parse() {
            request.metadata_mut().insert("containerd-namespace", namespace);
        }
        request
    }

    fn digest(&self, call: &'static str, text: &str) -> Result<ImageDigest, AskError> {
        text.parse()
            .map_err(|error: crate::image::DigestError| self.unexpected(call, error.to_string()))
    }

    fn refused(&self, call: &'static str, status: &Status) -> AskError {
        let message: String = status.message().chars().take(200).collect();
        AskError::Refused {
            path: self.question.socket.clone(),
            call,
            code: status.code(),
            message: crate::text::escape(message.as_bytes()),
        }
    }

    fn unexpected(&self, call: &'static str, problem: String) -> AskError {
        AskError::Unexpected {
            path: self.question.socket.clone(),
            call,
            problem,
        }
    }
}

/// What an error comes from in the end: those around it say no more than that something failed.
fn innermost(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |error| error.source())
        .last()
        .map(ToString::to_string)
        .unwrap_or_default()
}

#[cfg(test)]
#[path = "client_tests.rs"]
mod tests;
