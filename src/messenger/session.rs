//! Sessions of accounts, and the rule by which their refresh tokens rotate.

use std::{fmt, str::FromStr, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hubbub_protocol::{InvalidId, SessionId, UnixMillis, UserId};
use ring::hmac;
use serde::Serialize;

use crate::secret_token::{InvalidToken, SecretToken, TokenHash};

/// A session ends when it was not used for so long.
pub const SESSION_LIFE: Duration = Duration::from_hours(30 * 24);
/// A younger refresh token is repeated. For so long its predecessor gets it too.
pub const REPEATED: Duration = Duration::from_mins(1);

/// Names a session in its refresh tokens. The session's id would not do: it stands in access tokens, and who knows it
/// must not be able to end the session.
pub const HANDLE_BYTES: usize = 16;

/// A refresh token: a handle that names the session, and the secret that is rotated.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RefreshToken {
    handle: [u8; HANDLE_BYTES],
    secret: SecretToken,
}

impl RefreshToken {
    /// The first one of a new session.
    pub fn random() -> Self {
        Self { handle: rand::random(), secret: SecretToken::random() }
    }

    /// The text that the client keeps. Pass it on; do not log or keep it.
    pub fn reveal(&self) -> String {
        let mut bytes = self.handle.to_vec();
        bytes.extend(self.secret.0);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Names the session.
    pub fn handle(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.handle)
    }

    /// What the database keeps of the secret.
    pub fn hash(&self) -> TokenHash {
        self.secret.hash()
    }

    /// The one that comes after it. Every instance makes the same: so two tabs that refresh at once get the same, and a
    /// lost answer can be repeated although no instance keeps the secret.
    fn successor(&self, key: &hmac::Key) -> Self {
        let tag = hmac::sign(key, &self.secret.0);
        let secret = tag.as_ref().try_into().map_or(self.secret, SecretToken);
        Self { handle: self.handle, secret }
    }
}

impl FromStr for RefreshToken {
    type Err = InvalidToken;

    fn from_str(text: &str) -> Result<Self, InvalidToken> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| InvalidToken)?;
        let (handle, secret) = bytes.split_at_checked(HANDLE_BYTES).ok_or(InvalidToken)?;
        let handle = handle.try_into().map_err(|_| InvalidToken)?;
        Ok(Self { handle, secret: SecretToken(secret.try_into().map_err(|_| InvalidToken)?) })
    }
}

impl fmt::Debug for RefreshToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(refresh token)")
    }
}

/// Which tokens of a session count, as the database has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// The hash of the current one.
    pub current: TokenHash,
    /// The hash of the one before.
    pub former: Option<TokenHash>,
    /// How long ago the current one was made.
    pub age: Duration,
}

/// What a refresh token gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// This one, and nothing changes.
    Repeat(RefreshToken),
    /// This one, if it becomes the current one now.
    Rotate(RefreshToken),
    /// Nothing: the token was replaced long ago, so somebody else has a copy. The session ends.
    End,
}

impl Rotation {
    /// What a token of this session gets. `key` makes successors.
    pub fn decide(&self, given: &RefreshToken, key: &hmac::Key) -> Decision {
        let hash = given.hash();
        let is_young = self.age < REPEATED;
        if hash == self.current {
            return if is_young { Decision::Repeat(*given) } else { Decision::Rotate(given.successor(key)) };
        }
        let successor = given.successor(key);
        if is_young && self.former.as_ref() == Some(&hash) && successor.hash() == self.current {
            return Decision::Repeat(successor);
        }
        Decision::End
    }
}

/// A new id of a session, or of a personal access token.
///
/// # Errors
///
/// Never: every such text is an id.
pub fn new_session_id() -> Result<SessionId, InvalidId> {
    UserId::of(rand::random()).as_str().parse()
}

/// A session that begins.
#[derive(Clone, Debug)]
pub struct NewSession {
    /// Its id.
    pub id: SessionId,
    /// Its first refresh token.
    pub refresh: RefreshToken,
    /// What the client calls itself.
    pub user_agent: String,
    /// Where it comes from.
    pub address: String,
}

/// A session, as its person sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SessionView {
    /// Its id.
    pub id: SessionId,
    /// What the client called itself at sign-in.
    pub user_agent: String,
    /// Where it came from.
    pub address: String,
    /// When it began.
    pub created_at: UnixMillis,
    /// When it was last used, to about an hour.
    pub used_at: UnixMillis,
}

/// Which sessions of an account end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// None of them.
    None,
    /// All of them.
    All,
    /// This one.
    One(SessionId),
    /// All others.
    AllBut(SessionId),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, &[7; 32])
    }

    fn rotation(current: &RefreshToken, former: Option<&RefreshToken>, seconds: u64) -> Rotation {
        let age = Duration::from_secs(seconds);
        Rotation { current: current.hash(), former: former.map(RefreshToken::hash), age }
    }

    #[test]
    fn a_young_token_is_repeated_and_an_older_one_rotates() {
        let token = RefreshToken::random();
        assert_eq!(rotation(&token, None, 59).decide(&token, &key()), Decision::Repeat(token));
        let next = token.successor(&key());
        assert_eq!(rotation(&token, None, 60).decide(&token, &key()), Decision::Rotate(next));
        assert_ne!(next, token);
        assert_eq!(next.handle(), token.handle());
    }

    #[test]
    fn the_predecessor_of_a_young_token_gets_it_and_anything_older_ends_the_session() {
        let first = RefreshToken::random();
        let second = first.successor(&key());
        let third = second.successor(&key());
        assert_eq!(rotation(&second, Some(&first), 59).decide(&first, &key()), Decision::Repeat(second));
        assert_eq!(rotation(&second, Some(&first), 60).decide(&first, &key()), Decision::End);
        assert_eq!(rotation(&third, Some(&second), 0).decide(&first, &key()), Decision::End);
        let foreign = RefreshToken { secret: SecretToken::random(), ..first };
        assert_eq!(rotation(&third, Some(&second), 0).decide(&foreign, &key()), Decision::End);
        // the key of successors was lost meanwhile: nobody gets a token that does not count
        let other = hmac::Key::new(hmac::HMAC_SHA256, &[8; 32]);
        assert_eq!(rotation(&second, Some(&first), 0).decide(&first, &other), Decision::End);
    }

    #[test]
    fn a_token_reads_back_and_shows_nothing() {
        let token = RefreshToken::random();
        assert_eq!(token.reveal().parse(), Ok(token));
        assert_eq!(format!("{token:?}"), "(refresh token)");
        for text in ["", "AAAA", &token.reveal()[1..], &format!("{}AA", token.reveal())] {
            assert_eq!(text.parse::<RefreshToken>(), Err(InvalidToken));
        }
    }
}
