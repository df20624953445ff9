//! The command line of the benches against a running server.

use std::env;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::server::{self, Program};

const HELP: &str = "\
Measures moss and the bare relay in turn.

usage: cargo bench --bench <loopback|footprint> -- [options] [name ...]

A name selects the scenario so called or, if there is none, all whose names
contain it.

  --quick          one short round with fewer clients, to see that all works
                   (also: MOSS_BENCH=quick)
  --long           the slow scenarios too
  --rounds N       rounds of each scenario (7)
  --seconds S      time under load in each round (1)
  --only WHICH     moss or bare
  --moss PATH      another moss binary (also: MOSS_BENCH_BINARY)
  --list           the names of the scenarios
";

pub(crate) struct Options {
    pub(crate) quick: bool,
    pub(crate) long: bool,
    pub(crate) list: bool,
    pub(crate) rounds: usize,
    pub(crate) duration: Duration,
    pub(crate) programs: Vec<Program>,
    /// Connections that the load generator can hold.
    most_clients: usize,
    moss: PathBuf,
    names: Vec<String>,
}

impl Options {
    /// `None`: there is nothing to do, help was asked for.
    pub(crate) fn from_arguments() -> Result<Option<Self>, lexopt::Error> {
        use lexopt::prelude::*;

        let mut quick = env::var_os("MOSS_BENCH").is_some_and(|mode| mode == "quick");
        let (mut long, mut list, mut only) = (false, false, None);
        let (mut rounds, mut seconds) = (None, None);
        let mut moss = env::var_os("MOSS_BENCH_BINARY").map(PathBuf::from);
        let mut names = Vec::new();
        let mut parser = lexopt::Parser::from_env();
        while let Some(argument) = parser.next()? {
            match argument {
                // Added by cargo.
                Long("bench") => {}
                Long("quick") => quick = true,
                Long("long") => long = true,
                Long("list") => list = true,
                Long("rounds") => rounds = Some(parser.value()?.parse::<usize>()?.max(1)),
                Long("seconds") => seconds = Some(parser.value()?.parse::<f64>()?),
                Long("only") => only = Some(parser.value()?.string()?),
                Long("moss") => moss = Some(parser.value()?.into()),
                Long("help") => {
                    print!("{HELP}");
                    return Ok(None);
                }
                Value(name) => names.push(name.string()?),
                _ => return Err(argument.unexpected()),
            }
        }
        let limit = server::raise_descriptor_limit()
            .map_err(|error| lexopt::Error::Custom(Box::new(error)))?;
        let moss = moss.unwrap_or_else(|| env!("CARGO_BIN_EXE_moss").into());
        // Taken from another folder, in which the server is started.
        let moss = moss.canonicalize().map_err(|error| {
            lexopt::Error::Custom(format!("{}: {error}", moss.display()).into())
        })?;
        let mut programs = vec![Program::Moss(moss.clone()), Program::Bare];
        if let Some(only) = only {
            programs.retain(|program| program.to_string() == only);
        }
        Ok(Some(Self {
            quick,
            long,
            list,
            rounds: rounds.unwrap_or(if quick { 1 } else { 7 }),
            duration: Duration::from_secs_f64(seconds.unwrap_or(if quick { 0.1 } else { 1.0 })),
            programs,
            most_clients: usize::try_from(limit).map_or(usize::MAX, |limit| limit - 64),
            moss,
            names,
        }))
    }

    pub(crate) fn moss(&self) -> &Path {
        &self.moss
    }

    /// So many clients, or as many as the descriptor limit allows.
    pub(crate) fn clients(&self, clients: usize) -> usize {
        clients.min(self.most_clients)
    }

    /// Those of `scenarios` that the command line names; all, if it names none.
    pub(crate) fn select<T>(&self, scenarios: Vec<T>, name: impl Fn(&T) -> &str) -> Vec<T> {
        if self.names.is_empty() {
            return scenarios;
        }
        let exact: Vec<bool> = self
            .names
            .iter()
            .map(|wanted| scenarios.iter().any(|scenario| name(scenario) == wanted))
            .collect();
        let wants = |scenario: &str| {
            self.names.iter().zip(&exact).any(|(wanted, &exact)| {
                scenario == wanted || (!exact && scenario.contains(wanted.as_str()))
            })
        };
        let mut scenarios = scenarios;
        scenarios.retain(|scenario| wants(name(scenario)));
        scenarios
    }
}
