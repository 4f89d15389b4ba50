//! Moves events of the log into the database, in order, each once.
//!
//! The cursor is a row of the database. A batch and the move of the cursor are one transaction, which does nothing if the
//! cursor is not where the recorder believes it to be. So each event is recorded once, whatever is killed, repeated or
//! running twice. The lease in the log keeps two recorders from doing the same work, and nothing relies on it.
//!
//! | module | what it decides |
//! |---|---|
//! | `standing` | whether to record: what log and row say together |
//! | `epochs` | whether the log still goes on from the cursor |
//! | `walk` | what the database takes |
//! | `events` | what becomes of an event of each kind |
//! | `outbox` | which events the log has to get again |
//! | `attempts` | how much to try at once after a failure |
//! | `task` | when |
//! | `restored` | what a database that was restored lacks |

mod answer;
mod attempts;
mod backoff;
mod epochs;
mod events;
mod options;
mod outbox;
mod outcome;
mod pruner;
mod recorder;
mod report;
mod restored;
mod source;
mod standing;
mod task;
#[cfg(test)]
mod tests;
mod walk;

pub use hubbub_messenger::recording::RecordingState;
pub use options::RecorderOptions;
pub use outbox::Outlet;
pub use recorder::Recorder;
pub use restored::{Restored, RestoredError, restored};
pub use source::Source;
