//! Every setting, and where it comes from.

pub mod config;
mod dotenv;
pub mod environment;
mod hosts;
pub(crate) mod variables;
