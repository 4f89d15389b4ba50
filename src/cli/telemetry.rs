//! The log lines of the process, and the recorder of its metrics.

use std::{io, time::Duration};

use hubbub_lifecycle::metric;
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tracing::{Level, Metadata};
use tracing_subscriber::{
    EnvFilter, Layer as _,
    filter::{FilterFn, ParseError, filter_fn},
    fmt,
    layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

/// Upper bounds of the buckets of the latency histograms, in seconds.
const BUCKETS: [f64; 15] =
    [0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];
/// How often the recorder merges the samples of its histograms into the buckets.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// Writes log lines for people to standard error. A terminal or a pipe that was closed is no reason to panic.
///
/// # Errors
///
/// The filter cannot be parsed.
pub(crate) fn log_pretty(filter: &str) -> Result<(), ParseError> {
    let lines = fmt::layer()
        .with_writer(io::stderr)
        .log_internal_errors(false)
        .with_target(false)
        .with_filter(without_frames());
    tracing_subscriber::registry().with(EnvFilter::try_new(filter)?).with(lines).init();
    Ok(())
}

/// Writes log lines to standard error, one JSON object per line.
///
/// # Errors
///
/// The filter cannot be parsed.
pub(crate) fn log_json(filter: &str) -> Result<(), ParseError> {
    let lines = fmt::layer().json().with_writer(io::stderr).log_internal_errors(false).with_filter(without_frames());
    tracing_subscriber::registry().with(EnvFilter::try_new(filter)?).with(lines).init();
    Ok(())
}

/// The WebSocket library logs whole frames at TRACE, with the secrets in them. So nothing of it below INFO is written,
/// whatever `--log` says.
fn without_frames() -> FilterFn<impl Fn(&Metadata<'_>) -> bool> {
    filter_fn(|metadata| *metadata.level() <= Level::INFO || !metadata.target().starts_with("tungstenite"))
}

/// Installs the recorder; the handle renders the metrics. Call it once, before any metric is used.
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

/// Runs the upkeep of the recorder, without end. Otherwise its memory grows until the next scrape.
pub(crate) async fn maintain(handle: PrometheusHandle) -> ! {
    let mut tick = tokio::time::interval(UPKEEP_INTERVAL);
    loop {
        tick.tick().await;
        handle.run_upkeep();
    }
}
