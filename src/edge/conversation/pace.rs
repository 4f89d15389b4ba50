//! How fast a client may send: publishes and other frames.

use std::{
    net::IpAddr,
    ops::ControlFlow,
    pin::Pin,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use hubbub_lifecycle::{Rate, TokenBucket, clock::millis};
use hubbub_protocol::{CloseReason, ErrorCode, Refusal, UserId};
use tokio::time::{Sleep, sleep};

use super::patience::Patience;
use crate::door::{Door, TooFast};

/// Rate limit for everything but publishes: `join`, `leave`, `typing` and `ping`, the ping and pong frames of WebSocket,
/// and frames that are refused.
pub(super) const CONTROL_RATE: Rate = Rate { per_second: 20.0, burst: 100.0 };

/// The limits of one connection. Its publishes also count for its person and its address.
pub(super) struct Pace<'a> {
    door: &'a Door,
    address: IpAddr,
    publish_patience: Patience,
    /// For [`CONTROL_RATE`].
    control_limit: TokenBucket,
    control_patience: Patience,
    /// Boxed: few connections pause.
    pause: Option<Pin<Box<Sleep>>>,
}

impl<'a> Pace<'a> {
    pub(super) fn new(door: &'a Door, address: IpAddr, now: Instant) -> Self {
        let (publish_patience, control_patience) = (Patience::default(), Patience::default());
        let control_limit = TokenBucket::new(CONTROL_RATE, now);
        Self { door, address, publish_patience, control_limit, control_patience, pause: None }
    }

    /// The client's address, as limits count it.
    pub(super) const fn address(&self) -> IpAddr {
        self.address
    }

    /// A frame was read. If the address sends too many, a pause begins.
    pub(super) fn count_frame(&mut self) {
        let pause = self.door.pause_after_frame(self.address, Instant::now());
        self.pause = (!pause.is_zero()).then(|| Box::pin(sleep(pause)));
    }

    /// Ready when the connection may be read.
    pub(super) fn poll_pause(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(pause) = &mut self.pause {
            ready!(pause.as_mut().poll(cx));
            self.pause = None;
        }
        Poll::Ready(())
    }

    /// Takes one frame from [`CONTROL_RATE`].
    pub(super) fn take_control(&mut self) -> Result<ControlFlow<CloseReason>, Refusal> {
        let now = Instant::now();
        match self.control_limit.take(now) {
            Ok(()) => self.control_patience.accept(),
            Err(_) if self.control_patience.refuse(CONTROL_RATE, now) => {
                return Ok(ControlFlow::Break(CloseReason::RateLimited));
            }
            Err(wait) => return Err(rate_limited(wait, "this connection sends too many frames")),
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Takes one publish from what the person and the address may publish. A client that keeps to its own limit is not
    /// closed for what others do at its address.
    pub(super) fn take_publish(&mut self, person: &UserId) -> Result<ControlFlow<CloseReason>, Refusal> {
        let now = Instant::now();
        match self.door.take_publish(person, self.address, now) {
            Ok(()) => self.publish_patience.accept(),
            Err(TooFast::Person(_)) if self.publish_patience.refuse(self.door.publish_rate(), now) => {
                return Ok(ControlFlow::Break(CloseReason::RateLimited));
            }
            Err(TooFast::Person(wait)) => return Err(rate_limited(wait, "this session publishes too much")),
            Err(TooFast::Address(wait)) => {
                // The next token of the address may come sooner. A client that came back for it at once would use up its
                // own limit, and be closed although it does what it is told.
                let own =
                    Duration::try_from_secs_f64(1.0 / self.door.publish_rate().per_second).unwrap_or(Duration::MAX);
                return Err(rate_limited(wait.max(own), "this address publishes too much"));
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}

/// The refusal of a frame that comes this much too early.
fn rate_limited(wait: Duration, cause: &str) -> Refusal {
    let refusal = Refusal::new(ErrorCode::RateLimited, format!("{cause}: this frame was not processed"));
    refusal.retry_after_ms(millis(wait).saturating_add(1))
}
