//! Which faults happen when.

use std::time::Duration;

use rand::{RngExt, SeedableRng, rngs::StdRng};

use crate::fault::Fault;

/// A fault, and when it begins.
pub(crate) struct Injection {
    pub(crate) at: Duration,
    pub(crate) fault: Fault,
    pub(crate) rng: StdRng,
}

/// A generator of its own for each thing that has a name, so that each can be repeated without the others.
pub(crate) fn seeded(seed: u64, name: &str) -> StdRng {
    let mixed = name.bytes().fold(seed, |seed, byte| seed.wrapping_mul(1_099_511_628_211) ^ u64::from(byte));
    StdRng::seed_from_u64(mixed)
}

/// Random faults, on average `pace` apart, that overlap as it happens.
pub(crate) fn mixture(faults: &[Fault], duration: Duration, pace: Duration, rng: &mut StdRng) -> Vec<Injection> {
    let faults: Vec<Fault> = faults.iter().copied().filter(|fault| fault.can_be_mixed()).collect();
    let mut injections = Vec::new();
    let mut at = Duration::from_secs(2);
    while at < duration && !faults.is_empty() {
        let fault = faults[rng.random_range(0..faults.len())];
        injections.push(Injection { at, fault, rng: StdRng::from_rng(rng) });
        at += pace.mul_f64(rng.random_range(0.0..2.0));
    }
    injections
}
