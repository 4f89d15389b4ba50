//! Whether something grows, by samples of it. Pure.

use std::time::Duration;

/// Part of the samples that is warm-up and does not count.
const WARM_UP: f64 = 0.2;
/// Fewer samples than this prove nothing.
const ENOUGH: usize = 12;
/// Standard errors that a slope must lie above 0 to be more than noise.
const CLEAR: f64 = 4.0;

/// Samples of one quantity of one process.
#[derive(Clone, Debug, Default)]
pub struct Series {
    samples: Vec<(f64, f64)>,
}

/// The straight line through a series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trend {
    /// Mean of the samples.
    pub mean: f64,
    /// Change an hour.
    pub hourly: f64,
    /// Change over the time that was observed.
    pub rise: f64,
    /// Slope over its standard error.
    pub certainty: f64,
}

impl Series {
    /// One more sample.
    #[expect(clippy::as_conversions, clippy::cast_precision_loss, reason = "far below 2^53")]
    pub fn add(&mut self, at: Duration, value: u64) {
        self.samples.push((at.as_secs_f64(), value as f64));
    }

    /// The least-squares line after the first fifth; none if there are too few samples.
    pub fn trend(&self) -> Option<Trend> {
        let (first, last) = (self.samples.first()?.0, self.samples.last()?.0);
        let from = first + (last - first) * WARM_UP;
        let samples: Vec<_> = self.samples.iter().copied().filter(|(at, _)| *at >= from).collect();
        if samples.len() < ENOUGH {
            return None;
        }
        let count = f64::from(u32::try_from(samples.len()).ok()?);
        let mean_at = samples.iter().map(|(at, _)| at).sum::<f64>() / count;
        let mean = samples.iter().map(|(_, value)| value).sum::<f64>() / count;
        let spread = samples.iter().map(|(at, _)| (at - mean_at).powi(2)).sum::<f64>();
        let slope = samples.iter().map(|(at, value)| (at - mean_at) * (value - mean)).sum::<f64>() / spread;
        let rest = samples.iter().map(|(at, value)| (value - mean - slope * (at - mean_at)).powi(2)).sum::<f64>();
        let error = (rest / (count - 2.0) / spread).sqrt();
        // A perfect line has no error, and no line either if it is level.
        let certainty = if slope == 0.0 { 0.0 } else { slope / error };
        Some(Trend { mean, hourly: slope * 3600.0, rise: slope * (last - from), certainty })
    }
}

impl Trend {
    /// Whether it is more than noise, and rose by more than this over the time observed.
    pub fn grows_above(&self, bound: f64) -> bool {
        self.rise > bound && self.certainty > CLEAR
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Samples five seconds apart.
    fn series(value: impl Fn(u64) -> u64) -> Series {
        let mut series = Series::default();
        for n in 0..120 {
            series.add(Duration::from_secs(n * 5), value(n));
        }
        series
    }

    #[test]
    fn a_leak_is_seen_through_noise() {
        let trend = series(|n| 1000 + n * 10 + n * 7919 % 100).trend().unwrap();
        assert!((7100.0..7300.0).contains(&trend.hourly), "{trend:?}");
        assert!((900.0..1000.0).contains(&trend.rise) && trend.grows_above(500.0), "{trend:?}");
    }

    #[test]
    fn noise_and_a_warm_up_are_no_growth() {
        let trend = series(|n| if n < 20 { n * 50 } else { 1000 + n * 7919 % 100 }).trend().unwrap();
        assert!(!trend.grows_above(10.0), "{trend:?}");
        assert!(!series(|_| 5).trend().unwrap().grows_above(0.0));
    }

    #[test]
    fn too_few_samples_say_nothing() {
        let mut series = Series::default();
        assert_eq!(series.trend(), None);
        series.add(Duration::ZERO, 1);
        assert_eq!(series.trend(), None);
    }
}
