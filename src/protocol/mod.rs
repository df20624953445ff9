//! What packets are, and who gets them: moss's protocol, without a socket or a clock.

pub mod delivery;
mod envelope;
pub mod packet;
pub mod relay;
pub mod tally;
