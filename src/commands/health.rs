//! `moss health`: asks the moss of this environment whether it is well.
//!
//! Anybody may ask. The secrets, and the files that hold them, are for moss's user or root
//! alone, so nothing is read here but where moss listens.

use std::process::ExitCode;

use moss::operate::probe::{self, Question};
use moss::settings::environment;

use super::say;

/// Asks, and says in one line what came of it.
pub(crate) fn run(question: Question) -> ExitCode {
    let answer = environment::plain_address().map_err(|error| error.to_string()).and_then(
        |(address, unread)| {
            let answer = probe::ask(address, question);
            let Some(unread) = unread else { return answer };
            // Else nobody would understand why another moss answers, or none.
            let add = |line| format!("{line} ({unread}; set MOSS_PORT if it is another)");
            answer.map(add).map_err(add)
        },
    );
    let (Ok(line) | Err(line)) = &answer;
    say(&format!("{line}\n"));
    if answer.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
