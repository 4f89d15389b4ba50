//! Texts of clients: whether something of them can be seen, and escapes that are half a character.

use serde::{Deserialize, Deserializer, de::Error};
use serde_json::value::RawValue;

/// The characters that Unicode displays as nothing (property `Default_Ignorable_Code_Point` of
/// `DerivedCoreProperties.txt`, Unicode 16), as ranges. Among them are joiners, variation selectors and the fillers of
/// Hangul.
const IGNORABLE: [(char, char); 17] = [
    ('\u{ad}', '\u{ad}'),
    ('\u{34f}', '\u{34f}'),
    ('\u{61c}', '\u{61c}'),
    ('\u{115f}', '\u{1160}'),
    ('\u{17b4}', '\u{17b5}'),
    ('\u{180b}', '\u{180f}'),
    ('\u{200b}', '\u{200f}'),
    ('\u{202a}', '\u{202e}'),
    ('\u{2060}', '\u{206f}'),
    ('\u{3164}', '\u{3164}'),
    ('\u{fe00}', '\u{fe0f}'),
    ('\u{feff}', '\u{feff}'),
    ('\u{ffa0}', '\u{ffa0}'),
    ('\u{fff0}', '\u{fff8}'),
    ('\u{1bca0}', '\u{1bca3}'),
    ('\u{1d173}', '\u{1d17a}'),
    ('\u{e0000}', '\u{e0fff}'),
];

/// Whether at least one character of the text can be seen: the others may join, modify or separate.
pub(crate) fn is_visible(text: &str) -> bool {
    let is_ignorable = |c: char| IGNORABLE.iter().any(|(first, last)| (*first..=*last).contains(&c));
    // a Braille pattern without dots, and a note without a head
    let is_blank = |c: char| matches!(c, '\u{2800}' | '\u{1d159}');
    text.chars().any(|c| !(c.is_whitespace() || c.is_control() || is_ignorable(c) || is_blank(c)))
}

/// A text of a frame. None if an escape in it is half a character, such as `\ud83d` without its other half: JSON allows
/// that, and UTF-8 cannot carry it.
#[derive(Debug)]
pub(crate) struct Text(pub(crate) Option<String>);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&RawValue>::deserialize(deserializer)?;
        match serde_json::from_str(raw.get()) {
            Ok(text) => Ok(Self(Some(text))),
            Err(error) if error.is_data() => Err(D::Error::custom(error)),
            // the value was valid JSON, but for its escapes
            Err(_) => Ok(Self(None)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The cases that this crate and the JavaScript SDK share.
    #[derive(Deserialize)]
    struct Cases {
        visible: Vec<String>,
        invisible: Vec<String>,
    }

    #[test]
    fn what_can_be_seen_and_what_cannot_is_told_apart() {
        let cases: Cases = serde_json::from_str(include_str!("../../tests/text/visibility.json")).unwrap();
        assert!(cases.visible.len() > 8 && cases.invisible.len() > 8);
        for text in cases.visible {
            assert!(is_visible(&text), "{text:?}");
        }
        for text in cases.invisible {
            assert!(!is_visible(&text), "{text:?}");
        }
    }

    #[test]
    fn half_a_character_is_told_from_what_is_no_text() {
        let text = |json: &str| serde_json::from_str::<Text>(json).map(|text| text.0);
        assert_eq!(text(r#""a\ud83d\ude00""#).unwrap().as_deref(), Some("a😀"));
        for half in [r#""\ud83d""#, r#""a\ude00b""#, r#""\ud83d\n""#, r#""\ud83d\ud83d\ude00""#] {
            assert_eq!(text(half).unwrap(), None, "{half}");
        }
        for bad in ["5", "[]", "\"a\nb\"", r#""\x""#, r#""\ud8""#, "\"a"] {
            assert!(text(bad).is_err(), "{bad}");
        }
    }
}
