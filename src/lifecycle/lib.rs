//! How the tasks of a process start, are supervised and stop, and the few things that every part of it shares: bounds
//! for each key, the clock, secrets, the names of metrics.

pub mod clock;
pub mod metric;
mod quota;
mod secret;
mod shutdown;

pub use quota::{Permit, Quota};
pub use secret::Secret;
pub use shutdown::Shutdown;
