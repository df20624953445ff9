//! For operators: the log, messages to the service manager, limits and use of memory, and the
//! probe of `moss health`.

pub mod cgroup;
pub mod journal;
pub mod notify;
pub mod probe;
pub mod process;
mod utc;
