//! Every setting, and where it comes from.

pub mod config;
pub mod environment;
mod hosts;
