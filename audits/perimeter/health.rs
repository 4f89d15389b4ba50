//! A load balancer that asks whether the instance is well.

use std::{io, net::IpAddr, time::Duration};

use hubbub_testbed::dial;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{Instant, MissedTickBehavior, interval, timeout},
};
use tokio_util::sync::CancellationToken;

/// How often it asks.
const PACE: Duration = Duration::from_millis(250);
/// How long it waits for an answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Where it asks from.
const FROM: [u8; 4] = [127, 0, 0, 250];

/// The answers of one listener.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    pub(crate) slowest: Duration,
    pub(crate) asked: usize,
    /// Without an answer, or with another one than 200.
    pub(crate) failed: usize,
}

/// Asks until it is over, on a new connection each time.
pub(crate) async fn watch(address: &str, path: &str, over: CancellationToken) -> Answers {
    let mut answers = Answers::default();
    let mut ticks = interval(PACE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while over.run_until_cancelled(ticks.tick()).await.is_some() {
        let asked = Instant::now();
        let outcome = timeout(PATIENCE, ask(address, path)).await;
        answers.asked += 1;
        answers.slowest = answers.slowest.max(asked.elapsed());
        answers.failed += usize::from(!matches!(outcome, Ok(Ok(true))));
    }
    answers
}

/// Whether it answers with 200.
pub(crate) async fn ask(address: &str, path: &str) -> io::Result<bool> {
    let mut stream = dial(IpAddr::from(FROM), address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut status = [0; 12];
    stream.read_exact(&mut status).await?;
    Ok(&status == b"HTTP/1.1 200")
}
