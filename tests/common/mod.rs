//! What the integration tests share: many clients at once, and one connection frame by frame.
#![allow(clippy::allow_attributes, reason = "the next line")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::excessive_nesting,
    reason = "a step that fails should fail the test"
)]
#![allow(dead_code, reason = "each test file is a crate of its own and uses its part")]

pub(crate) mod crowd;
pub(crate) mod frames;
