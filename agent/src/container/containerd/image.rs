//! An image's index, manifest and config (OCI image specification; Docker's older forms have the same fields).
//!
//! Input: the documents' bytes, already compared with their digest. Output: the digests in them. Failure:
//! [`ImageError`].

use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use crate::image::ImageDigest;

/// Most manifests of an index, and most layers of a config, that are looked at.
const ENTRIES_MAX: usize = 1024;

/// What a digest leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Document {
    /// Manifests for this node's platform, in the index's order.
    Index(Vec<ImageDigest>),
    /// The config.
    Manifest(ImageDigest),
}

/// Why a document cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// It is not JSON, or of another form.
    #[error("{document} is not an image's: {source}")]
    Form {
        /// Which document.
        document: &'static str,
        /// What the parser says.
        source: serde_json::Error,
    },
    /// It is neither an index nor a manifest.
    #[error("`{digest}` is neither an index nor a manifest")]
    Unknown {
        /// Which document.
        digest: ImageDigest,
    },
    /// It has more entries than are looked at.
    #[error("{document} has more than {ENTRIES_MAX} entries")]
    TooMany {
        /// Which document.
        document: &'static str,
    },
}

#[derive(Deserialize)]
struct IndexOrManifest {
    #[serde(default)]
    manifests: Option<Vec<Entry>>,
    #[serde(default)]
    config: Option<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    digest: ImageDigest,
    #[serde(default)]
    platform: Option<Platform>,
}

#[derive(Deserialize)]
struct Platform {
    os: String,
    architecture: String,
}

#[derive(Deserialize)]
struct Config {
    rootfs: RootFs,
}

#[derive(Deserialize)]
struct RootFs {
    diff_ids: Vec<ImageDigest>,
}

/// Reads an index or a manifest; `digest` is for the error.
pub fn document(digest: &ImageDigest, content: &[u8]) -> Result<Document, ImageError> {
    let form = |source| ImageError::Form {
        document: "the manifest",
        source,
    };
    let read: IndexOrManifest = serde_json::from_slice(content).map_err(form)?;
    match (read.config, read.manifests) {
        (Some(config), None) => Ok(Document::Manifest(config.digest)),
        (None, Some(manifests)) if manifests.len() > ENTRIES_MAX => Err(ImageError::TooMany {
            document: "the index",
        }),
        (None, Some(manifests)) => Ok(Document::Index(
            manifests
                .into_iter()
                .filter(|entry| entry.platform.as_ref().is_none_or(is_own))
                .map(|entry| entry.digest)
                .collect(),
        )),
        _ => Err(ImageError::Unknown {
            digest: digest.clone(),
        }),
    }
}

/// Whether an image for this platform runs on this node.
fn is_own(platform: &Platform) -> bool {
    // The names of Go, which the specification takes.
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    platform.os == "linux" && platform.architecture == architecture
}

/// The name of an image's topmost layer, out of its config: its chain id (OCI image specification, "Layer `ChainID`");
/// `None` for an image without layers.
pub fn chain_id(config: &[u8]) -> Result<Option<String>, ImageError> {
    let form = |source| ImageError::Form {
        document: "the config",
        source,
    };
    let config: Config = serde_json::from_slice(config).map_err(form)?;
    let layers = config.rootfs.diff_ids;
    if layers.len() > ENTRIES_MAX {
        return Err(ImageError::TooMany {
            document: "the config",
        });
    }
    Ok(layers
        .into_iter()
        .map(|layer| layer.as_str().to_owned())
        .reduce(|chain, layer| digest_of(format!("{chain} {layer}").as_bytes())))
}

/// The digest of a content.
#[must_use]
pub fn digest_of(content: &[u8]) -> String {
    let hash = crate::profile::model::ContentHash(Sha256::digest(content).into());
    format!("sha256:{hash}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(digit: char) -> ImageDigest {
        format!("sha256:{}", digit.to_string().repeat(64))
            .parse()
            .expect("a digest")
    }

    #[test]
    fn tells_an_index_from_a_manifest() {
        let manifest = format!(
            r#"{{"schemaVersion":2,"config":{{"digest":"{}"}},"layers":[]}}"#,
            digest('c')
        );
        assert_eq!(
            document(&digest('0'), manifest.as_bytes()).expect("a manifest"),
            Document::Manifest(digest('c'))
        );
        let architecture = if cfg!(target_arch = "x86_64") {
            "amd64"
        } else {
            "arm64"
        };
        let index = format!(
            r#"{{"manifests":[
                {{"digest":"{}","platform":{{"os":"windows","architecture":"{architecture}"}}}},
                {{"digest":"{}","platform":{{"os":"linux","architecture":"{architecture}"}}}},
                {{"digest":"{}","platform":{{"os":"unknown","architecture":"unknown"}}}}
            ]}}"#,
            digest('1'),
            digest('2'),
            digest('3')
        );
        assert_eq!(
            document(&digest('0'), index.as_bytes()).expect("an index"),
            Document::Index(vec![digest('2')])
        );
        for wrong in ["{}", "[]", "", r#"{"config":{"digest":"sha256:1"}}"#] {
            assert!(document(&digest('0'), wrong.as_bytes()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn names_the_topmost_layer() {
        let config = |layers: &[ImageDigest]| {
            let layers: Vec<&str> = layers.iter().map(ImageDigest::as_str).collect();
            serde_json::json!({"rootfs": {"type": "layers", "diff_ids": layers}}).to_string()
        };
        let chain = |layers: &[ImageDigest]| chain_id(config(layers).as_bytes()).expect("a config");
        assert_eq!(chain(&[]), None);
        assert_eq!(chain(&[digest('1')]), Some(digest('1').as_str().to_owned()));
        let both = digest_of(format!("{} {}", digest('1'), digest('2')).as_bytes());
        assert_eq!(chain(&[digest('1'), digest('2')]), Some(both));
        assert!(chain_id(b"{}").is_err());
    }
}
