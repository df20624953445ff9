//! `moss health`: asks the moss with these settings whether it is healthy.
//!
//! Any user may run it. Secrets and their files are readable for moss's user or root only, so
//! only the address to connect to is read here.

use std::process::ExitCode;

use moss::operate::probe::{self, Question};
use moss::settings::environment;

use super::say;

/// Asks, and prints the result in one line.
pub(crate) fn run(question: Question) -> ExitCode {
    let answer = environment::plain_address().map_err(|error| error.to_string()).and_then(
        |(address, unread)| {
            let answer = probe::ask(address, question);
            let Some(unread) = unread else { return answer };
            // Explains why another moss may have answered, or none.
            let add = |line| format!("{line} ({unread}; set MOSS_PORT if it is another)");
            answer.map(add).map_err(add)
        },
    );
    let (Ok(line) | Err(line)) = &answer;
    say(&format!("{line}\n"));
    if answer.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
