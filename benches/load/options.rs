//! What can be asked for.

use std::{num::NonZero, path::PathBuf, thread, time::Duration};

use anyhow::{Result, ensure};
use clap::{Args, Parser, Subcommand, ValueEnum};
use serde::Serialize;

use super::{ledger::Reader, schedule::Stamp, subject::Subject};

/// Publishes a second that one sender makes at most, unless `--senders` is given: the server allows 50.
const RATE_PER_SENDER: f64 = 40.0;

/// Puts load on a Hubbub and measures what it makes of it.
#[derive(Clone, Debug, Parser)]
#[command(name = "load", bin_name = "load", max_term_width = 100, args_conflicts_with_subcommands = true)]
#[command(args_override_self = true)]
pub(crate) struct Options {
    #[command(subcommand)]
    pub(crate) hidden: Option<Hidden>,

    /// A measurement of docs/performance.md; other options change it.
    #[arg(long, value_name = "NAME")]
    preset: Option<Preset>,

    /// Server to load, several times for several [default: start instances here].
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) address: Vec<String>,

    /// Process of a server given by --address, for its CPU time and memory.
    #[arg(long, value_name = "PID", requires = "address")]
    pub(crate) pid: Vec<u32>,

    /// Instances to start.
    #[arg(long, value_name = "N", conflicts_with = "address", value_parser = clap::value_parser!(u32).range(1..))]
    instances: Option<u32>,

    /// Start a Redis for them.
    #[arg(long, conflicts_with = "address")]
    redis: bool,

    /// Connections [default: 1000].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    clients: Option<u32>,

    /// Rooms, over which they are spread evenly [default: 1].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rooms: Option<u32>,

    /// Clients that publish too [default: one for each 40 messages a second, and one a room].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    senders: Option<u32>,

    /// Messages a second, of all senders; 0 for none [default: 20].
    #[arg(long, value_name = "N/S", value_parser = rate)]
    rate: Option<f64>,

    /// Bytes of a body, at least 32 [default: 200].
    #[arg(long, value_name = "BYTES")]
    size: Option<usize>,

    /// Seconds to measure [default: 10].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    seconds: Option<u32>,

    /// Seconds of load before that [default: 2].
    #[arg(long, value_name = "N")]
    warmup: Option<u32>,

    /// Connections to begin a second [default: as fast as --handshakes lets them].
    #[arg(long, value_name = "N/S", value_parser = rate)]
    ramp: Option<f64>,

    /// Handshakes under way at once [default: 512].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    handshakes: Option<u32>,

    /// Clients that read slowly, in percent.
    #[arg(long, value_name = "PERCENT", default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=100))]
    slow: u32,

    /// Clients that drop their connection and come back with their cursor in each wave, in percent; senders do not.
    #[arg(long, value_name = "PERCENT", default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=100))]
    reconnect: u32,

    /// Seconds from one wave to the next.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    wave: u32,

    /// Threads that read [default: half of the processors].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    threads: Option<u32>,

    /// Measure these too, in turn.
    #[arg(long, value_name = "WHAT", value_delimiter = ',')]
    pub(crate) baseline: Vec<Subject>,

    /// How often to measure; the report has the medians.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rounds: u32,

    /// Write the figures of every round here.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,

    /// Draw the latency here, over time and as a distribution.
    #[arg(long, value_name = "FILE.svg")]
    pub(crate) plot: Option<PathBuf>,

    /// What `cargo bench` adds.
    #[arg(long, hide = true)]
    bench: bool,
}

/// What the generator starts itself as.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Hidden {
    /// The bare server.
    #[command(hide = true)]
    Raw(Bare),
}

/// What the bare server has to know.
#[derive(Clone, Debug, Args)]
pub(crate) struct Bare {
    /// Connections to wait for.
    #[arg(long)]
    pub(crate) clients: u32,
    /// Rooms.
    #[arg(long)]
    pub(crate) rooms: u32,
    /// Bytes of a body.
    #[arg(long)]
    pub(crate) size: usize,
}

/// The measurements of docs/performance.md.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Preset {
    /// 5 000 clients in a room, 20 messages a second.
    Paced,
    /// The same over two instances and Redis.
    PacedRedis,
    /// 500 clients in a room, 2 000 messages a second.
    Burst,
    /// 10 000 clients that receive nothing: the memory of a connection.
    Idle,
    /// 10 000 clients that come at once.
    Storm,
    /// 1 000 rooms of 5, 2 000 messages a second in all.
    Rooms,
    /// 100 clients on two instances, 100 messages a second: from one instance to the other.
    Cross,
}

