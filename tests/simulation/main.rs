//! The whole server on a simulated network: one seed determines what the kernel, the
//! clock and the peers do, and everything that moss promises is checked all the time.
//!
//! | file | |
//! |---|---|
//! | `plan` | what a seed means: settings, peers, faults |
//! | `network` | connections, readiness, faults; the clock |
//! | `people` | the peers |
//! | `pages` | a folder of pages, and what is asked for |
//! | `sealed` | their TLS |
//! | `judge` | what must hold |
//! | `manager` | who started moss, and watches it |
//! | `wire` | HTTP and WebSocket from the peers' side |
//! | `universe` | all of it together, as the world that moss asks |
//!
//! A *peer* has a number, and each of its connections is a *link*; moss knows a link by its
//! id. A turn: moss waits, all the others live until something is ready for it; it makes its
//! calls, each of which the judge hears of; then the judge looks at what the turn has done.
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
mod people;
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

/// Always the same, so that a change that breaks one is seen by the next run.
const FIXED_SEEDS: u64 = 100;

/// Beyond those, seeds that fail with the mend of a fault taken out. A change of `plan` makes
/// them other plans: then it takes new ones.
const KEPT_SEEDS: [u64; 2] = [161734942576708, 151942831861153];

/// New each time.
const NEW_SEEDS: u64 = 100;

const HOUR: Duration = Duration::from_secs(3_600);

/// How long a failing plan is made smaller.
const SHRINKING: Duration = Duration::from_secs(20);

#[test]
fn moss_keeps_its_promises() {
    let first = new_seed();
    let new = first..first + NEW_SEEDS;
    try_seeds((1..=FIXED_SEEDS).chain(KEPT_SEEDS).chain(new), Instant::now() + HOUR);
}

/// Between two pauses of a slow master a newcomer could take more than its share at once. It
/// takes a newcomer that comes at just that moment: one of these seeds has one.
#[test]
fn newcomers_get_no_more_than_their_shares() {
    for seed in 9..=11 {
        run(&Plan::newcomers(seed), false);
    }
}

/// Keys differ from run to run, and nothing else may.
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
#[ignore = "takes as long as it is told to"]
fn minutes() {
    let minutes =
        std::env::var("MOSS_SIM_MINUTES").map_or(1, |text| text.parse().expect("minutes"));
    let until = Instant::now() + Duration::from_secs(60 * minutes);
    let (seeds, sum) = try_seeds(new_seed().., until);
    let hours = sum.time as f64 / 3.6e9;
    println!("{seeds} seeds: {hours:.1} simulated hours, {} packets", sum.passed);
}

/// How fast it is; see it with `--release -- --ignored --nocapture`.
#[test]
#[ignore = "says how fast it is and checks nothing"]
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

/// The first of seeds that nobody has tried; it is printed.
fn new_seed() -> u64 {
    let first = RandomState::new().build_hasher().finish() >> 16;
    println!("new seeds from {first} on");
    first
}

/// Tries seeds on all cores, the last of them begun by `until`: how many, and their sum.
/// Panics if one fails, when all were tried.
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

/// Runs a plan; what it fails with, if it does.
fn try_plan(plan: &Plan) -> Result<Outcome, String> {
    panic::catch_unwind(AssertUnwindSafe(|| run(plan, false))).map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or_default().to_owned()
    })
}

/// A plan that fails in the same way, as small as it is to be had in a while.
fn smallest(plan: &Plan) -> Plan {
    let until = Instant::now() + SHRINKING;
    // The way it fails, without the numbers in it.
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
