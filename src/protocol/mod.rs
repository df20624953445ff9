//! moss's protocol: what packets are, and who gets them. No sockets, no clock.

pub mod delivery;
mod envelope;
pub mod packet;
pub mod relay;
pub mod tally;
