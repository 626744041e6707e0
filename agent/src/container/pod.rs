//! The Kubernetes pod of a container.
//!
//! Input: names, labels and annotations that a user of the cluster chose. Output: [`Pod`], bounded: what is too many or
//! too long is left out, labels and annotations in the order of their names.

use std::collections::BTreeMap;

use crate::text::ByteText;

/// What annotations for this agent begin with; others are not kept.
pub const ANNOTATION_PREFIX: &str = "driftlock.dev/";
/// Most annotations that are kept of one pod.
const ANNOTATIONS_MAX: usize = 32;
/// Most labels that are kept of one pod.
const LABELS_MAX: usize = 64;
/// Most bytes of a label's or annotation's name, and of its value. Kubernetes allows 317 and 63 for labels.
const TEXT_BYTES_MAX: usize = 1024;

/// A pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pod {
    /// Its namespace.
    pub namespace: ByteText,
    /// Its name.
    pub name: ByteText,
    /// Its unique id; empty where the runtime does not say.
    pub uid: ByteText,
    /// The container's name within the pod; `None` for the pod's own (the pause container).
    pub container: Option<ByteText>,
    /// The pod's labels, as far as the runtime keeps them.
    pub labels: BTreeMap<ByteText, ByteText>,
    /// The pod's annotations that begin with [`ANNOTATION_PREFIX`].
    pub annotations: BTreeMap<ByteText, ByteText>,
}

/// Those labels that are kept.
#[must_use]
pub fn labels<'a>(all: impl IntoIterator<Item = (&'a String, &'a String)>) -> BTreeMap<ByteText, ByteText> {
    bounded(all, LABELS_MAX, |_| true)
}

/// Those annotations that are kept: at most 32, of at most 1024 bytes each.
#[must_use]
pub fn annotations<'a>(
    all: impl IntoIterator<Item = (&'a String, &'a String)>,
) -> BTreeMap<ByteText, ByteText> {
    bounded(all, ANNOTATIONS_MAX, |name| name.starts_with(ANNOTATION_PREFIX))
}

fn bounded<'a>(
    all: impl IntoIterator<Item = (&'a String, &'a String)>,
    most: usize,
    is_wanted: impl Fn(&str) -> bool,
) -> BTreeMap<ByteText, ByteText> {
    let mut wanted: Vec<_> = all
        .into_iter()
        .filter(|(name, value)| {
            is_wanted(name) && name.len() <= TEXT_BYTES_MAX && value.len() <= TEXT_BYTES_MAX
        })
        .collect();
    wanted.sort_unstable();
    wanted
        .into_iter()
        .take(most)
        .map(|(name, value)| (name.as_str().into(), value.as_str().into()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_this_agents_annotations_within_bounds() {
        let mut all: BTreeMap<String, String> = (0..100)
            .map(|index| (format!("driftlock.dev/{index:03}"), "x".to_owned()))
            .collect();
        all.insert("other.dev/mode".to_owned(), "x".to_owned());
        all.insert("driftlock.dev/000long".to_owned(), "x".repeat(TEXT_BYTES_MAX + 1));
        let kept = annotations(&all);
        assert_eq!(kept.len(), ANNOTATIONS_MAX);
        assert!(kept.contains_key(&ByteText::from("driftlock.dev/000")));
        assert!(!kept.contains_key(&ByteText::from("driftlock.dev/000long")));
        assert!(!kept.contains_key(&ByteText::from("other.dev/mode")));
        assert_eq!(labels(&all).len(), LABELS_MAX);
    }
}
