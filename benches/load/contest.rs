//! moss and what it is measured beside, in turn: a table with a row or more for each
//! scenario.

use std::error::Error;
use std::io;

use super::options::Options;
use super::report::{Series, Table, figure, median};
use super::server::Program;

/// What takes turns.
pub(crate) struct Contest<'a> {
    pub(crate) options: &'a Options,
    /// The name of what moss is measured beside.
    pub(crate) yardstick: &'static str,
    pub(crate) programs: Vec<Program>,
}

/// Measures one program once: the figures of each of a scenario's rows, one row after the
/// other.
type Measure = Box<dyn Fn(&Program, &Options) -> io::Result<Vec<f64>>>;

pub(crate) struct Scenario {
    name: &'static str,
    rows: Vec<&'static str>,
    measure: Measure,
}

impl Scenario {
    /// One row, which is called as the scenario is.
    pub(crate) fn new(
        name: &'static str,
        measure: impl Fn(&Program, &Options) -> io::Result<Vec<f64>> + 'static,
    ) -> Self {
        Self { name, rows: vec![name], measure: Box::new(measure) }
    }

    /// Calls its rows so, and has as many of them.
    pub(crate) fn rows(self, rows: &[&'static str]) -> Self {
        Self { rows: rows.to_vec(), ..self }
    }
}

impl Contest<'_> {
    /// Prints the table of `bench`: those of `scenarios` that are asked for. Each row has
    /// `figures`; the ratio is that of the first.
    pub(crate) fn run(
        &self,
        bench: &str,
        title: &str,
        figures: &[&str],
        scenarios: Vec<Scenario>,
    ) -> Result<(), Box<dyn Error>> {
        let scenarios = self.options.select(scenarios, |scenario| scenario.name);
        if scenarios.is_empty() || self.programs.is_empty() {
            return Ok(());
        }
        let names = scenarios.iter().flat_map(|scenario| &scenario.rows);
        let longest = names.map(|name| name.chars().count()).max();
        let headings = self.headings(bench, figures);
        let table = Table::new(title, longest.unwrap_or(0), &headings);
        for Scenario { name, rows, measure } in scenarios {
            let (moss, yardstick) = self
                .in_turn(|program| measure(program, self.options))
                .map_err(|error| format!("{name}: {error}"))?;
            for (row, name) in rows.into_iter().enumerate() {
                let column = |samples: &[Vec<f64>], place: usize| -> Vec<f64> {
                    let place = row * figures.len() + place;
                    samples.iter().map(|sample| sample[place]).collect()
                };
                let first = Series { moss: column(&moss, 0), yardstick: column(&yardstick, 0) };
                let mut cells = vec![
                    name.to_owned(),
                    figure(median(&first.moss)),
                    figure(median(&first.yardstick)),
                    first.ratio_text(),
                ];
                for samples in [&moss, &yardstick] {
                    let others = 1..figures.len();
                    cells.extend(others.map(|place| figure(median(&column(samples, place)))));
                }
                table.row(&cells);
            }
        }
        Ok(())
    }

    fn headings(&self, bench: &str, figures: &[&str]) -> Vec<String> {
        let programs = ["moss", self.yardstick];
        let (first, others) = figures.split_first().expect("a row has a figure");
        let of = |program: &str, figure: &str| format!("{program} {figure}").trim_end().to_owned();
        let mut headings = vec![bench.to_owned()];
        headings.extend(programs.map(|program| of(program, first)));
        headings.push(format!("{} / {} (spread)", programs[0], programs[1]));
        for program in programs {
            let named = others.iter().take(1).map(|figure| of(program, figure));
            headings.extend(named.chain(others.iter().skip(1).map(ToString::to_string)));
        }
        headings
    }

    /// Measures each program once a round; returns moss's samples and the yardstick's. Who
    /// goes first alternates, so that a drift of the machine does not favour one of them.
    pub(crate) fn in_turn<T>(
        &self,
        mut measure: impl FnMut(&Program) -> io::Result<T>,
    ) -> io::Result<(Vec<T>, Vec<T>)> {
        let (mut moss, mut yardstick) = (Vec::new(), Vec::new());
        for round in 0..self.options.rounds {
            let mut order: Vec<&Program> = self.programs.iter().collect();
            if round % 2 == 1 {
                order.reverse();
            }
            for program in order {
                let sample = measure(program)
                    .map_err(|error| io::Error::new(error.kind(), format!("{program}: {error}")))?;
                if program.is_yardstick() { &mut yardstick } else { &mut moss }.push(sample);
            }
        }
        Ok((moss, yardstick))
    }
}
