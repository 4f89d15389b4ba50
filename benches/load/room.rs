//! The names of the rooms.

/// The name of a room, by its number.
pub(crate) fn name(room: u32) -> String {
    format!("load-{room}")
}
