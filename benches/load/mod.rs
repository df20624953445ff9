//! Shared by the benches against a running server.
//!
//! - `server` starts the child processes: moss, the `bare` relay or `nginx`, which proxies a
//!   moss or serves a `site`.
//! - The load generator's connections are `link`, with `tls`. `fleet`, `crowd` and `driver` load
//!   a server with packets, from sockets up to a load that is kept in flight; `downloads`
//!   fetches files.
//! - `process` and `charge` read CPU time and memory from the kernel.
//! - `passing` and `clients` say what to measure; `contest` measures it in rounds.
//! - `options` reads the command line; `report` prints tables; `figures` writes files, with a
//!   description of the `machine`.

// Each bench is a crate of its own, and uses only parts of this.
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

/// The `main` of `bench`: calls `run`, unless this process was started to become a server or
/// to print its help.
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
    Ok(options.figures.write(bench, &options.notes())?)
}
