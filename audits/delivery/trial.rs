//! One world with its crowd, what happens to it, and what comes of it.

use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Result, ensure};
use futures_util::future::join_all;
use hubbub_testbed::ledger::{Breach, Case, Verdict};
use rand::{SeedableRng, rngs::StdRng};
use tokio::time::sleep;

use crate::{
    crowd::{Crowd, Size},
    fault::{Fault, Scene},
    kept::Comparison,
    schedule::{self, Injection, seeded},
    soak,
    world::{Blueprint, Holder, Needs, World},
};

/// Load without a fault, before the first one.
const CALM: Duration = Duration::from_millis(1500);
/// Between a recovery and the next fault.
const PAUSE: Duration = Duration::from_secs(1);
/// Everyone must have something new by then.
const RECOVERY_LIMIT: Duration = Duration::from_secs(30);
/// Longer than the dedupe window, after which a client gives a message up.
const SETTLING_LIMIT: Duration = Duration::from_secs(150);
/// What is acked must have arrived by then.
const COMPLETING_LIMIT: Duration = Duration::from_secs(30);
/// What is acked must be recorded by then: a recorder that finds a new log first waits a minute for another cluster.
const RECORDING_LIMIT: Duration = Duration::from_secs(90);
/// Between the faults of a mixture, on average.
const PACE: Duration = Duration::from_secs(3);

/// What all trials have in common.
pub(crate) struct Setting {
    pub(crate) blueprint: Blueprint,
    pub(crate) size: Size,
    pub(crate) seed: u64,
    /// Broken or not.
    pub(crate) unjudged: Option<Breach>,
    pub(crate) options: Options,
}

/// Flags that repeat a trial, beside those that choose it: each with a space before it.
pub(crate) struct Options {
    /// For the world and its crowd.
    pub(crate) world: String,
    /// For what happens in a mixture.
    pub(crate) mixed: String,
}

/// What came of a trial.
pub(crate) struct Outcome {
    pub(crate) name: String,
    pub(crate) verdict: Verdict,
    /// The database against that.
    pub(crate) comparison: Option<Comparison>,
    /// From the end of each fault until everyone had something new; None: they never had.
    pub(crate) recoveries: Vec<Option<Duration>>,
    /// What else went wrong.
    pub(crate) troubles: Vec<String>,
    /// What was done around each case.
    pub(crate) around: Vec<(Case, Vec<String>)>,
    /// The logs of the processes, if the trial is not clean.
    pub(crate) logs: Option<PathBuf>,
    /// The flags that repeat it.
    pub(crate) repeat: String,
}

impl Outcome {
    pub(crate) fn is_clean(&self) -> bool {
        self.verdict.is_clean() && self.troubles.is_empty() && self.recoveries.iter().all(Option::is_some)
    }
}

impl Setting {
    /// One kind of fault, some times in a row, each time until everyone has recovered.
    pub(crate) async fn alone(&self, fault: Fault, times: usize) -> Result<Outcome> {
        let name = fault.to_string();
        let mut rng = seeded(self.seed, &name);
        let repeat = format!("--only {name} --times {times} --seed {}{}", self.seed, self.options.world);
        self.trial(&name, repeat, fault.needs(), &mut rng, async |scene, rng| {
            let mut found = Found::default();
            for _ in 0..times {
                found.took(fault, fault.happen(scene, StdRng::from_rng(rng)).await);
                found.recoveries.push(scene.crowd.recovery(RECOVERY_LIMIT).await);
                sleep(PAUSE).await;
            }
            found
        })
        .await
    }

    /// Many kinds at once, for so long.
    pub(crate) async fn mixture(&self, faults: &[Fault], duration: Duration, nth: u64) -> Result<Outcome> {
        let seed = self.seed + nth;
        let Options { world, mixed } = &self.options;
        let repeat = format!("--times 0 --mixtures 1 --seed {seed}{mixed}{world}");
        let mut rng = seeded(seed, "mixture");
        self.trial(&format!("mixture {seed}"), repeat, Needs::USUAL, &mut rng, async |scene, rng| {
            let injections = schedule::mixture(faults, duration, PACE, rng);
            let mut found = Found::default();
            found.all(scene, injections).await;
            found.recoveries.push(scene.crowd.recovery(RECOVERY_LIMIT).await);
            found
        })
        .await
    }

    /// Many kinds at once in one world, while its processes are watched for growth.
    pub(crate) async fn soak(&self, faults: &[Fault], duration: Duration) -> Result<Outcome> {
        let Options { world, mixed } = &self.options;
        let repeat = format!("--soak {} --seed {}{mixed}{world}", duration.as_secs() / 60, self.seed);
        let faults = lasting(faults);
        ensure!(!faults.is_empty(), "a soak leaves out all of these kinds: it would show nothing");
        self.trial("soak", repeat, Needs::USUAL, &mut seeded(self.seed, "soak"), async |scene, rng| {
            let injections = schedule::mixture(&faults, duration, PACE * 2, rng);
            let mut found = Found::default();
            let mut growth = soak::Growth::default();
            tokio::select! {
                () = found.all(scene, injections) => (),
                never = growth.watch(scene) => never,
            }
            found.recoveries.push(scene.crowd.recovery(RECOVERY_LIMIT).await);
            found.troubles.extend(growth.judge(scene.world));
            found
        })
        .await
    }

