//! The domain of the messenger: its types, its rules, and the ports that it needs of a store. No SQL, no HTTP.

/// Declares an enum whose variants have one word each, in the database and in JSON.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
        pub enum $name {
            $($(#[$variant_doc])* #[serde(rename = $text)] $variant,)+
        }

        impl $name {
            /// Its word.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }

            /// The one with this word.
            pub fn stored(text: &str) -> Option<Self> {
                match text {
                    $($text => Some(Self::$variant),)+
                    _ => None,
                }
            }
        }
    };
}

pub mod access_token;
pub mod account;
pub mod account_store;
pub mod accounts;
pub mod change;
pub mod channels;
pub mod contact;
pub mod contacts;
pub mod directs;
mod draft;
mod ended_sessions;
mod fresh;
pub mod group;
pub mod group_id;
pub mod groups;
pub mod invite;
pub mod journal;
pub mod mail;
pub mod memberships;
pub mod message;
pub mod outbox;
mod password_hasher;
pub mod person;
pub mod rank;
pub mod recording;
pub mod registry;
pub mod room;
pub mod secret_token;
pub mod session;
pub mod sight;
mod sign_in_limits;
mod wording;

/// The database did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// It cannot be reached, is busy, full or starting: the same call may succeed later.
    #[error("the database cannot be used now: {0}")]
    Passing(String),
    /// It refuses this content. The same call fails again.
    #[error("the database refuses this: {0}")]
    Refused(String),
}
