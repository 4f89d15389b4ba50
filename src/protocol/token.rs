//! The token by which a person with an account is known.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Serialize, Serializer};

/// The most bytes of a token.
const MAX_BYTES: usize = 8 * 1024;

/// An access token. Only the server that issued it can read it. It must never be logged, so `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
#[cfg_attr(test, derive(ts_rs::TS), ts(type = "string"))]
pub struct AccessToken(Arc<str>);

/// A text that no access token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an access token is up to {MAX_BYTES} bytes of ASCII without blanks")]
pub struct InvalidAccessToken;

impl AccessToken {
    /// The text. Check it; do not log or print it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl FromStr for AccessToken {
    type Err = InvalidAccessToken;

    fn from_str(text: &str) -> Result<Self, InvalidAccessToken> {
        let is_token = (1..=MAX_BYTES).contains(&text.len()) && text.bytes().all(|c| c.is_ascii_graphic());
        is_token.then(|| Self(text.into())).ok_or(InvalidAccessToken)
    }
}

impl Serialize for AccessToken {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccessToken(hidden)")
    }
}