    async fn trial(
        &self,
        name: &str,
        repeat: String,
        needs: Needs,
        rng: &mut StdRng,
        happenings: impl AsyncFnOnce(&Scene<'_>, &mut StdRng) -> Found,
    ) -> Result<Outcome> {
        let world = World::start(&Blueprint { needs, ..self.blueprint.clone() }).await?;
        let mut crowd = Crowd::gather(self.size, &world, rng).await?;
        sleep(CALM).await;
        let scene = Scene { world: &world, crowd: &crowd };
        let mut found = Box::pin(happenings(&scene, rng)).await;
        let (mut verdict, of_clients) = crowd.verdict(SETTLING_LIMIT, COMPLETING_LIMIT).await;
        if let Some(history) = &world.history {
            let (rooms, kept) = crowd.kept();
            match history.compare(&rooms, &kept, RECORDING_LIMIT).await {
                Ok(comparison) => found.compared(comparison),
                Err(error) => found.troubles.push(format!("the history: {error:#}")),
            }
        }
        verdict.forgive(self.unjudged);
        if found.took_from_the_log() {
            // the accepting instance may have missed the answer to the first append, and has then appended the message again
            verdict.forgive(Some(Breach::Displaced));
        }
        for breach in found.faults.iter().flat_map(|fault| fault.may_break()) {
            verdict.forgive(Some(*breach));
        }
        found.judge(&verdict);
        verdict.cases.sort_by_key(|case| case.at);
        let around = verdict.cases.iter().map(|case| (case.clone(), around(&world, case))).collect();
        let (directory, of_instances) = world.end().await?;
        let Found { recoveries, mut troubles, comparison, .. } = found;
        troubles.extend(of_clients.into_iter().chain(of_instances));
        let mut outcome =
            Outcome { name: name.to_owned(), verdict, comparison, recoveries, troubles, around, logs: None, repeat };
        if outcome.is_clean() {
            fs::remove_dir_all(directory)?;
        } else {
            outcome.logs = Some(directory);
        }
        Ok(outcome)
    }
}

/// What was seen while the faults happened.
#[derive(Default)]
struct Found {
    faults: Vec<Fault>,
    recoveries: Vec<Option<Duration>>,
    troubles: Vec<String>,
    comparison: Option<Comparison>,
}

impl Found {
    /// Only what a database has lost may be missing, and only where it says so.
    fn compared(&mut self, comparison: Comparison) {
        self.troubles.extend(comparison.troubles.iter().cloned());
        if comparison.in_gaps > 0 && !self.faults.iter().any(|fault| fault.loses_rows()) {
            self.troubles.push(format!("{} messages are in gaps of the database", comparison.in_gaps));
        }
        self.comparison = Some(comparison);
    }

    fn took_from_the_log(&self) -> bool {
        self.faults.iter().any(|fault| fault.takes() == Some(Holder::Log))
    }

    fn took(&mut self, fault: Fault, outcome: Result<()>) {
        self.faults.push(fault);
        if let Err(error) = outcome {
            self.troubles.push(format!("{fault}: {error:#}"));
        }
    }

    /// Lets all of them happen, each at its time. One that fails does not keep another from its end.
    async fn all(&mut self, scene: &Scene<'_>, injections: Vec<Injection>) {
        let happenings = injections.into_iter().map(async |Injection { at, fault, rng }| {
            sleep(at).await;
            (fault, fault.happen(scene, rng).await)
        });
        for (fault, outcome) in join_all(happenings).await {
            self.took(fault, outcome);
        }
    }

    /// Only what Redis has lost may come again.
    fn judge(&mut self, verdict: &Verdict) {
        let returned = verdict.returned;
        if returned > 0 && !self.took_from_the_log() {
            self.troubles.push(format!("{returned} messages came again although Redis had lost nothing"));
        }
    }
}

/// Without those that end an instance, and so its series of samples, and the one whose large bodies fill the log and the
/// rings, which is no leak. With those that take something from Redis less often: they keep a distance from each other.
fn lasting(faults: &[Fault]) -> Vec<Fault> {
    let often = |fault: &Fault| match (fault, fault.takes()) {
        (Fault::OutputBuffer, _) | (_, Some(Holder::Instance)) => 0,
        (_, Some(Holder::Log)) => 1,
        (_, None) => 4,
    };
    faults.iter().flat_map(|fault| std::iter::repeat_n(*fault, often(fault))).collect()
}

/// What was done shortly before and after.
fn around(world: &World, case: &Case) -> Vec<String> {
    let near = Duration::from_secs(4);
    world.journal(case.at.saturating_sub(near), case.at + near)
}
