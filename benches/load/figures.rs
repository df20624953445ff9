//! Writes the figures of a run as CSV, and draws charts of them.
//!
//! Each bench has one file, of its last run: lines that begin with `#` name the day, the machine
//! and the programs; then come the names of the columns, and a line for each figure.

use std::cell::RefCell;
use std::env;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::Command;

use super::machine::{self, Ticks};
use super::report::median;

const COLUMNS: &str = "bench,scenario,clients,busy,program,metric,unit,value,least,most,rounds";
/// Draws charts of the files in a folder.
const DRAW: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/charts");

/// What a figure measures.
#[derive(Clone, Copy)]
pub(crate) struct Metric {
    pub(crate) name: &'static str,
    pub(crate) unit: &'static str,
}

/// What was measured, without the figure itself.
pub(crate) struct Subject<'a> {
    pub(crate) scenario: &'a str,
    /// How many clients are logged in.
    pub(crate) clients: Option<usize>,
    /// How many of them exchange packets.
    pub(crate) busy: Option<usize>,
    pub(crate) metric: Metric,
}

/// The median of the rounds, their minimum and their maximum.
#[derive(Clone, Copy)]
pub(crate) struct Spread {
    pub(crate) value: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
    pub(crate) rounds: usize,
}

impl Spread {
    /// `None` if nothing was measured.
    pub(crate) fn of(samples: &[f64]) -> Option<Self> {
        let least = samples.iter().copied().fold(f64::INFINITY, f64::min);
        let most = samples.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        median(samples).map(|value| Self { value, least, most, rounds: samples.len() })
    }
}

pub(crate) struct Figures {
    started: Ticks,
    lines: RefCell<Vec<String>>,
}

impl Figures {
    pub(crate) fn new() -> Self {
        Self { started: Ticks::now(), lines: RefCell::new(Vec::new()) }
    }

    /// Adds a figure of `program`, or a ratio, such as that of `moss / bare`.
    pub(crate) fn add(&self, bench: &str, subject: &Subject<'_>, program: &str, spread: Spread) {
        let count = |number: Option<usize>| number.map_or_else(String::new, |it| it.to_string());
        let Subject { scenario, clients, busy, metric: Metric { name, unit } } = subject;
        let Spread { value, least, most, rounds } = spread;
        let (clients, busy) = (count(*clients), count(*busy));
        self.lines.borrow_mut().push(format!(
            "{bench},{scenario},{clients},{busy},{program},{name},{unit},\
             {value:.4},{least:.4},{most:.4},{rounds}"
        ));
    }

    /// Where benches write their files.
    pub(crate) fn folder() -> PathBuf {
        let mut folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
        folder.set_file_name("bench");
        folder
    }

    /// Writes the figures, if there are any, with `notes` on how they were measured.
    pub(crate) fn write(&self, bench: &str, notes: &[(&str, String)]) -> io::Result<()> {
        let lines = self.lines.borrow();
        if lines.is_empty() {
            return Ok(());
        }
        let mut header = machine::describe();
        header.push(("stolen", format!("{:.1} %", self.started.stolen_since())));
        let header = header.iter().chain(notes).map(|(name, value)| format!("# {name}: {value}"));
        let text = header.chain([COLUMNS.to_owned()]).chain(lines.iter().cloned());
        let text = text.map(|line| line + "\n").collect::<String>();
        let file = Self::folder().join(format!("{bench}.csv"));
        fs::create_dir_all(Self::folder())?;
        fs::write(&file, text)?;
        println!("\nThe figures are in {}.", file.display());
        draw()
    }
}

/// Draws the charts if Python is installed; the benches need it for nothing else.
fn draw() -> io::Result<()> {
    let drawn = Command::new("python3").arg(DRAW).arg(Figures::folder()).status();
    match drawn {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(io::Error::other(format!("the charts could not be drawn: {status}"))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            println!("There are no charts: python3 is not installed.");
            Ok(())
        }
        Err(error) => Err(error),
    }
}
