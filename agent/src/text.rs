//! Bytes that a container chose, as text that is safe to show and can be read back without loss.
//!
//! Paths, arguments and names are arbitrary bytes. [`escape`] keeps printable UTF-8 as it is and writes everything
//! else (control characters, invalid sequences, the backslash itself) as `\xNN` or `\\`; [`unescape`] is its exact
//! inverse. Every text in a profile, an alert or a table went through here, so neither a newline nor a terminal's
//! escape sequence of an attacker's reaches a log line or a screen.

use std::fmt::Write as _;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Arbitrary bytes with a lossless text form. As small as its bytes: profiles hold very many.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteText(Box<[u8]>);

/// A text that is no [`escape`]d form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` has a backslash that starts neither `\\\\` nor `\\xNN` with two lower-case hexadecimal digits of a byte that needs it"
)]
pub struct UnescapeError {
    /// What was to be read.
    pub text: String,
}

impl ByteText {
    /// The bytes themselves.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl From<&[u8]> for ByteText {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }
}

impl From<Vec<u8>> for ByteText {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }
}

impl From<&str> for ByteText {
    /// Takes the text's bytes as they are; it is not unescaped.
    fn from(text: &str) -> Self {
        Self(text.as_bytes().into())
    }
}

impl std::fmt::Display for ByteText {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.pad(&escape(&self.0))
    }
}

impl std::str::FromStr for ByteText {
    type Err = UnescapeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        unescape(text).map(Self::from)
    }
}

impl Serialize for ByteText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&escape(&self.0))
    }
}

impl<'de> Deserialize<'de> for ByteText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// The text form of `bytes`.
#[must_use]
pub fn escape(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            if character == '\\' {
                text.push_str("\\\\");
            } else if is_shown(character) {
                text.push(character);
            } else {
                let mut buffer = [0; 4];
                push_hexadecimal(&mut text, character.encode_utf8(&mut buffer).as_bytes());
            }
        }
        push_hexadecimal(&mut text, chunk.invalid());
    }
    text
}

/// The bytes that [`escape`] made `text` from.
///
/// # Errors
/// If `text` is not in the escaped form.
pub fn unescape(text: &str) -> Result<Vec<u8>, UnescapeError> {
    let failed = || UnescapeError {
        text: text.to_owned(),
    };
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(position) = rest.find('\\') {
        bytes.extend_from_slice(&rest.as_bytes()[..position]);
        let escape = &rest[position + 1..];
        if let Some(after) = escape.strip_prefix('\\') {
            bytes.push(b'\\');
            rest = after;
        } else {
            let digits = escape
                .strip_prefix('x')
                .and_then(|after| after.get(..2))
                .ok_or_else(failed)?;
            bytes.push(u8::from_str_radix(digits, 16).map_err(|_| failed())?);
            rest = &escape[3..];
        }
    }
    bytes.extend_from_slice(rest.as_bytes());
    // One text per byte string: whatever need not be escaped must not be.
    if escape(&bytes) == text {
        Ok(bytes)
    } else {
        Err(failed())
    }
}

/// Whether a character may reach a terminal or a document: neither a control character, nor one of those that change the
/// direction of the text or have no width, nor one that stands for none (Unicode, "noncharacters"; YAML takes no U+FFFE).
fn is_shown(character: char) -> bool {
    let is_none = u32::from(character) & 0xfffe == 0xfffe || matches!(character, '\u{fdd0}'..='\u{fdef}');
    !character.is_control()
        && !is_none
        && !matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
}

fn push_hexadecimal(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        write!(text, "\\x{byte:02x}").expect("writing to a string cannot fail");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn shows_what_can_be_shown_and_hides_what_acts() {
        assert_eq!(escape("/opt/naïve/日本".as_bytes()), "/opt/naïve/日本");
        assert_eq!(
            escape(b"/tmp/a\nb\x1b[31m\\\xff"),
            "/tmp/a\\x0ab\\x1b[31m\\\\\\xff"
        );
        assert_eq!(escape("\u{202e}".as_bytes()), "\\xe2\\x80\\xae");
        assert_eq!(escape("\u{fffe}".as_bytes()), "\\xef\\xbf\\xbe");
        assert_eq!(escape("\u{1ffff}".as_bytes()), "\\xf0\\x9f\\xbf\\xbf");
    }

    #[test]
    fn refuses_other_forms_of_the_same_bytes() {
        for text in ["\\", "\\x4", "\\x41", "\\n", "\\xFF", "\\x+f", "\\xé"] {
            assert!(unescape(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn is_lossless(bytes: Vec<u8>) {
            prop_assert_eq!(unescape(&escape(&bytes)).expect("escaped"), bytes);
        }

        #[test]
        fn has_one_form(text in "[\\\\x0-9a-f\\PC]{0,12}") {
            if let Ok(bytes) = unescape(&text) {
                prop_assert_eq!(escape(&bytes), text);
            }
        }
    }
}
