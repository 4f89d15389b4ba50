//! How long a client may go on too fast.

use std::time::{Duration, Instant};

use hubbub_lifecycle::Rate;

/// For this long more frames of a client may be refused than accepted. Then it is closed.
const PATIENCE: Duration = Duration::from_secs(10);
/// A pause of this length between two refusals ends the count. So does this much time at the allowed rate.
const RESPITE: Duration = Duration::from_secs(2);

/// Compares how many frames were refused with how many were accepted.
#[derive(Debug, Default)]
pub(super) struct Patience(Option<Excess>);

#[derive(Debug)]
struct Excess {
    began: Instant,
    refused_at: Instant,
    /// Refused frames minus accepted ones, at most what the rate accepts in [`RESPITE`]. At 0 the count ends.
    frames: f64,
}

impl Patience {
    /// A frame was accepted.
    pub(super) fn accept(&mut self) {
        if let Some(excess) = &mut self.0 {
            excess.frames -= 1.0;
            if excess.frames < 1.0 {
                self.0 = None;
            }
        }
    }

    /// A frame was refused, because it was above this rate. Returns true if the client must be closed.
    pub(super) fn refuse(&mut self, rate: Rate, now: Instant) -> bool {
        let most = (rate.per_second * RESPITE.as_secs_f64()).max(2.0);
        let before = self.0.take().filter(|excess| now.saturating_duration_since(excess.refused_at) < RESPITE);
        let (began, frames) = before.map_or((now, 0.0), |excess| (excess.began, excess.frames));
        self.0 = Some(Excess { began, refused_at: now, frames: (frames + 1.0).min(most) });
        now.saturating_duration_since(began) >= PATIENCE
    }
}

#[cfg(test)]
mod tests {
    use hubbub_lifecycle::TokenBucket;
    use proptest::prelude::*;

    use super::*;

    /// Sends frames after these pauses. Returns when the client is closed, if it is.
    fn closed_after(rate: Rate, pauses: impl IntoIterator<Item = Duration>) -> Option<Duration> {
        let start = Instant::now();
        let (mut bucket, mut patience, mut now) = (TokenBucket::new(rate, start), Patience::default(), start);
        for pause in pauses {
            now += pause;
            if bucket.take(now).is_ok() {
                patience.accept();
            } else if patience.refuse(rate, now) {
                return Some(now - start);
            }
        }
        None
    }

    /// A minute of frames at `speed` times the rate. Each pause is changed by up to a fifth.
    fn minute(rate: Rate, speed: f64, jitter: &[f64]) -> Vec<Duration> {
        let pause = 1.0 / (rate.per_second * speed);
        let pauses = jitter.iter().cycle().map(|part| Duration::from_secs_f64(pause * (0.8 + part * 0.4)));
        let mut total = Duration::ZERO;
        pauses
            .take_while(|pause| {
                total += *pause;
                total < Duration::from_mins(1)
            })
            .collect()
    }

    proptest! {
        #[test]
        fn a_client_up_to_half_too_fast_is_never_closed_even_after_a_flood(
            per_second in 1.0..200.0_f64, burst in 2.0..200.0_f64, speed in 0.5..1.2_f64, flood in 0..2000_usize,
            jitter in prop::collection::vec(0.0..1.0_f64, 1..50),
        ) {
            let rate = Rate { per_second, burst };
            let frames = vec![Duration::ZERO; flood].into_iter().chain(minute(rate, speed, &jitter));
            prop_assert_eq!(closed_after(rate, frames), None);
        }

        #[test]
        fn a_client_three_times_too_fast_is_closed_after_ten_seconds(
            per_second in 1.0..200.0_f64, burst in 1.0..200.0_f64, speed in 3.0..20.0_f64,
            jitter in prop::collection::vec(0.0..1.0_f64, 1..50),
        ) {
            let rate = Rate { per_second, burst };
            let frames = vec![Duration::ZERO; 200].into_iter().chain(minute(rate, speed, &jitter));
            let closed = closed_after(rate, frames).unwrap();
            prop_assert!((PATIENCE..PATIENCE + RESPITE).contains(&closed), "{closed:?}");
        }
    }

    #[test]
    fn a_client_that_is_one_percent_too_fast_for_an_hour_is_not_closed() {
        let rate = Rate { per_second: 50.0, burst: 100.0 };
        let frames = vec![Duration::from_secs_f64(1.0 / 50.5); 50 * 3600];
        assert_eq!(closed_after(rate, frames), None);
    }

    #[test]
    fn a_client_that_pauses_between_refusals_is_not_closed() {
        let rate = Rate { per_second: 0.1, burst: 1.0 };
        assert_eq!(closed_after(rate, vec![Duration::from_secs(3); 200]), None);
    }
}
