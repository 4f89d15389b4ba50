//! What the process tells about itself: its log lines, and the recorder of its metrics.

use std::{io, time::Duration};

use hubbub_lifecycle::metric;
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::{EnvFilter, filter::ParseError};

/// Upper bounds of the latency histograms' buckets, in seconds.
const BUCKETS: [f64; 15] =
    [0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];
/// How often the recorder tidies up its histograms.
const UPKEEP: Duration = Duration::from_secs(5);

/// Logs to standard error, for people.
///
/// # Errors
///
/// The filter cannot be read.
pub(crate) fn log_pretty(filter: &str) -> Result<(), ParseError> {
    tracing_subscriber::fmt().with_env_filter(env_filter(filter)?).with_writer(io::stderr).with_target(false).init();
    Ok(())
}

/// Logs to standard error, one JSON object a line.
///
/// # Errors
///
/// The filter cannot be read.
pub(crate) fn log_json(filter: &str) -> Result<(), ParseError> {
    tracing_subscriber::fmt().with_env_filter(env_filter(filter)?).with_writer(io::stderr).json().init();
    Ok(())
}

/// The codec logs whole frames at its finest level, secrets in them included: it never gets there.
fn env_filter(filter: &str) -> Result<EnvFilter, ParseError> {
    Ok(EnvFilter::try_new(filter)?.add_directive("tungstenite=info".parse()?))
}

/// Installs the recorder. The handle renders what it has. Call once, before any metric is touched.
///
/// # Errors
///
/// A recorder is installed already.
pub(crate) fn install_metrics() -> Result<PrometheusHandle, BuildError> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &BUCKETS)?
        .install_recorder()?;
    metric::describe();
    Ok(handle)
}

/// Keeps the recorder tidy, for as long as the process serves.
pub(crate) async fn keep_tidy(handle: PrometheusHandle) -> ! {
    let mut tick = tokio::time::interval(UPKEEP);
    loop {
        tick.tick().await;
        handle.run_upkeep();
    }
}
