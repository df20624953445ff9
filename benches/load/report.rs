//! Medians, ratios, and printed tables.

/// A figure's samples, one per round, of moss and of the yardstick.
pub(crate) struct Series {
    pub(crate) moss: Vec<f64>,
    pub(crate) yardstick: Vec<f64>,
}

impl Series {
    /// `moss / yardstick`: the ratio of the medians, and the smallest and the largest ratio
    /// within one round.
    pub(crate) fn ratio(&self) -> Option<(f64, f64, f64)> {
        let (moss, yardstick) = (median(&self.moss)?, median(&self.yardstick)?);
        if !(moss / yardstick).is_finite() {
            return None;
        }
        let rounds =
            self.moss.iter().zip(&self.yardstick).map(|(moss, yardstick)| moss / yardstick);
        let (least, greatest) = rounds
            .fold((f64::INFINITY, 0.0_f64), |(least, greatest), ratio| {
                (least.min(ratio), greatest.max(ratio))
            });
        Some((moss / yardstick, least, greatest))
    }

    pub(crate) fn ratio_text(&self) -> String {
        self.ratio().map_or_else(
            || "–".into(),
            |(ratio, least, greatest)| format!("{ratio:.2} ({least:.2}–{greatest:.2})"),
        )
    }
}

pub(crate) fn median(figures: &[f64]) -> Option<f64> {
    let mut sorted = figures.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        even if even % 2 == 0 => Some(f64::midpoint(sorted[middle - 1], sorted[middle])),
        _ => Some(sorted[middle]),
    }
}

/// Three significant digits, or a dash if it was not measured.
pub(crate) fn figure(value: Option<f64>) -> String {
    match value.filter(|value| value.is_finite()) {
        None => "–".into(),
        Some(value) if value >= 10_000.0 => thousands(value),
        Some(value) if value >= 100.0 => format!("{value:.0}"),
        Some(value) if value >= 10.0 => format!("{value:.1}"),
        Some(value) => format!("{value:.2}"),
    }
}

fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A table in Markdown, printed row by row as the figures come in.
pub(crate) struct Table {
    widths: Vec<usize>,
}

impl Table {
    /// The first column is text up to `names` wide, aligned to the left; the others are numbers.
    pub(crate) fn new(title: &str, names: usize, columns: &[impl AsRef<str>]) -> Self {
        let widths = columns.iter().enumerate().map(|(place, column)| {
            let least = if place == 0 { names } else { 7 };
            column.as_ref().chars().count().max(least)
        });
        let table = Self { widths: widths.collect() };
        println!("\n{title}\n");
        table.row(columns);
        let rules: Vec<String> = table
            .widths
            .iter()
            .enumerate()
            .map(|(place, width)| {
                let end = if place == 0 { "-" } else { ":" };
                format!("{}{end}", "-".repeat(width - 1))
            })
            .collect();
        table.row(&rules);
        table
    }

    pub(crate) fn row(&self, cells: &[impl AsRef<str>]) {
        let mut line = String::from("|");
        for (place, (cell, width)) in cells.iter().zip(&self.widths).enumerate() {
            let cell = cell.as_ref();
            if place == 0 {
                line += &format!(" {cell:<width$} |");
            } else {
                line += &format!(" {cell:>width$} |");
            }
        }
        println!("{line}");
    }
}
