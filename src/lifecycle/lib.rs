//! What every part of a Hubbub process shares: how tasks start, are supervised and stop; quotas and rates; the clock; secrets;
//! throttled log lines; the metrics.

pub mod clock;
pub mod metric;
mod quota;
mod rate;
mod secret;
mod shutdown;
mod throttle;

pub use quota::{Permit, Quota};
pub use rate::{Buckets, Rate, TokenBucket};
pub use secret::{RotatingSecret, Secret, SecretSource};
pub use shutdown::Shutdown;
pub use throttle::Throttle;
