//! Names and texts that people give to rooms and groups.

use hubbub_protocol::UserName;

use crate::change::{FieldError, Refused};

/// The longest topic or description, in characters.
const MAX_TEXT_CHARS: usize = 1000;

/// What is wrong with the fields of one call.
#[derive(Debug, Default)]
pub(crate) struct Wording {
    errors: Vec<FieldError>,
}

impl Wording {
    /// A name as people have it: 1 to 64 characters.
    pub(crate) fn name(&mut self, field: &'static str, text: &str) -> String {
        match text.parse::<UserName>() {
            Ok(name) => name.as_str().to_owned(),
            Err(error) => {
                self.errors.push(FieldError { field, code: "invalid_name", detail: error.to_string() });
                String::new()
            }
        }
    }

    /// A text of several lines, which may be empty.
    pub(crate) fn text(&mut self, field: &'static str, text: &str) -> String {
        let forbidden = |c: char| c.is_control() && c != '\n';
        if text.chars().count() > MAX_TEXT_CHARS || text.chars().any(forbidden) {
            let detail =
                format!("a text has at most {MAX_TEXT_CHARS} characters and no control characters but line feeds");
            self.errors.push(FieldError { field, code: "invalid_text", detail });
        }
        text.trim().to_owned()
    }

    /// An error if a field was wrong.
    pub(crate) fn finish(self) -> Result<(), Refused> {
        if self.errors.is_empty() { Ok(()) } else { Err(Refused::Invalid(self.errors)) }
    }
}
