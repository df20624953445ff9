//! The moss program: arguments in, exit status out. What each command does is in `commands`.

mod commands;

use std::env;
use std::process::ExitCode;

use moss::operate::probe::Question;

use crate::commands::{WRONG_SETTINGS, check, give_up, health, say, serve};

const USAGE: &str = "\
moss, the Many-to-One Signaling Server for WebRTC

usage: moss            run the server, with settings from the environment and ./.env
       moss check      print the settings that would be in force, and exit: status
                       0, or 2 if moss could not start with them
       moss health     ask the running moss whether it is healthy: prints one line,
                       exit status 0 or 1; with --master also 1 without a master
       moss --help     print this text
       moss --version  print the version and the commit

Settings are MOSS_... environment variables; template.env explains each.
MOSS_CONNECTION_SECRET and MOSS_CONNECTION_OFFER_TYPE are required.
";

fn main() -> ExitCode {
    let words: Vec<_> =
        env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    // At most two words in a fixed order: no parser needed.
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => serve::run(),
        ["check"] => check::run(),
        ["health"] => health::run(Question::Well),
        ["health", "--master"] => health::run(Question::Master),
        ["-h" | "--help"] => {
            say(USAGE);
            ExitCode::SUCCESS
        }
        ["-V" | "--version"] => {
            say(concat!("moss ", env!("VERSION_AND_COMMIT"), "\n"));
            ExitCode::SUCCESS
        }
        _ => {
            let words = words.join(" ");
            let why = format_args!("{words:?} is not a command\n\n{}", USAGE.trim_end());
            give_up(WRONG_SETTINGS, &why)
        }
    }
}
