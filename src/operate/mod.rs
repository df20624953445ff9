//! For those who run moss: the log, what the service manager is told, what the process may
//! take and takes, and the probe of `moss health`.

pub mod cgroup;
pub mod journal;
pub mod notify;
pub mod probe;
pub mod process;
mod utc;
