//! Random secrets that a person is given once, and of which the database keeps only a hash.

use std::{fmt, str::FromStr};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};

/// 256 random bits: 43 characters of base64url. `Debug` does not show them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SecretToken(pub(crate) [u8; 32]);

/// The SHA-256 of a secret, as the database keeps it. Of 256 random bits it tells nothing.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TokenHash(String);

impl SecretToken {
    /// A new secret, from a cryptographic generator.
    pub fn random() -> Self {
        Self(rand::random())
    }

    /// The text that a person is given. Pass it on; do not log or keep it.
    pub fn reveal(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }

    /// What the database keeps of it.
    pub fn hash(&self) -> TokenHash {
        TokenHash(URL_SAFE_NO_PAD.encode(Sha256::digest(self.0)))
    }
}

impl FromStr for SecretToken {
    type Err = InvalidToken;

    fn from_str(text: &str) -> Result<Self, InvalidToken> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| InvalidToken)?;
        bytes.try_into().map(Self).map_err(|_| InvalidToken)
    }
}

impl fmt::Debug for SecretToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

impl TokenHash {
    /// As the database has it.
    pub fn stored(text: String) -> Self {
        Self(text)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A text is no token of this server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no token of this server")]
pub struct InvalidToken;
