//! Links into a group.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hubbub_protocol::{UnixMillis, UserId};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::group_id::GroupId;

/// A link into a group, without its token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Invite {
    /// Names it for those who lead the group.
    pub id: String,
    /// The group.
    pub group: GroupId,
    /// When it ends.
    pub expires_at: UnixMillis,
    /// How many may still come by it. None: as many as there are.
    pub uses_left: Option<u64>,
    /// Who has made it.
    pub created_by: UserId,
}

impl Invite {
    /// Whether somebody may come by it now.
    pub fn is_open(&self, now: UnixMillis) -> bool {
        self.expires_at > now && self.uses_left != Some(0)
    }
}

/// A new token: 256 random bits in base64url.
pub(crate) fn token() -> String {
    URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>())
}

/// What the database keeps of a token: its SHA-256 in base64url. The token cannot be found by it.
pub fn hash(token: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(token))
}
