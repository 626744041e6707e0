//! A bundle's `config.json` (OCI runtime specification): the command, and what CRI wrote into the annotations.
//!
//! Input: the file's bytes; arguments and annotations in it are a user's choice. Output: [`Bundle`]. Failure:
//! [`RuntimeError`].
//!
//! The annotations are `io.kubernetes.cri.*` (`pkg/cri/annotations` of containerd 1.6 and 1.7,
//! `internal/cri/annotations` of 2.x); 1.6.0 to 1.6.8 write no `sandbox-uid`.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use crate::container::data_root::parse_json;
use crate::container::error::RuntimeError;
use crate::container::pod::{self, Pod};
use crate::text::ByteText;

const CONTAINER_TYPE: &str = "io.kubernetes.cri.container-type";
const CONTAINER_NAME: &str = "io.kubernetes.cri.container-name";
const IMAGE_NAME: &str = "io.kubernetes.cri.image-name";
const SANDBOX_ID: &str = "io.kubernetes.cri.sandbox-id";
const SANDBOX_NAME: &str = "io.kubernetes.cri.sandbox-name";
const SANDBOX_NAMESPACE: &str = "io.kubernetes.cri.sandbox-namespace";
const SANDBOX_UID: &str = "io.kubernetes.cri.sandbox-uid";

/// What a bundle says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bundle {
    /// The program that is to run.
    pub role: ByteText,
    /// Its arguments, without the program itself.
    pub args: Vec<ByteText>,
    /// The image as the pod names it.
    pub image: Option<ByteText>,
    /// The pod.
    pub pod: Option<Pod>,
    /// The id of the pod's own container.
    pub sandbox: Option<String>,
    /// It is the pod's own container.
    pub is_sandbox: bool,
}

/// What of the file is used by any runtime.
#[derive(Debug, Deserialize)]
pub struct Spec {
    /// The process.
    #[serde(default)]
    process: Option<Process>,
    /// The annotations.
    #[serde(default)]
    pub annotations: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Deserialize)]
struct Process {
    #[serde(default)]
    args: Option<Vec<String>>,
}

impl Spec {
    /// The program that is to run, and its arguments.
    #[must_use]
    pub fn command(&self) -> (ByteText, Vec<ByteText>) {
        let words = self
            .process
            .iter()
            .flat_map(|process| process.args.iter().flatten());
        let mut words = words.map(|word| ByteText::from(word.as_str()));
        (words.next().unwrap_or_default(), words.collect())
    }
}

/// Reads a bundle's `config.json`; `path` is for the error.
pub fn parse(path: &Path, content: &[u8]) -> Result<Bundle, RuntimeError> {
    let spec: Spec = parse_json(path, content)?;
    let (role, args) = spec.command();
    let annotations = spec.annotations.unwrap_or_default();
    let text = |name: &str| annotations.get(name).map(|text| ByteText::from(text.as_str()));
    let is_sandbox = annotations
        .get(CONTAINER_TYPE)
        .is_some_and(|kind| kind == "sandbox");
    let pod = match (text(SANDBOX_NAME), text(SANDBOX_NAMESPACE)) {
        (Some(name), Some(namespace)) => Some(Pod {
            namespace,
            name,
            uid: text(SANDBOX_UID).unwrap_or_default(),
            container: text(CONTAINER_NAME).filter(|_| !is_sandbox),
            labels: BTreeMap::new(),
            annotations: pod::annotations(&annotations),
        }),
        _ => None,
    };
    Ok(Bundle {
        role,
        args,
        image: text(IMAGE_NAME),
        pod,
        sandbox: annotations.get(SANDBOX_ID).cloned(),
        is_sandbox,
    })
}