/// What one run does, with everything decided.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Load {
    /// Instances to start.
    pub(crate) instances: u32,
    /// With a Redis of their own.
    pub(crate) redis: bool,
    /// Connections.
    pub(crate) clients: u32,
    /// Rooms.
    pub(crate) rooms: u32,
    /// Clients that publish too: the first ones.
    pub(crate) senders: u32,
    /// Messages a second, of all senders.
    pub(crate) rate: f64,
    /// Bytes of a body.
    pub(crate) size: usize,
    /// How long to measure.
    pub(crate) seconds: u32,
    /// How long to send before that.
    pub(crate) warmup: u32,
    /// Connections to begin a second.
    pub(crate) ramp: Option<f64>,
    /// Handshakes under way at once.
    pub(crate) handshakes: u32,
    /// Clients that read slowly, in percent.
    pub(crate) slow: u32,
    /// Clients in a wave, in percent.
    pub(crate) reconnect: u32,
    /// From one wave to the next, in seconds.
    pub(crate) wave: u32,
    /// Threads that read.
    pub(crate) threads: u32,
}

impl Preset {
    /// Instances, Redis, clients, rooms, messages a second.
    const fn shape(self) -> (u32, bool, u32, u32, f64) {
        match self {
            Self::Paced => (1, false, 5_000, 1, 20.0),
            Self::PacedRedis => (2, true, 5_000, 1, 20.0),
            Self::Burst => (1, false, 500, 1, 2_000.0),
            Self::Idle | Self::Storm => (1, false, 10_000, 1, 0.0),
            Self::Rooms => (1, false, 5_000, 1_000, 2_000.0),
            Self::Cross => (2, true, 100, 1, 100.0),
        }
    }

    const fn handshakes(self) -> Option<u32> {
        if matches!(self, Self::Storm) { Some(10_000) } else { None }
    }
}

impl Options {
    /// The run that they describe.
    ///
    /// # Errors
    ///
    /// They contradict each other.
    pub(crate) fn load(&self) -> Result<Load> {
        let (instances, redis, clients, rooms, rate) = self.preset.map_or((1, false, 1_000, 1, 20.0), Preset::shape);
        let (clients, rooms) = (self.clients.unwrap_or(clients), self.rooms.unwrap_or(rooms));
        let rate = self.rate.unwrap_or(rate);
        let processors = u32::try_from(thread::available_parallelism().map_or(1, NonZero::get)).unwrap_or(1);
        let load = Load {
            instances: self.instances.unwrap_or(instances),
            redis: redis || self.redis,
            clients,
            rooms,
            senders: self.senders.unwrap_or_else(|| enough_senders(rate, rooms).min(clients)),
            rate,
            size: self.size.unwrap_or(200),
            seconds: self.seconds.unwrap_or(10),
            warmup: self.warmup.unwrap_or(2),
            ramp: self.ramp,
            handshakes: self.handshakes.or_else(|| self.preset?.handshakes()).unwrap_or(512),
            slow: self.slow,
            reconnect: self.reconnect,
            wave: self.wave,
            threads: self.threads.unwrap_or((processors / 2).max(1)),
        };
        ensure!(load.senders <= load.clients, "there are more senders than clients");
        ensure!(load.rooms <= load.clients, "there are more rooms than clients");
        ensure!(load.size >= Stamp::BYTES, "a body has at least {} bytes", Stamp::BYTES);
        ensure!(load.instances == 1 || load.redis || !self.address.is_empty(), "several instances need --redis");
        Ok(load)
    }
}

impl Load {
    /// From one message to the next; as good as never if the rate is 0.
    pub(crate) fn interval(&self) -> Duration {
        Duration::try_from_secs_f64(1.0 / self.rate).unwrap_or(Duration::MAX)
    }

    /// How long messages are sent.
    pub(crate) fn duration(&self) -> Duration {
        Duration::from_secs((self.warmup + self.seconds).into())
    }

    /// How this client reads. The senders are prompt, for what they receive delays what they publish.
    pub(crate) const fn reader(&self, client: u32) -> Reader {
        if client >= self.senders && percentile(client) < self.slow { Reader::Slow } else { Reader::Prompt }
    }

    /// Whether this client goes and comes back in this wave, from 1. Each wave takes the next ones.
    pub(crate) const fn goes(&self, client: u32, wave: u32) -> bool {
        let gone = wave.saturating_sub(1) * self.reconnect % 100;
        client >= self.senders && (percentile(client) + 100 - gone) % 100 < self.reconnect
    }
}

/// Spreads any number of clients evenly over 0 to 99, neighbours far apart.
const fn percentile(client: u32) -> u32 {
    client % 100 * 61 % 100
}

fn enough_senders(rate: f64, rooms: u32) -> u32 {
    let mut senders = 0;
    while f64::from(senders) * RATE_PER_SENDER < rate {
        senders += 1;
    }
    if rate > 0.0 { senders.max(rooms) } else { 0 }
}

fn rate(text: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().ok().filter(|number| number.is_finite() && *number >= 0.0);
    number.ok_or_else(|| "expected a number that is not negative".to_owned())
}
