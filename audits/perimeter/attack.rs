//! The attacks, all from 127.0.0.1.

mod conversations;
mod history;
mod sockets;

use std::{
    fmt,
    future::Future,
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use clap::ValueEnum;
use tokio::{
    net::TcpStream,
    signal::unix::{SignalKind, signal},
    time::sleep,
};
use tokio_util::task::TaskTracker;

/// Before an attacker whose connection was refused or ended comes again. Two thousand who do not wait at all would be one more
/// attack, which [`Attack::Churn`] is.
const PAUSE: Duration = Duration::from_millis(500);

/// One of the ways to attack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Attack {
    /// 2 000 connections that send nothing.
    Idle,
    /// 2 000 requests whose headers never end.
    SlowHeaders,
    /// 2 000 connections with a small request each 9 s.
    KeepAlive,
    /// 2 000 upgrade requests that never end.
    HalfHandshakes,
    /// 1 000 readers of the longest page of history, who read almost nothing of it.
    SlowHistory,
    /// 1 000 guests who publish 8 KiB as fast as they can.
    Guests,
    /// 500 guests who send pings, as frames and as control frames, as fast as they can.
    Pings,
    /// Guests who connect and disconnect as fast as they can.
    Churn,
}

/// What the attackers did.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Connections that were made.
    opened: AtomicU64,
    /// Requests, frames or upgrades.
    sent: AtomicU64,
    /// Connections that could not be made, or were ended by the server.
    failed: AtomicU64,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [opened, sent, failed] =
            [&self.opened, &self.sent, &self.failed].map(|count| count.load(Ordering::Relaxed));
        write!(f, "{opened} opened, {sent} sent, {failed} ended")
    }
}

impl Tally {
    fn count_sent(&self) {
        self.sent.fetch_add(1, Ordering::Relaxed);
    }

    async fn connect(&self, to: SocketAddr) -> io::Result<TcpStream> {
        let stream = TcpStream::connect(to).await?;
        self.opened.fetch_add(1, Ordering::Relaxed);
        Ok(stream)
    }
}

impl Attack {
    /// As the command line calls it.
    pub(crate) fn name(self) -> String {
        self.to_possible_value().unwrap().get_name().to_owned()
    }

    /// Attacks until SIGTERM, then says what was done.
    #[expect(clippy::print_stdout, reason = "the audit reads it")]
    pub(crate) async fn run(self, to: SocketAddr) {
        let mut enough = signal(SignalKind::terminate()).unwrap();
        let tally = Arc::new(Tally::default());
        tokio::select! {
            () = self.assault(to, &tally) => (),
            _ = enough.recv() => (),
        }
        println!("{tally}");
    }

    async fn assault(self, to: SocketAddr, tally: &Arc<Tally>) {
        match self {
            Self::Idle => repeat(2000, to, tally, sockets::stay_idle).await,
            Self::SlowHeaders => repeat(2000, to, tally, sockets::send_slow_headers).await,
            Self::KeepAlive => repeat(2000, to, tally, sockets::keep_alive).await,
            Self::HalfHandshakes => repeat(2000, to, tally, sockets::send_half_a_handshake).await,
            Self::SlowHistory => {
                history::fill(to).await;
                repeat(1000, to, tally, history::read_slowly).await;
            }
            Self::Guests => repeat(1000, to, tally, conversations::publish).await,
            Self::Pings => repeat(500, to, tally, conversations::ping).await,
            Self::Churn => repeat(200, to, tally, conversations::come_and_go).await,
        }
    }
}

/// So many attackers, each of whom does it again and again, with a connection at a time.
async fn repeat<F>(
    attackers: usize,
    to: SocketAddr,
    tally: &Arc<Tally>,
    act: impl Fn(SocketAddr, Arc<Tally>) -> F + Clone + Send + 'static,
) where
    F: Future<Output = io::Result<()>> + Send,
{
    let tasks = TaskTracker::new();
    for _ in 0..attackers {
        let (act, tally) = (act.clone(), Arc::clone(tally));
        tasks.spawn(async move {
            loop {
                if act(to, Arc::clone(&tally)).await.is_err() {
                    tally.failed.fetch_add(1, Ordering::Relaxed);
                    sleep(PAUSE).await;
                }
            }
        });
    }
    tasks.close();
    tasks.wait().await;
}
