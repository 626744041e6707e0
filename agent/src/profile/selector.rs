//! Finding a profile by what a person types: a digest, its beginning, or a reference; and a role if there are several.
//!
//! Input: the typed text and the store. Output: one image, or one profile. Failure: none or several fit; the error
//! lists the candidates.

use std::fmt::Write as _;

use crate::image::ImageDigest;
use crate::profile::model::{Profile, ProfileKey, Role};
use crate::profile::reference::same_image;
use crate::profile::store::ProfileStore;

/// Fewest digits of a digest that are taken as its beginning.
pub const PREFIX_DIGITS_MIN: usize = 4;
/// Most candidates that an error lists.
const CANDIDATES_SHOWN: usize = 20;

/// What a person typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector {
    /// A config digest or manifest digest, with or without `sha256:`; the first digits of a config digest; or a reference.
    pub image: String,
    /// The role, where an image has several.
    pub role: Option<Role>,
}

/// Why a selector does not name one thing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectError {
    /// No image fits.
    #[error("no image in the profile store fits `{}`{}", image.escape_debug(), list(candidates, "; it holds"))]
    NoImage {
        /// What was typed.
        image: String,
        /// The images that there are.
        candidates: Vec<String>,
    },
    /// Several images fit.
    #[error("`{}` fits several images: give more digits{}", image.escape_debug(), list(candidates, "; they are"))]
    AmbiguousImage {
        /// What was typed.
        image: String,
        /// The images that fit.
        candidates: Vec<String>,
    },
    /// The image has no profile of this role.
    #[error("image {digest} has no profile{}{}", of_role(role.as_ref()), list(candidates, "; its roles are"))]
    NoRole {
        /// The image.
        digest: ImageDigest,
        /// What was asked for.
        role: Option<Role>,
        /// The roles that there are.
        candidates: Vec<String>,
    },
    /// The image has several roles and none was given.
    #[error(
        "image {digest} has several roles: give one{}",
        list(candidates, "; they are")
    )]
    AmbiguousRole {
        /// The image.
        digest: ImageDigest,
        /// The roles that there are.
        candidates: Vec<String>,
    },
}

impl Selector {
    /// The one image that fits.
    pub fn image<'a>(&self, store: &'a ProfileStore) -> Result<&'a ImageDigest, SelectError> {
        let mut fitting: Vec<&ImageDigest> = store
            .images()
            .filter(|(digest, record)| {
                self.is_digest_of(digest)
                    || record
                        .manifests
                        .iter()
                        .any(|manifest| self.is_whole_digest(manifest))
                    || record
                        .references
                        .iter()
                        .any(|reference| same_image(&self.image, reference))
            })
            .map(|(digest, _)| digest)
            .collect();
        // A whole digest names that image even if another image's reference looks alike.
        if let Some(exact) = fitting.iter().position(|digest| self.is_whole_digest(digest)) {
            fitting = vec![fitting[exact]];
        }
        match fitting.as_slice() {
            [digest] => Ok(digest),
            [] => Err(SelectError::NoImage {
                image: self.image.clone(),
                candidates: store
                    .images()
                    .map(|(digest, _)| describe(store, digest))
                    .collect(),
            }),
            several => Err(SelectError::AmbiguousImage {
                image: self.image.clone(),
                candidates: several.iter().map(|digest| describe(store, digest)).collect(),
            }),
        }
    }

    /// The profiles that fit: all roles of the image, or the one that was given.
    pub fn profiles<'a>(&self, store: &'a ProfileStore) -> Result<Vec<&'a Profile>, SelectError> {
        let digest = self.image(store)?;
        let fitting: Vec<&Profile> = store
            .profiles_of(digest)
            .filter(|profile| self.role.as_ref().is_none_or(|role| profile.key.role == *role))
            .collect();
        if fitting.is_empty() {
            return Err(SelectError::NoRole {
                digest: digest.clone(),
                role: self.role.clone(),
                candidates: roles(store, digest),
            });
        }
        Ok(fitting)
    }

    /// The one profile that fits.
    pub fn profile(&self, store: &ProfileStore) -> Result<ProfileKey, SelectError> {
        match self.profiles(store)?.as_slice() {
            [profile] => Ok(profile.key.clone()),
            several => {
                // `profiles` gives at least one.
                let digest = several[0].key.digest.clone();
                let candidates = roles(store, &digest);
                Err(SelectError::AmbiguousRole { digest, candidates })
            }
        }
    }

    fn is_digest_of(&self, digest: &ImageDigest) -> bool {
        let digits = self.image.strip_prefix("sha256:").unwrap_or(&self.image);
        digits.len() >= PREFIX_DIGITS_MIN
            && digest
                .as_str()
                .strip_prefix("sha256:")
                .is_some_and(|whole| whole.starts_with(digits))
    }

    fn is_whole_digest(&self, digest: &ImageDigest) -> bool {
        let whole = digest.as_str();
        self.image == whole || whole.strip_prefix("sha256:") == Some(&self.image)
    }
}

fn describe(store: &ProfileStore, digest: &ImageDigest) -> String {
    let references = store
        .image(digest)
        .into_iter()
        .flat_map(|record| &record.references);
    let mut text = digest.short().to_owned();
    for reference in references.take(3) {
        text.push(' ');
        text.extend(reference.escape_debug());
    }
    text
}

fn roles(store: &ProfileStore, digest: &ImageDigest) -> Vec<String> {
    store
        .profiles_of(digest)
        .map(|profile| profile.key.role.to_string())
        .collect()
}

fn of_role(role: Option<&Role>) -> String {
    role.map_or_else(String::new, |role| format!(" of role `{role}`"))
}

fn list(candidates: &[String], introduction: &str) -> String {
    if candidates.is_empty() {
        return String::new();
    }
    let shown = &candidates[..candidates.len().min(CANDIDATES_SHOWN)];
    let mut text = format!("{introduction}: {}", shown.join(", "));
    let hidden = candidates.len() - shown.len();
    if hidden > 0 {
        write!(text, " and {hidden} more").expect("writing to a string cannot fail");
    }
    text
}
