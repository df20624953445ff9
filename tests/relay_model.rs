//! Seeded simulations: random joins, logins, packets, takeovers, kicks, wrong secrets
//! and departures, each step held against the shadow model of `model/mod.rs`. What a
//! step is and what must hold after it is in `targets/relay.rs`, which the fuzzer
//! shares: here the dice are thrown by a generator, there by libFuzzer.
//!
//! A failure prints its seed; `MOSS_RELAY_SEED=<seed> cargo test --test relay_model` plays
//! that one again.

mod model;
mod random;
#[path = "targets/relay.rs"]
mod relay;

use std::hash::{BuildHasher, Hasher, RandomState};
use std::panic;

use random::Random;

/// Always the same worlds, so that a change that breaks one is seen by the next run.
const FIXED_SEEDS: u64 = 60;

/// Different ones each time, so that in the long run more is seen.
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
            eprintln!("to play it again: MOSS_RELAY_SEED={seed} cargo test --test relay_model");
            panic::resume_unwind(panic);
        }
    }
}

fn simulate(seed: u64) {
    let mut random = Random::new(seed);
    let steps = relay::play((0..DICE).map(|_| random.below(256) as u8));
    assert!(steps > DICE as u64 / 10, "only {steps} steps");
}
