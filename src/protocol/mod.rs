//! What packets are, and who gets them: moss's protocol, without a socket or a clock.

mod envelope;
pub mod packet;
pub mod relay;
