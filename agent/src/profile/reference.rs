//! Image references as people and runtimes write them: `nginx`, `nginx:latest` and `docker.io/library/nginx:latest` name one image.
//!
//! Input: references as text. Output: whether two name the same image, or images of the same repository. Failure: none; a text that is no reference equals
//! only itself.

/// Whether two references name the same image.
///
/// The host is left out or the first component with a `.`, a `:` or `localhost`; without one it is `docker.io`, where a
/// name without a slash is below `library`. Without tag and digest the tag is `latest`. With a digest the tag says
/// nothing. (Source: the reference grammar of the distribution project and Docker's "familiar" names.)
#[must_use]
pub fn same_image(left: &str, right: &str) -> bool {
    left == right || Parts::of(left) == Parts::of(right)
}

/// Whether two references are of one repository: host and name are the same, whatever the tag or digest. A bare digest is of none.
#[must_use]
pub fn same_repository(left: &str, right: &str) -> bool {
    let (left, right) = (Parts::of(left), Parts::of(right));
    let is_digest = left.host == "docker.io" && left.name == "sha256";
    !is_digest && !left.name.is_empty() && (left.host, left.name) == (right.host, right.name)
}

#[derive(PartialEq, Eq)]
struct Parts<'a> {
    host: &'a str,
    name: &'a str,
    version: Version<'a>,
}

#[derive(PartialEq, Eq)]
enum Version<'a> {
    Tag(&'a str),
    Digest(&'a str),
}

impl<'a> Parts<'a> {
    fn of(reference: &'a str) -> Self {
        let (rest, digest) = match reference.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest)),
            None => (reference, None),
        };
        let last = rest.rfind('/').map_or(0, |position| position + 1);
        let (rest, tag) = match rest[last..].find(':') {
            Some(colon) => (&rest[..last + colon], Some(&rest[last + colon + 1..])),
            None => (rest, None),
        };
        let (host, name) = match rest.split_once('/') {
            Some((host, name)) if host.contains(['.', ':']) || host == "localhost" => (host, name),
            _ => ("docker.io", rest),
        };
        let host = if host == "index.docker.io" {
            "docker.io"
        } else {
            host
        };
        let name = match name.strip_prefix("library/") {
            Some(name) if host == "docker.io" && !name.contains('/') => name,
            _ => name,
        };
        let version = digest.map_or_else(|| Version::Tag(tag.unwrap_or("latest")), Version::Digest);
        Self { host, name, version }
    }
}

#[cfg(test)]
mod tests {
    use super::{same_image, same_repository};

    #[test]
    fn familiar_and_full_names_are_one() {
        for (left, right) in [
            ("nginx", "docker.io/library/nginx:latest"),
            ("nginx:1.27", "index.docker.io/library/nginx:1.27"),
            ("team/app", "docker.io/team/app:latest"),
            ("localhost/app", "localhost/app:latest"),
            ("host:5000/app", "host:5000/app:latest"),
            ("app:1@sha256:00", "app@sha256:00"),
        ] {
            assert!(same_image(left, right), "{left} {right}");
        }
    }

    #[test]
    fn a_repository_has_many_tags() {
        for (left, right, is_same) in [
            ("nginx:1.26", "docker.io/library/nginx:1.27", true),
            ("host:5000/app:1", "host:5000/app@sha256:00", true),
            ("nginx:1", "team/nginx:1", false),
            ("host:5000/app", "host:5001/app", false),
            ("localhost/app:1", "app:1", false),
            ("sha256:00", "sha256:01", false),
            ("", "", false),
        ] {
            assert_eq!(same_repository(left, right), is_same, "{left} {right}");
        }
    }

    #[test]
    fn different_images_stay_apart() {
        for (left, right) in [
            ("nginx", "nginx:1"),
            ("nginx", "team/nginx"),
            ("localhost/app", "app"),
            ("host:5000/app", "host:5001/app"),
            ("example.com/library/app", "example.com/app"),
            ("app@sha256:00", "app"),
            ("app@sha256:00", "app@sha256:01"),
            ("", "latest"),
        ] {
            assert!(!same_image(left, right), "{left} {right}");
        }
    }
}
