//! Access tokens: JWTs of 15 minutes, signed with a key that all instances share.

mod cryptography;

use std::{
    collections::HashMap,
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hubbub_protocol::{SessionId, UserId, UserName};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, decode_header, encode};
use ring::{
    hmac,
    rand::SystemRandom,
    signature::{Ed25519KeyPair, KeyPair},
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub(crate) use self::cryptography::install as install_cryptography;

/// How long an access token counts.
pub const TOKEN_LIFE: Duration = Duration::from_mins(15);
/// By how much the clocks of two instances may differ.
pub const LEEWAY: Duration = Duration::from_mins(1);
/// Who issues our tokens.
const ISSUER: &str = "hubbub";

/// A token is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenRefusal {
    /// It is none of ours, or its session has ended.
    #[error("the access token is not valid")]
    Invalid,
    /// Its time is over.
    #[error("the access token has expired")]
    Expired,
    /// It is signed with a key that this process does not know: perhaps another instance has made it lately.
    #[error("the access token is signed with an unknown key")]
    UnknownKey,
}

/// What an access token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessClaims {
    /// The account.
    pub account: UserId,
    /// Its session.
    pub session: SessionId,
    /// The name that the account had when the token was made.
    pub name: UserName,
}

#[derive(Serialize, Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    sid: SessionId,
    name: UserName,
    iat: u64,
    exp: u64,
}

/// A key that signs access tokens.
#[derive(Clone)]
pub struct SigningKey {
    id: String,
    signs: EncodingKey,
    verifies: DecodingKey,
}

/// A file or a row has no key that can sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected an Ed25519 key in PKCS #8, as `openssl genpkey -algorithm ed25519` makes it")]
pub struct InvalidKey;

impl SigningKey {
    /// A new key, as PKCS #8 in base64url: it is kept in the database.
    ///
    /// # Errors
    ///
    /// The system has no random numbers.
    pub fn generate() -> Result<String, InvalidKey> {
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| InvalidKey)?;
        Ok(URL_SAFE_NO_PAD.encode(document.as_ref()))
    }

    /// A key of the database.
    ///
    /// # Errors
    ///
    /// It is no Ed25519 key.
    pub fn stored(text: &str) -> Result<Self, InvalidKey> {
        Self::from_pkcs8(&URL_SAFE_NO_PAD.decode(text).map_err(|_| InvalidKey)?)
    }

    /// The keys of a file, in PEM: the first one signs.
    ///
    /// # Errors
    ///
    /// There is none, or one of them is no Ed25519 key.
    pub fn from_pem(text: &str) -> Result<Vec<Self>, InvalidKey> {
        const END: &str = "-----END PRIVATE KEY-----";
        let blocks = text.split_inclusive(END).filter(|block| block.contains(END));
        let one = |block: &str| {
            let key = EncodingKey::from_ed_pem(block.trim().as_bytes()).map_err(|_| InvalidKey)?;
            Self::from_pkcs8(key.as_bytes())
        };
        let keys = blocks.map(one).collect::<Result<Vec<_>, _>>()?;
        if keys.is_empty() { Err(InvalidKey) } else { Ok(keys) }
    }

    fn from_pkcs8(der: &[u8]) -> Result<Self, InvalidKey> {
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).map_err(|_| InvalidKey)?;
        let public = pair.public_key().as_ref();
        let digest = Sha256::digest(public);
        let id = URL_SAFE_NO_PAD.encode(digest.get(..8).unwrap_or_default());
        Ok(Self { id, signs: EncodingKey::from_ed_der(der), verifies: DecodingKey::from_ed_der(public) })
    }

    /// Its name, which stands in each token.
    pub fn id(&self) -> &str {
        &self.id
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// The secrets that all instances share.
#[derive(Clone)]
pub struct Keys {
    signs: SigningKey,
    verify: HashMap<String, DecodingKey>,
    /// Makes the successors of refresh tokens.
    pub(crate) successors: hmac::Key,
    /// Signs what only this server reads again: the cookie of a browser that has signed in, and the set-up link.
    pub(crate) marks: hmac::Key,
}

impl Keys {
    /// The keys of a deployment. The first of `signing` signs; tokens of all of them count.
    ///
    /// # Errors
    ///
    /// There is no key that signs.
    pub fn new(signing: &[SigningKey], secret: &[u8]) -> Result<Self, InvalidKey> {
        install_cryptography();
        let signs = signing.first().ok_or(InvalidKey)?.clone();
        let verify = signing.iter().map(|key| (key.id.clone(), key.verifies.clone())).collect();
        let derived = |purpose: &[u8]| {
            let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), purpose);
            hmac::Key::new(hmac::HMAC_SHA256, tag.as_ref())
        };
        Ok(Self { signs, verify, successors: derived(b"successors"), marks: derived(b"marks") })
    }

    /// A token of this session, and when it expires, in seconds since 1970.
    ///
    /// # Errors
    ///
    /// The key cannot sign.
    pub fn issue(&self, claims: &AccessClaims) -> Result<(String, u64), InvalidKey> {
        let now = unix_seconds();
        let exp = now + TOKEN_LIFE.as_secs();
        let header = Header { kid: Some(self.signs.id.clone()), ..Header::new(Algorithm::EdDSA) };
        let claims = Claims {
            iss: ISSUER.to_owned(),
            sub: claims.account.as_str().to_owned(),
            sid: claims.session.clone(),
            name: claims.name.clone(),
            iat: now,
            exp,
        };
        encode(&header, &claims, &self.signs.signs).map(|token| (token, exp)).map_err(|_| InvalidKey)
    }

    /// What a token says, if it is one of ours and its time is not over.
    ///
    /// # Errors
    ///
    /// Why it does not count.
    pub fn verify(&self, token: &str) -> Result<AccessClaims, TokenRefusal> {
        let header = decode_header(token).map_err(|_| TokenRefusal::Invalid)?;
        if header.alg != Algorithm::EdDSA {
            return Err(TokenRefusal::Invalid);
        }
        let key = header.kid.as_ref().and_then(|id| self.verify.get(id)).ok_or(TokenRefusal::UnknownKey)?;
        let mut rules = Validation::new(Algorithm::EdDSA);
        rules.set_issuer(&[ISSUER]);
        rules.set_required_spec_claims(&["exp", "iss", "sub"]);
        rules.leeway = LEEWAY.as_secs();
        rules.validate_nbf = true;
        let claims = decode::<Claims>(token, key, &rules).map_err(|error| refusal(&error))?.claims;
        if claims.iat > unix_seconds() + LEEWAY.as_secs() {
            return Err(TokenRefusal::Invalid);
        }
        let account = UserId::stored(&claims.sub).ok_or(TokenRefusal::Invalid)?;
        Ok(AccessClaims { account, session: claims.sid, name: claims.name })
    }
}

fn refusal(error: &jsonwebtoken::errors::Error) -> TokenRefusal {
    match error.kind() {
        jsonwebtoken::errors::ErrorKind::ExpiredSignature => TokenRefusal::Expired,
        _ => TokenRefusal::Invalid,
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").field("signs", &self.signs).finish_non_exhaustive()
    }
}

pub(crate) fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests;
