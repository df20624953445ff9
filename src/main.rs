//! The moss program: arguments in, exit status out. What each command does is in `commands`.

mod commands;

use std::process::ExitCode;

use lexopt::prelude::*;
use moss::operate::probe::Question;

use crate::commands::{WRONG_SETTINGS, check, give_up, health, say, serve};

const USAGE: &str = "\
moss, the Many-to-One Signaling Server for WebRTC

usage: moss            serve, as the environment and ./.env say
       moss check      tell what a start would take for settings, and end: exit
                       status 0, or 2 if it could not start with them
       moss health     ask the moss of this environment whether it is well:
                       one line, and exit status 0 or 1; with --master it is
                       not if it has no master
       moss --help     this text
       moss --version  the version, and the commit that it was built of

Settings are MOSS_... environment variables; template.env explains each.
MOSS_CONNECTION_SECRET and MOSS_CONNECTION_OFFER_TYPE are required.
";

/// What the command line asks for.
enum Command {
    Serve,
    Check,
    Health(Question),
    Help,
    Version,
}

fn main() -> ExitCode {
    match command() {
        Ok(Command::Serve) => serve::run(),
        Ok(Command::Check) => check::run(),
        Ok(Command::Health(question)) => health::run(question),
        Ok(Command::Help) => {
            say(USAGE);
            ExitCode::SUCCESS
        }
        Ok(Command::Version) => {
            say(concat!("moss ", env!("MOSS_VERSION"), "\n"));
            ExitCode::SUCCESS
        }
        Err(error) => give_up(WRONG_SETTINGS, &format_args!("{error}\n\n{}", USAGE.trim_end())),
    }
}

fn command() -> Result<Command, lexopt::Error> {
    let mut arguments = lexopt::Parser::from_env();
    let mut command = None;
    while let Some(argument) = arguments.next()? {
        let next = match argument {
            Short('h') | Long("help") => Command::Help,
            Short('V') | Long("version") => Command::Version,
            Value(word) if word == "check" => Command::Check,
            Value(word) if word == "health" => Command::Health(Question::Well),
            Long("master") if matches!(command, Some(Command::Health(Question::Well))) => {
                command = Some(Command::Health(Question::Master));
                continue;
            }
            other => return Err(other.unexpected()),
        };
        if command.replace(next).is_some() {
            return Err("one command at a time".into());
        }
    }
    Ok(command.unwrap_or(Command::Serve))
}
