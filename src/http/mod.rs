//! The request that opens each connection, and what it is answered.

pub mod answer;
pub mod head;
mod origin;
pub mod redirect;
