//! People with an account: what they are called, and what a name, an address and a password have to be.

use std::{fmt, str::FromStr};

use hubbub_protocol::{UnixMillis, User, UserId, UserName};
use uuid::Uuid;

/// The fewest characters of a password.
const MIN_PASSWORD_CHARS: usize = 8;
/// The most bytes of a password: hashing reads all of them.
const MAX_PASSWORD_BYTES: usize = 1024;
/// The most characters of what a person says about itself.
const MAX_ABOUT_CHARS: usize = 500;
/// The most bytes of a mail address (RFC 5321).
const MAX_MAIL_BYTES: usize = 254;

/// One field of a request that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {detail}")]
pub struct InvalidField {
    /// The field, as the request names it.
    pub field: &'static str,
    /// The rule, for programs.
    pub code: &'static str,
    /// The rule, in English.
    pub detail: &'static str,
}

/// Names an account at sign-in: `[a-z0-9][a-z0-9._-]{1,31}`. Only ASCII, so that no other letter can look like one of
/// it; capitals are folded. It is never given to anybody else.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Username(String);

impl Username {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Username {
    type Err = InvalidField;

    fn from_str(text: &str) -> Result<Self, InvalidField> {
        let folded = text.trim().to_ascii_lowercase();
        let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
        let is_valid = (2..=32).contains(&folded.len())
            && folded.bytes().next().is_some_and(plain)
            && folded.bytes().all(|c| plain(c) || matches!(c, b'.' | b'_' | b'-'));
        is_valid.then_some(Self(folded)).ok_or(InvalidField {
            field: "username",
            code: "invalid_username",
            detail: "a username is 2 to 32 characters of a-z, 0-9, '.', '_' and '-', and starts with a letter or digit",
        })
    }
}

impl fmt::Display for Username {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name under which other people see an account. It is free and not unique; but it has no `@`, nor a character that
/// looks like one: pages show usernames as `@ann`, and no name can pose as one.
///
/// # Errors
///
/// What is wrong with it.
pub fn display_name(text: &str) -> Result<UserName, InvalidField> {
    const LIKE_AT: [char; 3] = ['@', '\u{fe6b}', '\u{ff20}'];
    let invalid = |detail| InvalidField { field: "name", code: "invalid_name", detail };
    if text.contains(LIKE_AT) {
        return Err(invalid("a name has no @: it marks usernames"));
    }
    text.parse().map_err(|_| invalid("a name is 1 to 64 characters, some of them visible, without control characters"))
}

/// What a person says about itself.
///
/// # Errors
///
/// It is too long, or cannot be stored.
pub fn about(text: &str) -> Result<String, InvalidField> {
    let is_valid = text.chars().count() <= MAX_ABOUT_CHARS && !text.contains('\0');
    let detail = "this text is at most 500 characters, without U+0000";
    is_valid.then(|| text.trim().to_owned()).ok_or(InvalidField { field: "about", code: "invalid_about", detail })
}

/// A mail address, in lower case.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct MailAddress(String);

impl MailAddress {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for MailAddress {
    type Err = InvalidField;

    fn from_str(text: &str) -> Result<Self, InvalidField> {
        let folded = text.trim().to_ascii_lowercase();
        let is_part = |part: &str| {
            !part.is_empty()
                && part.bytes().all(|c| c.is_ascii_graphic() && !matches!(c, b'@' | b'<' | b'>' | b'"' | b',' | b';'))
        };
        let is_valid = folded.len() <= MAX_MAIL_BYTES
            && folded.split_once('@').is_some_and(|(local, domain)| is_part(local) && is_part(domain));
        is_valid.then_some(Self(folded)).ok_or(InvalidField {
            field: "email",
            code: "invalid_email",
            detail: "a mail address looks like ann@example.com",
        })
    }
}

impl fmt::Debug for MailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(mail address)")
    }
}

/// A password as a person typed it. `Debug` does not show it.
#[derive(Clone)]
pub struct Password(String);

impl Password {
    /// One that a person chose for the account of this name.
    ///
    /// # Errors
    ///
    /// It is too short, too long, or the username itself.
    pub fn chosen(text: &str, username: &Username) -> Result<Self, InvalidField> {
        let invalid = |detail| InvalidField { field: "password", code: "invalid_password", detail };
        if text.chars().count() < MIN_PASSWORD_CHARS || text.len() > MAX_PASSWORD_BYTES {
            return Err(invalid("a password has at least 8 characters and at most 1024 bytes"));
        }
        if text.eq_ignore_ascii_case(username.as_str()) {
            return Err(invalid("the password must not be the username"));
        }
        Ok(Self(text.to_owned()))
    }

