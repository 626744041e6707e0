//! What CRI-O writes into the annotations of its bundles. The rest it keeps as Podman does ([`super::podman`]).
//!
//! Input: annotations; a user of the cluster chose some of them. Output: the pod, and the container's name and labels.
//! Failure: what is of another form is left out.
//!
//! The names are those of CRI-O's `pkg/annotations` (`io.kubernetes.cri-o.*`, 1.20 to 1.31). This was never run against a
//! real CRI-O: it is tested with layouts that are written from its documentation and source.

use std::collections::BTreeMap;

use super::id::ContainerId;
use super::info::{ContainerInfo, Runtime};
use super::pod::{self, Pod};
use crate::text::ByteText;

const MANAGER: &str = "io.container.manager";
const CONTAINER_TYPE: &str = "io.kubernetes.cri-o.ContainerType";
const SANDBOX_ID: &str = "io.kubernetes.cri-o.SandboxID";
const IMAGE_NAME: &str = "io.kubernetes.cri-o.ImageName";
const LABELS: &str = "io.kubernetes.cri-o.Labels";
const ANNOTATIONS: &str = "io.kubernetes.cri-o.Annotations";
/// Labels that the kubelet gives to every container and pod.
const POD_NAME: &str = "io.kubernetes.pod.name";
const POD_NAMESPACE: &str = "io.kubernetes.pod.namespace";
const POD_UID: &str = "io.kubernetes.pod.uid";
const CONTAINER_NAME: &str = "io.kubernetes.container.name";

type Annotations = BTreeMap<String, String>;

/// Whether a bundle is CRI-O's.
#[must_use]
pub fn is_its(annotations: &Annotations) -> bool {
    annotations.get(MANAGER).is_some_and(|manager| manager == "cri-o")
}

/// The pod's own container.
#[must_use]
pub fn sandbox(annotations: &Annotations) -> Option<ContainerId> {
    annotations.get(SANDBOX_ID)?.parse().ok()
}

/// Adds what the annotations of a container, and those of its pod's own container, say about it.
pub fn describe(info: &mut ContainerInfo, annotations: &Annotations, pods: &Annotations) {
    info.runtime = Runtime::CriO;
    info.is_sandbox = annotations
        .get(CONTAINER_TYPE)
        .is_some_and(|kind| kind == "sandbox");
    let labels = document(annotations.get(LABELS));
    info.labels = pod::labels(&labels);
    if let Some(name) = annotations.get(IMAGE_NAME).filter(|name| !name.is_empty()) {
        info.image.reference = Some(name.as_str().into());
    }
    let text = |name: &str| labels.get(name).map(|text| ByteText::from(text.as_str()));
    let (Some(name), Some(namespace)) = (text(POD_NAME), text(POD_NAMESPACE)) else {
        return;
    };
    let container = text(CONTAINER_NAME).filter(|_| !info.is_sandbox);
    info.name = container.clone().unwrap_or_else(|| "POD".into());
    info.pod = Some(Pod {
        namespace,
        name,
        uid: text(POD_UID).unwrap_or_default(),
        container,
        labels: pod::labels(&document(pods.get(LABELS))),
        annotations: pod::annotations(&document(pods.get(ANNOTATIONS))),
    });
}

/// An annotation that is a JSON document of texts.
fn document(text: Option<&String>) -> Annotations {
    text.and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default()
}
