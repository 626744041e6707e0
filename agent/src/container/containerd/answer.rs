//! What a containerd said about a container, and how that completes what the disk says.

use std::collections::BTreeMap;

use super::messages::PodSandboxStatus;
use crate::container::info::ContainerInfo;
use crate::container::pod;
use crate::image::ImageDigest;
use crate::text::ByteText;

/// Most names of an image that are kept.
const NAMES_MAX: usize = 64;

/// What a containerd said about a container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Digest of the image's config.
    pub digest: Option<ImageDigest>,
    /// Names of the image, sorted.
    pub references: Vec<ByteText>,
    /// Names of the image with its manifest's digest, sorted.
    pub manifests: Vec<ByteText>,
    /// The container's labels.
    pub labels: BTreeMap<ByteText, ByteText>,
    /// The pod's labels.
    pub pod_labels: BTreeMap<ByteText, ByteText>,
    /// The pod's annotations for this agent.
    pub pod_annotations: BTreeMap<ByteText, ByteText>,
    /// What keeps the container's layers.
    pub snapshotter: Option<String>,
}

impl Answer {
    /// Adds what a pod's status says.
    pub fn add_pod(&mut self, pod: &PodSandboxStatus) {
        self.pod_labels = pod::labels(&pod.labels);
        self.pod_annotations = pod::annotations(&pod.annotations);
    }

    /// Adds what was answered to what the disk says about the container.
    pub fn complete(self, info: &mut ContainerInfo) {
        info.image.digest = self.digest;
        info.image.references = self.references;
        info.image.manifests = self.manifests;
        if info.image.reference.is_none() {
            info.image.reference = info.image.references.first().cloned();
        }
        if info.labels.is_empty() {
            info.labels = self.labels;
        }
        if let Some(pod) = &mut info.pod {
            pod.labels = self.pod_labels;
            // What the pod says now goes before what was written into the bundle when it was made: they are the same.
            pod.annotations.extend(self.pod_annotations);
        }
        if let Some(driver) = self.snapshotter {
            info.storage.driver = driver;
        }
    }
}

/// Names of an image, bounded and sorted.
#[must_use]
pub fn names(mut names: Vec<String>) -> Vec<ByteText> {
    names.sort_unstable();
    names
        .iter()
        .take(NAMES_MAX)
        .map(|name| ByteText::from(name.as_str()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_answered_completes_what_the_disk_says() {
        let mut answer = Answer {
            digest: format!("sha256:{}", "1".repeat(64)).parse().ok(),
            references: vec!["demo:1".into()],
            ..Answer::default()
        };
        answer.add_pod(&PodSandboxStatus {
            labels: [("app".to_owned(), "shop".to_owned())].into(),
            annotations: [
                ("driftlock.dev/mode".to_owned(), "monitor".to_owned()),
                ("other".to_owned(), "x".to_owned()),
            ]
            .into(),
            metadata: None,
        });
        assert_eq!(answer.pod_labels.len(), 1);
        assert_eq!(answer.pod_annotations.len(), 1);
    }
}
