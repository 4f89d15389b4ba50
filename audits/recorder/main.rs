//! A recorder that ignores the lease, for the delivery audit: however many run, each records what it can get. With
//! `--hasty true` it is a control: it moves the cursor in a transaction of its own, before that of the messages. An audit that finds
//! nothing missing after such recorders were killed could not find any loss.
//!
//! It takes the flags of the server, and heeds those for addresses, Redis, database, prefix, instance and log filter.

mod hasty;
mod lawless;

use std::sync::Arc;

use anyhow::{Context, Result};
use axum::{Router, routing::get};
use hubbub_audits::flags::Flags;
use hubbub_http::listener::{self, Bounds};
use hubbub_lifecycle::{Secret, SecretSource, Shutdown};
use hubbub_log::{
    Redis, RedisConfig, Relay, RelayOptions, TlsFiles, Unrecorded,
    ring::{Retention, Ring},
};
use hubbub_messenger::journal::Journal;
use hubbub_recorder::{Recorder, RecorderOptions};
use hubbub_store::{Database, DatabaseOptions};
use tracing::info;

use hasty::Hasty;
use lawless::Lawless;

/// Connections that may ask whether it is ready.
const CONNECTIONS: usize = 64;
/// What the server allows.
const UNRECORDED: Unrecorded = Unrecorded { events: 1_000_000, bytes: 1 << 30 };

#[tokio::main]
async fn main() -> Result<()> {
    let mut words: Vec<String> = std::env::args().skip(1).collect();
    let is_hasty = words.iter().position(|word| word == "--hasty").map(|at| drop(words.drain(at..=at + 1))).is_some();
    let flags = Flags::parse(words.into_iter())?;
    tracing_subscriber::fmt().with_env_filter(&flags.log).with_writer(std::io::stderr).json().init();
    let url = flags.database_url.context("a recorder needs --database-url")?;
    let database = Database::open(&url.parse()?, DatabaseOptions::default()).await?;
    let floor = database.recording().await?.map_or(0, |recording| recording.cursor.seq);

    let shutdown = Shutdown::default();
    let url = SecretSource::Value(flags.redis_url.parse::<Secret>().map_err(anyhow::Error::msg)?);
    let redis = Redis::connect(&RedisConfig { url, prefix: flags.prefix, tls: TlsFiles::default() })?;
    let options = RelayOptions { unrecorded: Some(UNRECORDED), floor, ..RelayOptions::default() };
    let relay = Relay::start(redis, Arc::new(Ring::new(Retention::default())), options, &shutdown);
    let journal: Arc<dyn Journal> = if is_hasty { Arc::new(Hasty(database)) } else { Arc::new(database) };
    let source = Arc::new(Lawless(relay.tail()));
    let _recorder = Recorder::start(journal, source, None, RecorderOptions::default(), &shutdown);

    let public = listener::bind(flags.listen)?;
    let address = public.local_addr()?;
    let routes = Router::new().route("/health/ready", get(|| async { "records" }));
    info!(listen.address = %address, instance = flags.instance, is_hasty, "listening");
    listener::serve(public, Bounds::of(CONNECTIONS), routes, shutdown).await;
    Ok(())
}
