//! Answers as text for people.
//!
//! Input: the views, and the screen. Output: a text of whole lines. Failure: none. What a container chose is shown in
//! its escaped form only.

pub mod alert;
pub mod attention;
mod canary;
pub mod container;
pub mod diff;
pub mod doctor;
pub mod learned;
pub mod mode;
pub mod profile;
mod sinks;
pub mod status;

use agent_common::domain::Mode;

use super::screen::Tone;
use crate::control::view::Tier;
use crate::image::ImageDigest;
use crate::text::ByteText;

/// A count with its noun.
fn count(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

/// An image as tables show it: its reference, else the beginning of its digest.
pub(super) fn image(reference: Option<&ByteText>, digest: Option<&ImageDigest>) -> String {
    match (reference, digest) {
        (Some(reference), _) => reference.to_string(),
        (None, Some(digest)) => digest.short().to_owned(),
        (None, None) => "-".to_owned(),
    }
}

/// An optional text, or a dash.
pub(super) fn or_dash(text: Option<impl std::fmt::Display>) -> String {
    text.map_or_else(|| "-".to_owned(), |text| text.to_string())
}

/// The first twelve digits of the id in a text, by which containers and images are told; a text without a whole id is
/// shown as it is.
pub(super) fn short_id(id: &ByteText) -> String {
    let text = id.to_string();
    let mut words = text.split(|character: char| !character.is_ascii_hexdigit());
    match words.find(|word| word.len() == 64) {
        Some(id) => id.chars().take(12).collect(),
        None => text,
    }
}

pub(super) fn mode_tone(mode: Mode) -> Tone {
    match mode {
        Mode::Enforce => Tone::Good,
        Mode::Pending => Tone::Notable,
        Mode::Off | Mode::Learn | Mode::Monitor => Tone::Plain,
    }
}

pub(super) fn tier_word(tier: Tier) -> &'static str {
    match tier {
        Tier::Deny => "deny",
        Tier::Kill => "kill",
        Tier::Observe => "observe",
        Tier::None => "nothing",
    }
}

pub(super) fn tier_tone(tier: Tier) -> Tone {
    match tier {
        Tier::Deny | Tier::Kill => Tone::Good,
        Tier::Observe => Tone::Notable,
        Tier::None => Tone::Bad,
    }
}
