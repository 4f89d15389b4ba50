//! New ids.

use std::time::{SystemTime, UNIX_EPOCH};

use hubbub_protocol::{RoomId, UnixMillis};

/// 48 bits of time, and 80 random bits: ids that were made one after the other lie together in an index.
pub(crate) fn new_bits() -> u128 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let millis = UnixMillis::try_from(now.as_millis()).unwrap_or_default();
    (u128::from(millis & 0xffff_ffff_ffff) << 80) | (rand::random::<u128>() >> 48)
}

/// A new room with members.
pub(crate) fn new_room() -> RoomId {
    RoomId::private(new_bits())
}
