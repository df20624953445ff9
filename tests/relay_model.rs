//! Seeded simulations: random joins, logins, packets, takeovers, kicks, wrong secrets
//! and departures. After each step the relay is compared with the model in `model/mod.rs`.
//! The steps and checks are in `targets/relay.rs`, which the fuzzer uses, too: here the random
//! bytes come from a generator, there from libFuzzer.
//!
//! A failure prints its seed; `MOSS_RELAY_SEED=<seed> cargo test --test relay_model` repeats
//! that one.

mod model;
mod random;
#[path = "targets/relay.rs"]
mod relay;

use std::hash::{BuildHasher, Hasher, RandomState};
use std::panic;

use random::Random;

/// The same seeds each time, so that a change that breaks one is noticed by the next run.
const FIXED_SEEDS: u64 = 60;

/// New seeds each time, so that more is tested in the long run.
const FRESH_SEEDS: u64 = 40;

const DICE: usize = 2_000;

#[test]
fn relay_does_what_the_model_expects() {
    if let Ok(seed) = std::env::var("MOSS_RELAY_SEED") {
        return simulate(seed.parse().expect("MOSS_RELAY_SEED must be a decimal number"));
    }
    let fresh = RandomState::new().build_hasher().finish();
    let fresh = (0..FRESH_SEEDS).map(|seed| fresh.wrapping_add(seed));
    for seed in (0..FIXED_SEEDS).chain(fresh) {
        if let Err(panic) = panic::catch_unwind(|| simulate(seed)) {
            eprintln!("to repeat it: MOSS_RELAY_SEED={seed} cargo test --test relay_model");
            panic::resume_unwind(panic);
        }
    }
}

fn simulate(seed: u64) {
    let mut random = Random::new(seed);
    let steps = relay::play((0..DICE).map(|_| random.below(256) as u8));
    assert!(steps > DICE as u64 / 10, "only {steps} steps");
}