    /// One that is compared with a hash. What nobody could have chosen is cut: it is wrong in the usual time.
    pub fn given(text: &str) -> Self {
        let end = (0..=MAX_PASSWORD_BYTES + 1).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        Self(text.get(..end).unwrap_or(text).to_owned())
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(password)")
    }
}

/// A new id of an account: 128 bits that grow with time.
pub fn new_account_id() -> UserId {
    UserId::of(Uuid::now_v7().as_u128())
}

/// An account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its id.
    pub id: UserId,
    /// What it signs in with.
    pub username: String,
    /// What others see.
    pub name: UserName,
    /// What the person says about itself.
    pub about: String,
    /// Its mail address, once that is verified.
    pub email: Option<String>,
    /// Whether it may do what administrators may.
    pub administrator: bool,
    /// Whether it may sign in.
    pub state: AccountState,
    /// When it was made.
    pub created_at: UnixMillis,
}

impl Account {
    /// The account as the sender of messages.
    pub fn user(&self) -> User {
        User { id: self.id.clone(), name: self.name.clone() }
    }
}

/// Whether an account can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccountState {
    /// It can.
    Active,
    /// An administrator has closed it. It can be opened again.
    Disabled,
    /// Its person has deleted it. Only the username stays, so that nobody gets it.
    Deleted,
}

impl AccountState {
    /// Its name in the database.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Disabled => "disabled",
            Self::Deleted => "deleted",
        }
    }

    /// The state of this name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Active, Self::Disabled, Self::Deleted].into_iter().find(|state| state.name() == name)
    }
}

/// What an account signs in with.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Login {
    /// Its username.
    Username(Username),
    /// Its verified mail address.
    Mail(MailAddress),
}

impl Login {
    /// Reads what a person typed. None: no account can have it.
    pub fn read(text: &str) -> Option<Self> {
        if text.contains('@') { text.parse().map(Self::Mail).ok() } else { text.parse().map(Self::Username).ok() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_username_is_ascii_and_folded() {
        for (text, username) in [("ann", "ann"), (" Ann ", "ann"), ("0x", "0x"), ("a.b_c-d", "a.b_c-d")] {
            assert_eq!(text.parse::<Username>().unwrap().as_str(), username);
        }
        // among them: a Cyrillic а, a dotless ı, a full-width ａ, a zero width space
        let long = "a".repeat(33);
        for text in
            ["", "a", ".ann", "-ann", "ann!", "an n", "\u{430}nn", "ann\u{131}", "\u{ff41}nn", "an\u{200b}n", &long]
        {
            assert_eq!(text.parse::<Username>().unwrap_err().code, "invalid_username", "{text}");
        }
    }

    #[test]
    fn no_name_can_pose_as_a_username() {
        for name in ["Ann", "ann", "Аnn", "Ann B. 😀"] {
            assert!(display_name(name).is_ok(), "{name}");
        }
        for name in ["@ann", "Ann @ann", "\u{ff20}ann", "\u{fe6b}ann", "", "a\u{202e}b"] {
            assert_eq!(display_name(name).unwrap_err().code, "invalid_name", "{name}");
        }
    }

    #[test]
    fn a_mail_address_is_folded_and_one_address() {
        assert_eq!(" Ann@Example.COM".parse::<MailAddress>().unwrap().as_str(), "ann@example.com");
        for text in ["", "ann", "@b", "a@", "a@b@c", "a b@c", "a@b,c@d", "a@b\r\nBcc: x", "a@<b>", "ä@b"] {
            assert!(text.parse::<MailAddress>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_password_is_neither_short_nor_the_username() {
        let username = "ann-the-first".parse().unwrap();
        for text in ["1234567", "ANN-the-first", &"x".repeat(1025)] {
            assert!(Password::chosen(text, &username).is_err(), "{text:.20}");
        }
        assert!(!format!("{:?}", Password::chosen("sesame-open", &username).unwrap()).contains("sesame"));
        assert_eq!(Password::given(&"é".repeat(2000)).bytes().len(), 1024);
    }
}
