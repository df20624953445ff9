//! Prometheus's text format, version 0.0.4: families of samples, each with its help and its
//! type. The caller provides the figures.
//!
//! Names, labels and help texts are constants and need no escaping. Values are integers or
//! durations, so no floating-point number is formatted.

use std::fmt::Write as _;
use std::time::Duration;

/// The type of the text (Prometheus, "Exposition formats").
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A text that grows by families.
#[derive(Debug, Default)]
pub struct Exposition {
    text: String,
    name: &'static str,
}

/// The type of a family.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// Only grows; starts at 0.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Cumulative counts of values up to each bound.
    Histogram,
}

/// A sample's value.
#[derive(Clone, Copy, Debug)]
pub enum Value {
    /// An integer.
    Number(u64),
    /// A duration, written in seconds.
    Seconds(Duration),
}

impl Exposition {
    /// Begins a family.
    #[inline(never)]
    pub fn family(&mut self, name: &'static str, kind: Kind, help: &str) -> &mut Self {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        self.name = name;
        self.write(&["# HELP ", name, " ", help, "\n# TYPE ", name, " ", kind, "\n"]);
        self
    }

    /// A family with one sample, a number.
    pub fn number(&mut self, name: &'static str, kind: Kind, help: &str, value: u64) {
        self.family(name, kind, help).sample("", &[], Value::Number(value));
    }

    /// A family with one sample, a duration.
    pub fn seconds(&mut self, name: &'static str, kind: Kind, help: &str, value: Duration) {
        self.family(name, kind, help).sample("", &[], Value::Seconds(value));
    }

    /// A family with a number for each value of a label.
    pub fn by_label(
        &mut self,
        name: &'static str,
        kind: Kind,
        help: &str,
        label: &str,
        numbers: &mut dyn Iterator<Item = (&str, u64)>,
    ) {
        self.family(name, kind, help);
        for (word, number) in numbers {
            self.sample("", &[(label, word)], Value::Number(number));
        }
    }

    /// A sample of the family; `suffix` is appended to the family's name.
    #[inline(never)]
    pub fn sample(&mut self, suffix: &str, labels: &[(&str, &str)], value: Value) {
        let name = self.name;
        self.write(&[name, suffix]);
        for (at, (label, word)) in labels.iter().enumerate() {
            self.write(&[if at == 0 { "{" } else { "," }, label, "=\"", word, "\""]);
        }
        let end = if labels.is_empty() { " " } else { "} " };
        let _ = match value {
            Value::Number(number) => writeln!(self.text, "{end}{number}"),
            Value::Seconds(time) => {
                writeln!(self.text, "{end}{}.{:09}", time.as_secs(), time.subsec_nanos())
            }
        };
    }

    /// The text so far.
    pub fn into_text(self) -> String {
        self.text
    }

    fn write(&mut self, parts: &[&str]) {
        parts.iter().for_each(|part| self.text.push_str(part));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_written_as_the_format_has_them() {
        let mut text = Exposition::default();
        text.number("a_total", Kind::Counter, "How many.", 7);
        text.family("b", Kind::Histogram, "How long.");
        text.sample("_bucket", &[("x", "y"), ("le", "+Inf")], Value::Number(u64::MAX));
        text.sample("_sum", &[], Value::Seconds(Duration::new(3, 40)));
        assert_eq!(
            text.into_text(),
            "# HELP a_total How many.\n# TYPE a_total counter\na_total 7\n\
             # HELP b How long.\n# TYPE b histogram\n\
             b_bucket{x=\"y\",le=\"+Inf\"} 18446744073709551615\nb_sum 3.000000040\n"
        );
    }
}
