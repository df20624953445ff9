//! For those who run moss: the log, and the probe of `moss health`.

pub mod journal;
pub mod probe;
