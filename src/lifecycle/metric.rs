//! The names of the metrics, with their units and meanings.
//!
//! Hot paths never look a metric up: they hold the handle.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// Gauge: WebSocket connections of this instance.
pub const CONNECTIONS: &str = "hubbub_connections";
/// Gauge: connections that read the ring because they resume or are slow.
pub const CATCHING_UP: &str = "hubbub_connections_catching_up";
/// Counter: frames received from clients.
pub const FRAMES_IN: &str = "hubbub_frames_in_total";
/// Counter: frames of the log written to clients, live or catching up. Replies are not counted.
pub const FRAMES_OUT: &str = "hubbub_frames_out_total";
/// Counter: their bytes.
pub const BYTES_OUT: &str = "hubbub_bytes_out_total";
/// Counter, label `code`: closes decided or answered here.
pub const CLOSES: &str = "hubbub_closes_total";
/// Counter, label `code`: frames refused with an `error`.
pub const REFUSALS: &str = "hubbub_refusals_total";
/// Histogram: from accepting a publish to its ack.
pub const PUBLISH_LATENCY: &str = "hubbub_publish_latency_seconds";
/// Histogram: from the accepting instance's clock to the end of this instance's fan-out.
pub const DELIVERY_LATENCY: &str = "hubbub_delivery_latency_seconds";
/// Histogram: a probe through the channel and back.
pub const RELAY_ROUND_TRIP: &str = "hubbub_relay_round_trip_seconds";
/// Gauge: 1 while the relay is live, 0 while it is degraded.
pub const RELAY_LIVE: &str = "hubbub_relay_live";
/// Gauge: messages that the log had more than this instance when the last sync was walked; 0 at the end of the log. Of
/// those that stand in front of a marker not walked yet, it counts the marker only.
pub const RELAY_BEHIND: &str = "hubbub_relay_behind_messages";
/// Gauge: 1 while `/health/ready` answers 200, 0 while it answers 503.
pub const READY: &str = "hubbub_ready";
/// Gauge: publishes that wait for their place in the log, asked each half second.
pub const RELAY_PENDING: &str = "hubbub_relay_pending_messages";
/// Counter: gaps in the channel, each counted once, that the log was asked to fill.
pub const RELAY_GAPS: &str = "hubbub_relay_gaps_total";
/// Counter: gaps that the log could not fill; each resets the connections of this instance.
pub const RELAY_HOLES: &str = "hubbub_relay_holes_total";
/// Counter: messages that the log lost and this instance held, to be offered again. Every instance counts what it holds.
pub const RELAY_REOFFERED: &str = "hubbub_relay_reoffered_total";
/// Counter: messages dropped because they had been walked already.
pub const RELAY_DUPLICATES: &str = "hubbub_relay_duplicates_dropped_total";
/// Counter: messages appended by this instance.
pub const RELAY_APPENDED: &str = "hubbub_relay_appended_total";
/// Counter: batches appended by this instance.
pub const RELAY_BATCHES: &str = "hubbub_relay_batches_total";
/// Counter: epochs that this instance has walked into.
pub const RELAY_EPOCHS: &str = "hubbub_relay_epochs_total";
/// Counter, label `source` (`ring`; `log`: after the log had been asked first; `reset`): what served returning cursors.
pub const RESUMES: &str = "hubbub_resumes_total";

/// A length as a counter counts it.
pub fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

/// Tells the recorder what each metric means.
pub fn describe() {
    describe_gauge!(CONNECTIONS, Unit::Count, "WebSocket connections of this instance.");
    describe_gauge!(CATCHING_UP, Unit::Count, "Connections that read the ring because they resume or are slow.");
    describe_counter!(FRAMES_IN, Unit::Count, "Frames received from clients.");
    describe_counter!(FRAMES_OUT, Unit::Count, "Frames of the log written to clients, live or catching up.");
    describe_counter!(BYTES_OUT, Unit::Bytes, "Bytes of the log's frames written to clients.");
    describe_counter!(CLOSES, Unit::Count, "Connections closed, by close code.");
    describe_counter!(REFUSALS, Unit::Count, "Frames refused with an error, by error code.");
    describe_histogram!(PUBLISH_LATENCY, Unit::Seconds, "From accepting a publish to its ack.");
    describe_histogram!(
        DELIVERY_LATENCY,
        Unit::Seconds,
        "From accepting a message, anywhere, to the end of the fan-out here."
    );
    describe_histogram!(RELAY_ROUND_TRIP, Unit::Seconds, "A probe through the channel and back.");
    describe_gauge!(RELAY_LIVE, Unit::Count, "1 while the relay is live, 0 while it is degraded.");
    describe_gauge!(RELAY_BEHIND, Unit::Count, "Messages the log has more than this instance, as of its last sync.");
    describe_gauge!(READY, Unit::Count, "1 while /health/ready answers 200, 0 while it answers 503.");
    describe_gauge!(RELAY_PENDING, Unit::Count, "Publishes that wait for their place in the log.");
    describe_counter!(RELAY_GAPS, Unit::Count, "Gaps in the channel that the log was asked to fill.");
    describe_counter!(RELAY_HOLES, Unit::Count, "Gaps that the log could not fill; connections were reset.");
    describe_counter!(RELAY_REOFFERED, Unit::Count, "Messages the log lost that this instance held to offer again.");
    describe_counter!(RELAY_DUPLICATES, Unit::Count, "Messages from the channel dropped because they were known.");
    describe_counter!(RELAY_APPENDED, Unit::Count, "Messages this instance appended to the log.");
    describe_counter!(RELAY_BATCHES, Unit::Count, "Batches this instance appended to the log.");
    describe_counter!(RELAY_EPOCHS, Unit::Count, "Epochs of the log that this instance walked into.");
    describe_counter!(RESUMES, Unit::Count, "Returning cursors, by what served them.");
}
