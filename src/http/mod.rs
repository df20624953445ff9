//! What is asked of moss before a WebSocket, or instead of one, and what it answers.

pub mod answer;
pub mod exposition;
pub mod folder;
pub mod forwarded;
pub mod head;
mod origin;
pub mod page;
pub mod pages;
mod range;
pub mod redirect;
mod request;
