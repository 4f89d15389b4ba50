//! Reads the seats of connections of accounts from the directory, many at a time: what gathers while one call is under way
//! goes into the next. So a storm of hellos costs few calls, and a slow database is not asked faster than it answers.

use std::{sync::Arc, time::Duration};

use hubbub_lifecycle::Throttle;
use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};
use tracing::warn;

use super::worker::{Answer, Command, Question};
use crate::ports::{Directory, Sitter, Unavailable};

/// Capacity of the queue of questions. A worker asks again later what finds no room.
pub(super) const QUEUE: usize = 16_384;
/// Upper bound for the people of one call.
const AT_ONCE: usize = 1000;
/// How long one call may take.
const DEADLINE: Duration = Duration::from_secs(5);
/// First and longest pause after a call that failed.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

static UNAVAILABLE: Throttle = Throttle::new();

/// The task that asks the directory.
#[derive(Debug)]
pub(super) struct Usher<T> {
    directory: Arc<dyn Directory>,
    /// The queues of the workers, in the order in which connections are shared out.
    workers: Vec<mpsc::Sender<Command<T>>>,
}

impl<T> Usher<T> {
    pub(super) fn new(directory: Arc<dyn Directory>, workers: Vec<mpsc::Sender<Command<T>>>) -> Self {
        Self { directory, workers }
    }

    /// Runs until no worker is left.
    pub(super) async fn run(self, mut questions: mpsc::Receiver<Question>) {
        let mut batch = Vec::new();
        let mut pause = RETRY.0;
        while questions.recv_many(&mut batch, AT_ONCE).await > 0 {
            let sitters: Vec<Sitter> = batch.iter().map(|question: &Question| question.sitter.clone()).collect();
            let read = timeout(DEADLINE, self.directory.seats(&sitters)).await;
            if let Some(seats) = read.ok().and_then(Result::ok).filter(|seats| seats.len() == batch.len()) {
                for (question, seats) in batch.drain(..).zip(seats) {
                    self.answer(question, Ok(seats)).await;
                }
                pause = RETRY.0;
                continue;
            }
            if let Some(held_back) = UNAVAILABLE.pass() {
                let connections = batch.len();
                warn!(
                    connections,
                    held_back,
                    "the rooms of accounts cannot be read from the database: who says hello is closed with 1013 \
                     (try_again_later), and connections that were there before a loss of the log wait"
                );
            }
            for question in batch.drain(..) {
                self.answer(question, Err(Unavailable)).await;
            }
            sleep(pause).await;
            pause = (pause * 2).min(RETRY.1);
        }
    }

    async fn answer(&self, question: Question, answer: Answer) {
        let Question { connection, read, .. } = question;
        let number = usize::try_from(connection.number()).unwrap_or_default();
        let worker = number.checked_rem(self.workers.len()).and_then(|index| self.workers.get(index));
        if let Some(worker) = worker {
            // fails only after shutdown
            let _stopped = worker.send(Command::Seat(connection, read, answer)).await;
        }
    }
}
