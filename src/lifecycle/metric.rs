//! The metrics: name, kind, unit and meaning, once each.
//!
//! A lookup by name takes a hash and a lock. Code that runs for every frame keeps the handle instead.

use metrics::{Unit, describe_counter as counter, describe_gauge as gauge, describe_histogram as histogram};

/// Defines a constant for each name, and [`describe`], which gives kind, unit and meaning to the recorder. The doc
/// comment of an entry is its help text on `/metrics`.
macro_rules! metrics {
    ($($(#[doc = $meaning:literal])+ $kind:ident $constant:ident = $name:literal, $unit:ident;)+) => {
        $(
            $(#[doc = $meaning])+
            #[doc = ""]
            #[doc = concat!("Kind: ", stringify!($kind), ". Unit: ", stringify!($unit), ".")]
            pub const $constant: &str = $name;
        )+

        /// Gives kind, unit and meaning of every metric to the recorder. Call it once the recorder is installed.
        pub fn describe() {
            $($kind!($constant, Unit::$unit, concat!($($meaning),+).trim());)+
        }
    };
}

metrics! {
    /// WebSocket connections of this instance.
    gauge CONNECTIONS = "hubbub_connections", Count;
    /// Connections that read the ring because they resume or are slow.
    gauge CATCHING_UP = "hubbub_connections_catching_up", Count;
    /// Frames received from clients.
    counter FRAMES_IN = "hubbub_frames_in_total", Count;
    /// Frames of the log written to clients, live or catching up. Replies are not counted.
    counter FRAMES_OUT = "hubbub_frames_out_total", Count;
    /// Bytes of the log's frames written to clients. Replies are not counted.
    counter BYTES_OUT = "hubbub_bytes_out_total", Bytes;
    /// Pauses of connections whose address sends frames or opens connections too fast, by what it does (label `what`:
    /// `frames`, `connections`).
    counter PAUSES = "hubbub_pauses_total", Count;
    /// Connections closed, by close code (label `code`) and its name (label `reason`), whichever side closed first. Without
    /// a code of the server the reason is `closed_by_client` or `lost`.
    counter CLOSES = "hubbub_closes_total", Count;
    /// Frames refused with an error frame, by error code (label `code`).
    counter REFUSALS = "hubbub_refusals_total", Count;
    /// Publishes over HTTP refused with 401, because they did not carry the API key.
    counter UNAUTHORIZED = "hubbub_unauthorized_total", Count;
    /// Secrets and certificates that could not be read again, or with which Redis refused a connection. The former ones
    /// stay in use.
    counter RELOAD_FAILURES = "hubbub_reload_failures_total", Count;
    /// 1 while Redis may evict the log or the idempotency keys, 0 while it may not: its maxmemory-policy.
    gauge REDIS_EVICTS = "hubbub_redis_evicts", Count;
    /// Keys that Redis has evicted, of any client, as this instance has seen it since its start.
    counter REDIS_EVICTED = "hubbub_redis_evicted_keys_total", Count;
    /// Times that the log was gone although Redis had not restarted: it was evicted or deleted.
    counter REDIS_LOG_GONE = "hubbub_redis_log_gone_total", Count;
    /// Connections and HTTP requests refused, by reason (label `reason`).
    counter HTTP_REFUSALS = "hubbub_http_refusals_total", Count;
    /// Mails, by what became of them (label `outcome`: `sent`, `lost`).
    counter MAILS = "hubbub_mails_total", Count;
    /// Passwords hashed by argon2id, to keep or to compare.
    counter PASSWORD_HASHES = "hubbub_password_hashes_total", Count;
    /// Time from accepting a publish to its ack.
    histogram PUBLISH_LATENCY = "hubbub_publish_latency_seconds", Seconds;
    /// Time from accepting a message, on any instance, to the end of its fan-out on this one.
    histogram DELIVERY_LATENCY = "hubbub_delivery_latency_seconds", Seconds;
    /// Round trip of a probe through the channel.
    histogram RELAY_ROUND_TRIP = "hubbub_relay_round_trip_seconds", Seconds;
    /// 1 while the relay is live, 0 while it is degraded.
    gauge RELAY_LIVE = "hubbub_relay_live", Count;
    /// Messages that the log had more than this instance after the last sync; 0 at the end of the log. Messages in front
    /// of a marker that is not applied yet are not counted, only the marker is.
    gauge RELAY_BEHIND = "hubbub_relay_behind_messages", Count;
    /// 1 while /health/ready answers 200, 0 while it answers 503.
    gauge READY = "hubbub_ready", Count;
    /// Publishes that wait to be appended to the log, sampled every half second.
    gauge RELAY_PENDING = "hubbub_relay_pending_messages", Count;
    /// 1 while the log refuses new messages because too much of it waits for the recorder, 0 while it does not.
    gauge RELAY_BACKLOG_FULL = "hubbub_relay_backlog_full", Count;
    /// Gaps in the channel that this instance asked the log to fill. Each gap counts once.
    counter RELAY_GAPS = "hubbub_relay_gaps_total", Count;
    /// Gaps that the log could not fill. Each one resets the connections of this instance.
    counter RELAY_HOLES = "hubbub_relay_holes_total", Count;
    /// Messages that the log lost and this instance holds, to be offered again. Every instance counts its own.
    counter RELAY_REOFFERED = "hubbub_relay_reoffered_total", Count;
    /// Messages dropped because this instance had applied them already.
    counter RELAY_DUPLICATES = "hubbub_relay_duplicates_dropped_total", Count;
    /// Messages that this instance appended to the log.
    counter RELAY_APPENDED = "hubbub_relay_appended_total", Count;
    /// Batches that this instance appended to the log.
    counter RELAY_BATCHES = "hubbub_relay_batches_total", Count;
    /// Epochs of the log that this instance has entered.
    counter RELAY_EPOCHS = "hubbub_relay_epochs_total", Count;
    /// Resumed connections, by what served them (label `source`): `ring`, `log` (the ring, after a sync with the log),
    /// or `reset` (the missed messages are gone).
    counter RESUMES = "hubbub_resumes_total", Count;
    /// Events of the log that this instance has recorded in the database, with messages that were there already and dead
    /// letters.
    counter RECORDED_EVENTS = "hubbub_recorded_events_total", Count;
    /// Messages that this instance has added to the database.
    counter RECORDED_MESSAGES = "hubbub_recorded_messages_total", Count;
    /// Messages that the database had already: the log had lost them and has them again, or they were published again
    /// after the dedupe window.
    counter RECORDED_REPEATED = "hubbub_recorded_repeated_total", Count;
    /// Events that the database refuses or that cannot be read. They are in the table `dead_letters`.
    counter RECORDER_DEAD_LETTERS = "hubbub_recorder_dead_letters_total", Count;
    /// Parts of the log that it lost before they were recorded. They are in the table `gaps`.
    counter RECORDER_GAPS = "hubbub_recorder_gaps_total", Count;
    /// Calls to the database that failed and were or will be repeated.
    counter RECORDER_FAILURES = "hubbub_recorder_failures_total", Count;
    /// Time of the transaction that records a batch.
    histogram RECORDER_TRANSACTION = "hubbub_recorder_transaction_seconds", Seconds;
    /// Events of the log that are not in the database yet, as the instance that records knows it; 0 on the others.
    gauge RECORDER_LAG = "hubbub_recorder_lag_events", Count;
    /// Age of the oldest message of the log that is not in the database yet; 0 if there is none, and on instances that do
    /// not record.
    gauge RECORDER_LAG_SECONDS = "hubbub_recorder_lag_seconds", Seconds;
    /// Panics of the recorder, after each of which it started again.
    counter RECORDER_RESTARTS = "hubbub_recorder_restarts_total", Count;
    /// 1 while the database has less than it had, so that nothing is recorded; 0 otherwise.
    gauge RECORDER_WENT_BACK = "hubbub_recorder_database_went_back", Count;
    /// Times that the log had gone another way below what the database has, because a clock went back.
    counter RECORDER_TURNED_BACK = "hubbub_recorder_turned_back_total", Count;
    /// Messages that were deleted because they were older than they are kept.
    counter RECORDER_PRUNED = "hubbub_recorder_pruned_total", Count;
    /// Events of the outbox that were appended again, because their instance could not append them or was killed.
    counter OUTBOX_REPEATED = "hubbub_outbox_repeated_total", Count;
}

/// A length as a metric counts it.
pub fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}
