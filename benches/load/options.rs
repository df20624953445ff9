//! The command line of the benches against a running server.

use std::env;
use std::fs;
use std::iter;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::contest::Contest;
use super::figures::Figures;
use super::machine;
use super::nginx::Nginx;
use super::server::{self, Program};

/// The largest crowd of any scenario.
const MOST_CLIENTS: usize = 15_000;

const HELP: &str = "\
Measures moss and a yardstick in turn. The yardstick is the bare relay; for TLS,
nginx in front of moss; for pages, nginx.

usage: cargo bench --bench <loopback|footprint|tls|pages> -- [options] [name ...]

A name selects the scenario of that name or, if there is none, all scenarios
whose names contain it.

  --quick          one short round with a tenth of the clients, to test the bench
                   (also: MOSS_BENCH=quick)
  --long           include the slow scenarios
  --rounds N       rounds of each scenario (7)
  --seconds S      time under load in each round (1)
  --only PROGRAM   measure only moss, bare or nginx
  --moss PATH      measure this moss binary (also: MOSS_BENCH_BINARY)
  --list           print the names of the scenarios
";

pub(crate) struct Options {
    quick: bool,
    pub(crate) long: bool,
    list: bool,
    pub(crate) rounds: usize,
    pub(crate) duration: Duration,
    /// How many connections the load generator can have.
    most_clients: usize,
    moss: PathBuf,
    only: Option<String>,
    names: Vec<String>,
    /// What has been measured so far.
    pub(crate) figures: Figures,
}

impl Options {
    /// Reads the command line. `None` if it only asked for help.
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
        // The server is started in another folder.
        let moss = moss.canonicalize().map_err(|error| {
            lexopt::Error::Custom(format!("{}: {error}", moss.display()).into())
        })?;
        Ok(Some(Self {
            quick,
            long,
            list,
            rounds: rounds.unwrap_or(if quick { 1 } else { 7 }),
            duration: Duration::from_secs_f64(seconds.unwrap_or(if quick { 0.1 } else { 1.0 })),
            most_clients: usize::try_from(limit).map_or(usize::MAX, |limit| limit - 64),
            moss,
            only,
            names,
            figures: Figures::new(),
        }))
    }

    pub(crate) fn moss(&self) -> &Path {
        &self.moss
    }

    /// The size of the moss binary.
    pub(crate) fn size(&self) -> String {
        let bytes = fs::metadata(&self.moss).map_or(0, |metadata| metadata.len());
        format!("{} KiB", bytes / 1024)
    }

    /// Packets without TLS.
    pub(crate) fn plain(&self) -> Contest<'_> {
        self.contest("bare", [Program::Moss(self.moss.clone()), Program::Bare])
    }

    /// Packets over TLS; moss alone without nginx.
    pub(crate) fn tls(&self, nginx: Option<&Nginx>) -> Contest<'_> {
        self.beside(nginx, Program::Tls(self.moss.clone()))
    }

    /// Files; moss alone without nginx.
    pub(crate) fn files(&self, nginx: Option<&Nginx>) -> Contest<'_> {
        self.beside(nginx, Program::Moss(self.moss.clone()))
    }

    /// moss alone.
    pub(crate) fn alone(&self) -> Contest<'_> {
        self.contest("", [Program::Moss(self.moss.clone())])
    }

    fn beside(&self, nginx: Option<&Nginx>, moss: Program) -> Contest<'_> {
        let name = if matches!(moss, Program::Tls(_)) { "nginx + moss" } else { "nginx" };
        let nginx = nginx.map(|nginx| Program::Nginx(nginx.clone(), self.moss.clone()));
        self.contest(name, iter::once(moss).chain(nginx))
    }

    fn contest(
        &self,
        yardstick: &'static str,
        programs: impl IntoIterator<Item = Program>,
    ) -> Contest<'_> {
        let chosen = |program: &Program| match &self.only {
            Some(only) => program.to_string() == *only,
            None => true,
        };
        Contest {
            options: self,
            yardstick,
            programs: programs.into_iter().filter(chosen).collect(),
        }
    }

    /// So many clients or downloads, or fewer: in a quick run, or because of the descriptor limit.
    pub(crate) fn crowd(&self, clients: usize) -> usize {
        let wanted = if self.quick { clients / 10 } else { clients };
        wanted.min(self.most_clients)
    }

    /// Why the figures of this run are not what their names say, if so.
    pub(crate) fn caveat(&self) -> Option<String> {
        if self.quick {
            Some(
                "Quick: one short round, a tenth of the clients. These figures mean nothing."
                    .into(),
            )
        } else if self.most_clients < MOST_CLIENTS {
            Some(format!("The descriptor limit allows only {} clients.", self.most_clients))
        } else {
            None
        }
    }

    /// How the figures were measured, for later readers.
    pub(crate) fn notes(&self) -> Vec<(&'static str, String)> {
        let rounds = format!("{} of {} s", self.rounds, self.duration.as_secs_f64());
        let moss = machine::first_line(&self.moss, &["--version"]);
        let nginx = Nginx::find().map_or_else(|| "none".into(), |nginx| nginx.version);
        let mut notes =
            vec![("moss", moss), ("size", self.size()), ("nginx", nginx), ("rounds", rounds)];
        notes.extend(self.caveat().map(|caveat| ("caveat", caveat)));
        notes
    }

    /// Those of `scenarios` that the command line names; all if it names none. With `--list`,
    /// prints their names and returns none.
    pub(crate) fn select<T>(&self, scenarios: Vec<T>, name: impl Fn(&T) -> &str) -> Vec<T> {
        if self.list {
            scenarios.iter().for_each(|scenario| println!("{}", name(scenario)));
            return Vec::new();
        }
        let exists = |wanted: &String| scenarios.iter().any(|scenario| name(scenario) == wanted);
        let (exact, parts): (Vec<_>, Vec<_>) = self.names.iter().partition(|name| exists(name));
        let is_named = |scenario: &str| {
            self.names.is_empty()
                || exact.iter().any(|name| *name == scenario)
                || parts.iter().any(|part| scenario.contains(part.as_str()))
        };
        scenarios.into_iter().filter(|scenario| is_named(name(scenario))).collect()
    }
}
