//! `moss health`: asks the moss of this environment whether it is well.

use std::process::ExitCode;

use moss::operate::probe;
use moss::settings::environment;

use super::say;

/// Asks, and says in one line what came of it.
pub(crate) fn run() -> ExitCode {
    // The limit on descriptors is the server's concern, not the question's.
    let answer = environment::load(u64::MAX)
        .map_err(|error| error.to_string())
        .and_then(|config| probe::ask(config.listen));
    let (Ok(line) | Err(line)) = &answer;
    say(&format!("{line}\n"));
    if answer.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
