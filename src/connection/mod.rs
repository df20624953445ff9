//! One connection as bytes in and bytes out: HTTP, WebSocket and deadlines, without a socket.

pub mod backlog;
pub mod ending;
mod frames;
mod input;
pub mod session;
