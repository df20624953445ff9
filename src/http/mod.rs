//! HTTP: request heads, their answers, and the pages.

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
