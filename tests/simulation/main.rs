//! The whole server on a simulated network. One seed determines what the kernel, the clock and
//! the peers do, and all that moss promises is checked in each turn.
//!
//! | file | |
//! |---|---|
//! | `plan` | a seed's settings, peers and faults |
//! | `network` | connections, readiness, faults; the clock |
//! | `peers` | what the peers do |
//! | `pages` | a folder of pages, and requests |
//! | `sealed` | the peers' TLS |
//! | `judge` | what must hold |
//! | `manager` | the service manager and its watchdog |
//! | `wire` | HTTP and WebSocket from the peers' side |
//! | `universe` | all of it together, as moss's [`World`](moss::server::world::World) |
//!
//! A *peer* has a number, and each of its connections is a *link*; moss knows a link by its id.
//! In a turn, moss waits while the others run, until something is ready for it; then it makes
//! its calls, each of which the judge sees; at the end the judge checks the turn.
//!
//! A failure prints its seed and the smallest plan that still fails.
//!
//! ```sh
//! MOSS_SIM_SEED=42 cargo test --test simulation one_seed -- --nocapture        # again, smaller, with a trace
//! MOSS_SIM_MINUTES=60 cargo test --release --test simulation -- --ignored minutes --nocapture
//! ```

mod judge;
mod manager;
mod network;
mod pages;
mod peers;
mod plan;
#[path = "../random/mod.rs"]
mod random;
mod sealed;
mod universe;
mod wire;

use std::hash::{BuildHasher, Hasher, RandomState};
use std::panic::{self, AssertUnwindSafe};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use moss::tls;
use plan::Plan;
use universe::{Outcome, run};

/// The same seeds each time, so that a change that breaks one is noticed by the next run.
const FIXED_SEEDS: u64 = 100;

/// Seeds that fail if the fix of a bug is removed. A change in `plan` changes what a seed means:
/// then new ones have to be found.
const KEPT_SEEDS: [u64; 2] = [161734942576708, 151942831861153];

/// How many new seeds each time.
const NEW_SEEDS: u64 = 100;

const HOUR: Duration = Duration::from_secs(3_600);

/// How long to look for a smaller plan that fails.
const SHRINKING: Duration = Duration::from_secs(20);

#[test]
fn moss_keeps_its_promises() {
    let first = new_seed();
    let new = first..first + NEW_SEEDS;
    try_seeds((1..=FIXED_SEEDS).chain(KEPT_SEEDS).chain(new), Instant::now() + HOUR);
}

/// A newcomer that comes at the right moment, between two pauses of a slow master, could once
/// take more than its share. One of these seeds has such a newcomer.
#[test]
fn newcomers_get_no_more_than_their_shares() {
    for seed in 9..=11 {
        run(&Plan::newcomers(seed), false);
    }
}

/// Two runs may differ only in the keys of TLS.
#[test]
fn seed_gives_the_same_run_again() {
    let with_tls = (1..).map(Plan::new).filter(Plan::has_tls);
    for plan in with_tls.take(if tls::AVAILABLE { 5 } else { 0 }) {
        assert_eq!(run(&plan, false), run(&plan, false), "seed {}", plan.seed);
    }
}

/// Replays `MOSS_SIM_SEED` with a trace.
#[test]
fn one_seed() {
    let Ok(seed) = std::env::var("MOSS_SIM_SEED") else { return };
    let plan = Plan::new(seed.parse().expect("MOSS_SIM_SEED must be a decimal number"));

    let plan = if try_plan(&plan).is_err() { smallest(&plan) } else { plan };
    println!("{plan}");
    println!("{:?}", run(&plan, true));
}

/// Tries new seeds on all cores, for `MOSS_SIM_MINUTES`.
#[test]
#[ignore = "takes as long as MOSS_SIM_MINUTES says"]
fn minutes() {
    let minutes =
        std::env::var("MOSS_SIM_MINUTES").map_or(1, |text| text.parse().expect("minutes"));
    let until = Instant::now() + Duration::from_secs(60 * minutes);
    let (seeds, sum) = try_seeds(new_seed().., until);
    let hours = sum.time as f64 / 3.6e9;
    println!("{seeds} seeds: {hours:.1} simulated hours, {} packets", sum.passed);
}

/// Prints how fast the simulation is: run it with `--release -- --ignored --nocapture`.
#[test]
#[ignore = "prints how fast it is, and checks nothing"]
fn speed() {
    let began = Instant::now();
    let outcome = run(&Plan::quiet(50, 3_600), false);
    let took = began.elapsed().as_secs_f64();
    println!(
        "50 clients with a packet a second: {:.0} x real time",
        outcome.time as f64 / 1e6 / took
    );
    let began = Instant::now();
    let outcome = run(&Plan::flood(20, 5), false);
    let took = began.elapsed().as_secs_f64();
    println!("a flood: {:.0} packets a second", outcome.passed as f64 / took);
}

/// The first of the new seeds, which is printed.
fn new_seed() -> u64 {
    let first = RandomState::new().build_hasher().finish() >> 16;
    println!("new seeds from {first} on");
    first
}

/// Tries seeds on all cores, and begins none after `until`. Returns their number and the sum of
/// their results. Panics at the end if one has failed.
fn try_seeds(seeds: impl Iterator<Item = u64> + Send, until: Instant) -> (u64, Outcome) {
    let seeds = Mutex::new(seeds);
    let next = || {
        let now = Instant::now();
        (now < until).then(|| seeds.lock().expect("no worker panics").next()).flatten()
    };
    let total = Mutex::new((0, Outcome::default()));
    let failures = Mutex::new(Vec::new());
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                while let Some(seed) = next() {
                    match try_plan(&Plan::new(seed)) {
                        Ok(outcome) => {
                            let mut total = total.lock().expect("no worker panics");
                            total.0 += 1;
                            total.1.add(outcome);
                        }
                        Err(why) => {
                            eprintln!("seed {seed}: {why}");
                            failures.lock().expect("no worker panics").push(seed);
                        }
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().expect("no worker panics");
    let smallest = failures.first().map(|&seed| smallest(&Plan::new(seed)));
    panic::set_hook(hook);
    if let Some(plan) = smallest {
        eprintln!("{} seeds fail; the first, made smaller:\n{plan}", failures.len());
        let again = "cargo test --test simulation one_seed -- --nocapture";
        panic!("to see what happens: MOSS_SIM_SEED={} {again}", plan.seed);
    }
    total.into_inner().expect("no worker panics")
}

/// Runs a plan. Returns its failure, if there is one.
fn try_plan(plan: &Plan) -> Result<Outcome, String> {
    panic::catch_unwind(AssertUnwindSafe(|| run(plan, false))).map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or_default().to_owned()
    })
}

/// The smallest plan found within the time limit that fails in the same way.
fn smallest(plan: &Plan) -> Plan {
    let until = Instant::now() + SHRINKING;
    // The failure's text without its numbers.
    let way = |plan: &Plan| {
        let why = try_plan(plan).err()?;
        Some(why.chars().filter(|character| !character.is_ascii_digit()).take(60).collect())
    };
    let expected: Option<String> = way(plan);
    let fails = |plan: &Plan| Instant::now() < until && way(plan) == expected;
    let mut smallest = plan.clone();
    while let Some(smaller) = smallest.smaller().into_iter().find(fails) {
        smallest = smaller;
    }
    smallest
}
