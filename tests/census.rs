//! The arithmetic of the census, on the log inside the process and on a real Redis: whatever is repeated, reordered,
//! lost or late, the count is the sum over the leases that live.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

use std::{collections::BTreeMap, time::Duration};

use hubbub_lifecycle::SecretSource;
use hubbub_log::{Backend, Memory, Redis, RedisConfig, Report, TlsFiles, VersionedCount};
use hubbub_protocol::Count;
use hubbub_testbed::unique;
use proptest::{
    prelude::*,
    test_runner::{TestCaseResult, TestRunner},
};
use tokio::runtime::{Builder, Runtime};

/// How long an instance counts that has stopped reporting, in milliseconds.
const LEASE: u64 = 3000;

#[derive(Clone, Copy, Debug)]
enum Op {
    /// An instance has so many connections now, or leaves.
    Report(usize, Option<u64>),
    /// A report arrives once more, counted from the newest.
    Repeat(usize),
    /// No instance reports for so many milliseconds.
    Pause(u64),
}

fn report() -> impl Strategy<Value = Op> {
    let connections = prop_oneof![5 => (0..100_000_u64).prop_map(Some), 1 => Just(None)];
    (0..4_usize, connections).prop_map(|(instance, connections)| Op::Report(instance, connections))
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![4 => report(), 2 => (0..12_usize).prop_map(Op::Repeat)]
}

fn op_in_time() -> impl Strategy<Value = Op> {
    prop_oneof![4 => op(), 3 => (0..1600_u64).prop_map(Op::Pause), 1 => (0..9000_u64).prop_map(Op::Pause)]
}

#[derive(Clone, Copy, Debug)]
struct Lease {
    number: u64,
    connections: u64,
    until: u64,
}

/// What a census is, in milliseconds of a clock of its own.
#[derive(Debug, Default)]
struct Model {
    now: u64,
    leases: BTreeMap<String, Lease>,
    /// Since when the reports have come without a pause of half a lease; before that, silence means nothing.
    steady: Option<u64>,
    reported_at: u64,
}

impl Model {
    fn report(&mut self, report: &Report) -> Count {
        let Self { now, leases, steady, reported_at } = self;
        let since = steady.filter(|_| *now - *reported_at <= LEASE / 2).unwrap_or(*now);
        (*steady, *reported_at) = (Some(since), *now);
        let Report { instance, number, connections } = report;
        if leases.get(&**instance).is_none_or(|lease| lease.number < *number) {
            leases.remove(&**instance);
            leases.extend(connections.map(|connections| {
                (instance.to_string(), Lease { number: *number, connections, until: *now + LEASE })
            }));
        }
        let settling = *now < since + LEASE;
        leases.retain(|_, lease| settling || lease.until >= *now);
        let instances = u64::try_from(leases.len()).unwrap();
        Count { connections: leases.values().map(|lease| lease.connections).sum(), instances, settling }
    }
}

/// Runs the operations on the backend and on the model. Ends early when the real clock has gone on by itself.
async fn compare(backend: &impl Backend, ops: &[Op], pass: impl AsyncFn(u64)) -> TestCaseResult {
    let (mut model, mut sent, mut last) = (Model::default(), Vec::new(), None::<VersionedCount>);
    let names: [String; 4] = std::array::from_fn(|_| unique("instance"));
    for op in ops {
        let report = match *op {
            Op::Pause(milliseconds) => {
                model.now += milliseconds;
                pass(milliseconds).await;
                continue;
            }
            Op::Report(instance, connections) => {
                let number = u64::try_from(sent.len()).unwrap() + 1;
                sent.push(Report { instance: names[instance].as_str().into(), number, connections });
                sent.last().cloned()
            }
            Op::Repeat(age) => sent.iter().rev().nth(age).cloned(),
        };
        let Some(report) = report else { continue };
        let expected = model.report(&report);
        let tally = backend.report(&report).await.unwrap();
        if expected.settling && !tally.count.settling {
            return Ok(());
        }
        prop_assert_eq!(tally.count, expected, "{:?}", report);
        if let Some(last) = last {
            prop_assert_eq!(last.count == tally.count, last.version == tally.version, "{:?} then {:?}", last, tally);
            prop_assert!(last.version <= tally.version, "{:?} then {:?}", last, tally);
        }
        last = Some(tally);
    }
    Ok(())
}

fn runtime(is_paused: bool) -> Runtime {
    Builder::new_current_thread().enable_all().start_paused(is_paused).build().unwrap()
}

proptest! {
    #[test]
    fn the_count_is_the_sum_over_the_leases_that_live(ops in prop::collection::vec(op_in_time(), 1..80)) {
        let memory = Memory::new();
        let pass = async |milliseconds| tokio::time::advance(Duration::from_millis(milliseconds)).await;
        runtime(true).block_on(compare(&memory, &ops, pass))?;
    }
}

#[test]
fn redis_counts_as_the_model_does() {
    let runtime = runtime(false);
    let _inside = runtime.enter();
    let server = runtime.block_on(hubbub_testbed::Redis::start());
    let (url, prefix) = (SecretSource::Value(server.url().parse().unwrap()), unique("census"));
    let config = RedisConfig { url, prefix, tls: TlsFiles::default() };
    let redis = Redis::connect(&config).unwrap();
    let mut runner = TestRunner::new(ProptestConfig { cases: 64, ..ProptestConfig::default() });
    let outcome = runner.run(&prop::collection::vec(op(), 1..60), |ops| {
        runtime.block_on(async {
            server.command(&["FLUSHALL"]).await;
            compare(&redis, &ops, async |_| unreachable!("here time passes by itself")).await
        })
    });
    outcome.unwrap();
}
