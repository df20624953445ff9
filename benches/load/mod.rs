//! What the benches against a running server share.
//!
//! `server` starts moss, the `bare` relay or `nginx`, with a moss behind it or to serve a
//! `site`, as child processes. The load generator is `link` (with `tls`), for packets
//! `fleet`, `crowd` and `driver`, from sockets up to a load that is kept in flight, and for
//! files `downloads`. `process` and `charge` read what the kernel counts; `passing` and `clients` are
//! what is measured, by the rounds of `contest`; `options`, `report` and `figures`, with the
//! `machine` that they belong to, are the way in and out.

// Each bench is a crate of its own and uses its own part of this.
#![allow(dead_code)]

mod bare;
pub(crate) mod charge;
pub(crate) mod clients;
pub(crate) mod contest;
pub(crate) mod crowd;
pub(crate) mod downloads;
pub(crate) mod driver;
pub(crate) mod figures;
pub(crate) mod fleet;
pub(crate) mod frame;
pub(crate) mod link;
mod machine;
pub(crate) mod nginx;
pub(crate) mod options;
pub(crate) mod packets;
pub(crate) mod passing;
mod process;
pub(crate) mod report;
pub(crate) mod server;
pub(crate) mod site;
mod tls;

use std::error::Error;
use std::process::ExitCode;

use options::Options;

type Outcome = Result<(), Box<dyn Error>>;

/// The `main` of `bench`: `run` gets the options, unless this process was started
/// to be a server or to print something.
pub(crate) fn main(bench: &str, run: fn(&str, &Options) -> Outcome) -> ExitCode {
    if let Some(status) = server::role() {
        return status;
    }
    match measure(bench, run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(bench: &str, run: fn(&str, &Options) -> Outcome) -> Outcome {
    let Some(options) = Options::from_arguments()? else { return Ok(()) };
    if let Some(caveat) = options.caveat() {
        println!("{caveat}");
    }
    run(bench, &options)?;
    Ok(options.figures.leave(bench, &options.notes())?)
}
