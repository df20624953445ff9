//! All settings, and how they are read.

pub mod config;
mod dotenv;
pub mod environment;
mod hosts;
pub mod networks;
pub mod room;
pub mod secrets;
pub mod summary;
pub(crate) mod variables;
