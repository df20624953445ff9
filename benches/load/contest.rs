//! Measures moss and a yardstick in turn: a table with one or more rows for each scenario, and
//! the same figures in a file.

use std::error::Error;
use std::io;

use super::figures::{Metric, Spread, Subject};
use super::options::Options;
use super::report::{Series, Table, figure, median};
use super::server::Program;

/// The programs that are measured in turn.
pub(crate) struct Contest<'a> {
    pub(crate) options: &'a Options,
    /// The name of the program that moss is compared with.
    pub(crate) yardstick: &'static str,
    pub(crate) programs: Vec<Program>,
}

/// Measures one program once: returns the figures of all of a scenario's rows, row by row.
type Measure = Box<dyn Fn(&Program, &Options) -> io::Result<Vec<f64>>>;

pub(crate) struct Scenario {
    name: &'static str,
    rows: Vec<Row>,
    measure: Measure,
}

/// A row of the table: one thing that is measured, with one or more figures.
pub(crate) struct Row {
    label: String,
    clients: Option<usize>,
    busy: Option<usize>,
    metrics: Vec<Metric>,
}

impl Row {
    /// A row with one figure, named after it.
    pub(crate) fn new(name: &'static str, unit: &'static str) -> Self {
        let metrics = vec![Metric { name, unit }];
        Self { label: format!("{name}, {unit}"), clients: None, busy: None, metrics }
    }

    /// The only row of a scenario.
    fn only(scenario: &str, metrics: &[Metric]) -> Self {
        Self { label: scenario.to_owned(), clients: None, busy: None, metrics: metrics.to_vec() }
    }

    /// Sets how many clients are logged in.
    pub(crate) fn clients(self, clients: usize) -> Self {
        let label = format!("{} ({clients} clients)", self.label);
        Self { label, clients: Some(clients), ..self }
    }

    /// Sets how many of the clients exchange packets.
    pub(crate) fn busy(self, busy: usize) -> Self {
        let label = format!("{}, {busy} busy)", self.label.trim_end_matches(')'));
        Self { label, busy: Some(busy), ..self }
    }
}

impl Scenario {
    /// A scenario with one row of the same name.
    pub(crate) fn new(
        name: &'static str,
        metrics: &[Metric],
        measure: impl Fn(&Program, &Options) -> io::Result<Vec<f64>> + 'static,
    ) -> Self {
        Self { name, rows: vec![Row::only(name, metrics)], measure: Box::new(measure) }
    }

    /// A scenario with a row for each figure.
    pub(crate) fn list(
        name: &'static str,
        rows: impl IntoIterator<Item = Row>,
        measure: impl Fn(&Program, &Options) -> io::Result<Vec<f64>> + 'static,
    ) -> Self {
        Self { name, rows: rows.into_iter().collect(), measure: Box::new(measure) }
    }

    /// Sets that all of `clients` exchange packets. The label does not repeat it: the name says so.
    pub(crate) fn all_busy(mut self, clients: usize) -> Self {
        for row in &mut self.rows {
            (row.clients, row.busy) = (Some(clients), Some(clients));
        }
        self
    }
}

impl Contest<'_> {
    /// Measures the selected `scenarios`, and prints them as the table of `bench`. Each row has
    /// as many figures as there are `headings`; the ratio is that of the first.
    pub(crate) fn run(
        &self,
        bench: &str,
        title: &str,
        headings: &[&str],
        scenarios: Vec<Scenario>,
    ) -> Result<(), Box<dyn Error>> {
        let scenarios = self.options.select(scenarios, |scenario| scenario.name);
        if scenarios.is_empty() || self.programs.is_empty() {
            return Ok(());
        }
        let rows = scenarios.iter().flat_map(|scenario| &scenario.rows);
        let longest = rows.map(|row| row.label.chars().count()).max();
        let table = Table::new(title, longest.unwrap_or(0), &self.headings(bench, headings));
        for Scenario { name, rows, measure } in scenarios {
            let samples = self
                .in_turn(|program| measure(program, self.options))
                .map_err(|error| format!("{name}: {error}"))?;
            let mut first = 0;
            for row in rows {
                let series = row.metrics.iter().enumerate().map(|(place, _)| {
                    let column = |samples: &[Vec<f64>]| {
                        samples.iter().map(|sample| sample[first + place]).collect()
                    };
                    Series { moss: column(&samples.0), yardstick: column(&samples.1) }
                });
                let series = series.collect::<Vec<_>>();
                self.keep(bench, name, &row, &series);
                table.row(&cells(&row.label, &series));
                first += row.metrics.len();
            }
        }
        Ok(())
    }

    /// Adds a row's figures, with the ratio of the first, to the run's file.
    fn keep(&self, bench: &str, scenario: &str, row: &Row, series: &[Series]) {
        let figures = &self.options.figures;
        let &Row { clients, busy, .. } = row;
        for (metric, series) in row.metrics.iter().zip(series) {
            let subject = Subject { scenario, clients, busy, metric: *metric };
            for (program, samples) in [("moss", &series.moss), (self.yardstick, &series.yardstick)]
            {
                if let Some(spread) = Spread::of(samples) {
                    figures.add(bench, &subject, program, spread);
                }
            }
        }
        if let ([metric, ..], [first, ..]) = (&row.metrics[..], series)
            && let Some((value, least, most)) = first.ratio()
        {
            let metric = Metric { unit: "ratio", ..*metric };
            let spread = Spread { value, least, most, rounds: first.moss.len() };
            let programs = format!("moss / {}", self.yardstick);
            figures.add(bench, &Subject { scenario, clients, busy, metric }, &programs, spread);
        }
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

    /// Measures each program once per round; returns the samples of moss and of the yardstick.
    /// They alternate in going first, so that a drift of the machine does not favour one of them.
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

/// The first figure of both and its ratio, then the other figures of moss and of the yardstick.
fn cells(label: &str, series: &[Series]) -> Vec<String> {
    let (first, others) = series.split_first().expect("a row has a figure");
    let mut cells = vec![
        label.to_owned(),
        figure(median(&first.moss)),
        figure(median(&first.yardstick)),
        first.ratio_text(),
    ];
    cells.extend(others.iter().map(|series| figure(median(&series.moss))));
    cells.extend(others.iter().map(|series| figure(median(&series.yardstick))));
    cells
}
