//! Every subject once a round.

use anyhow::Result;

use super::{
    options::{Load, Options},
    peer, report,
    run::{self, Outcome, Turn},
    subject::Subject,
};

/// What came of all of them.
#[derive(Debug, Default)]
pub(crate) struct Rounds {
    /// The measurements.
    pub(crate) outcomes: Vec<Outcome>,
    /// Peers that could not be measured, and why.
    pub(crate) failures: Vec<(Subject, String)>,
}

impl Rounds {
    /// Measures Hubbub and what is asked for beside it; who goes first alternates.
    ///
    /// # Errors
    ///
    /// Hubbub or the bare server failed. A peer that fails does not stop the others.
    pub(crate) async fn measure(options: &Options, load: &Load) -> Result<Self> {
        let mut rounds = Self::default();
        let mut subjects = vec![Subject::Hubbub];
        for &subject in &options.baseline {
            match Self::prepare(subject).await {
                Ok(()) => subjects.push(subject),
                Err(error) => rounds.failed(subject, &error),
            }
        }
        for round in 1..=options.rounds {
            for &subject in &subjects {
                report::say(&format!("round {round} of {}: {}", options.rounds, subject.name()));
                match run::run(Turn { subject, round }, options, load).await {
                    Err(error) if subject.is_peer() => rounds.failed(subject, &error),
                    outcome => rounds.outcomes.push(outcome?),
                }
            }
            subjects.reverse();
        }
        Ok(rounds)
    }

    async fn prepare(subject: Subject) -> Result<()> {
        if !subject.is_peer() {
            return Ok(());
        }
        report::say(&format!("installing {}", subject.name()));
        peer::install(subject).await
    }

    fn failed(&mut self, subject: Subject, error: &anyhow::Error) {
        report::say(&format!("{}: {error:#}", subject.name()));
        self.failures.push((subject, format!("{error:#}")));
    }
}
