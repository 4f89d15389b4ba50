//! Every subject once a round.

use anyhow::Result;

use super::{
    options::{Load, Options},
    peer, progress,
    run::{self, Outcome, Turn},
    subject::Subject,
};

/// What came of all of them.
#[derive(Debug, Default)]
pub(crate) struct Rounds {
    /// The measurements.
    pub(crate) outcomes: Vec<Outcome>,
    /// What could not be measured, or not to the end, and why.
    pub(crate) failures: Vec<(Subject, String)>,
}

impl Rounds {
    /// Measures Hubbub and the requested subjects beside it; the first one alternates. A subject that fails once is not
    /// tried again. After a round without Hubbub or the bare server there is nothing to compare with: what is done by
    /// then is the result.
    pub(crate) async fn measure(options: &Options, load: &Load) -> Self {
        let mut rounds = Self::default();
        let mut subjects = vec![Subject::Hubbub];
        for &subject in &options.baseline {
            match Self::prepare(subject).await {
                Ok(()) => subjects.push(subject),
                Err(error) => rounds.failed(subject, &error),
            }
        }
        for round in 1..=options.rounds {
            for subject in subjects.clone() {
                progress::print(&format!("round {round} of {}: {}", options.rounds, subject.name()));
                match run::run(Turn { subject, round }, options, load).await {
                    Ok(outcome) => rounds.outcomes.push(outcome),
                    Err(error) => {
                        rounds.failed(subject, &error);
                        subjects.retain(|other| *other != subject);
                    }
                }
            }
            if rounds.stopped_by().is_some() {
                break;
            }
            subjects.reverse();
        }
        rounds
    }

    /// Hubbub or the bare server, if it failed, and why.
    pub(crate) fn stopped_by(&self) -> Option<&(Subject, String)> {
        self.failures.iter().find(|(subject, _)| !subject.is_compared())
    }

    async fn prepare(subject: Subject) -> Result<()> {
        if !subject.is_peer() {
            return Ok(());
        }
        progress::print(&format!("installing {}", subject.name()));
        peer::install(subject).await
    }

    fn failed(&mut self, subject: Subject, error: &anyhow::Error) {
        progress::print(&format!("{}: {error:#}", subject.name()));
        self.failures.push((subject, format!("{error:#}")));
    }
}
