//! The parts of an image's reference: `repository:tag@digest`.
//!
//! Input: a reference in its text form. Output: [`Reference`]. Failure: none; a part that is not there is `None`.

/// A reference in its parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reference<'a> {
    /// Registry and name; `None` if the container was created by an image's digest alone.
    pub repository: Option<&'a str>,
    /// The tag.
    pub tag: Option<&'a str>,
    /// The manifest's digest, as it is in the reference.
    pub digest: Option<&'a str>,
}

impl<'a> Reference<'a> {
    /// Takes a reference apart.
    #[must_use]
    pub fn parse(reference: &'a str) -> Self {
        if reference.starts_with("sha256:") {
            return Self {
                repository: None,
                tag: None,
                digest: None,
            };
        }
        let (name, digest) = match reference.split_once('@') {
            Some((name, digest)) => (name, Some(digest)),
            None => (reference, None),
        };
        // What follows the last colon is a port if there is a slash behind it.
        let (repository, tag) = match name.rsplit_once(':') {
            Some((repository, tag)) if !tag.contains('/') => (repository, Some(tag)),
            _ => (name, None),
        };
        Self {
            repository: Some(repository).filter(|repository| !repository.is_empty()),
            tag,
            digest,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_told_apart() {
        for (reference, repository, tag, digest) in [
            ("shop:1", Some("shop"), Some("1"), None),
            ("shop", Some("shop"), None, None),
            ("localhost:5000/shop", Some("localhost:5000/shop"), None, None),
            (
                "localhost:5000/shop:1@sha256:ab",
                Some("localhost:5000/shop"),
                Some("1"),
                Some("sha256:ab"),
            ),
            (
                "docker.io/shop@sha256:ab",
                Some("docker.io/shop"),
                None,
                Some("sha256:ab"),
            ),
            ("sha256:ab", None, None, None),
            ("", None, None, None),
        ] {
            let expected = Reference {
                repository,
                tag,
                digest,
            };
            assert_eq!(Reference::parse(reference), expected, "{reference}");
        }
    }
}
