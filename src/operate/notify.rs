//! What the service manager is told: systemd's protocol, as sd_notify(3) describes it.
//!
//! One datagram for each notice, to the socket that `NOTIFY_SOCKET` names. The socket does
//! not block and what it does not take is dropped: a manager that does not read must not
//! stop the loop. (The crates for this block.) Without the variable there is no socket, and
//! nothing is sent.
//!
//! A watchdog counts only for a process that can tell it anything, and only if `WATCHDOG_PID`
//! is not another process.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;
use std::{env, fmt, io, process};

use rustix::time::{ClockId, clock_gettime};

const SOCKET: &str = "NOTIFY_SOCKET";
const WATCHDOG_TIME: &str = "WATCHDOG_USEC";
const WATCHDOG_PROCESS: &str = "WATCHDOG_PID";

/// A shorter time between two notices would have the loop do nothing else: a wait has a
/// grain of a millisecond.
const LEAST_INTERVAL: Duration = Duration::from_millis(1);

/// What there is to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// moss serves: after the start, and after each [`Reloading`](Self::Reloading).
    Ready,
    /// Files are being read again.
    Reloading,
    /// moss closes its connections and will end.
    Stopping,
    /// The loop goes on.
    Watchdog,
}

/// The way to the service manager, if there is one.
#[derive(Debug, Default)]
pub struct Notifier {
    socket: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
    has_failed: bool,
}

impl Notifier {
    /// As the environment says. What of it can't be used is warned of in the log.
    #[cold]
    pub fn from_environment() -> Self {
        let variable = |name| env::var_os(name).filter(|value: &OsString| !value.is_empty());
        let socket = variable(SOCKET).and_then(|name| {
            let opened = open(&name);
            opened.inspect_err(|error| log::warn!("{SOCKET} can't be used: {error}")).ok()
        });
        let interval = watchdog(variable(WATCHDOG_TIME), variable(WATCHDOG_PROCESS))
            .inspect_err(|name| log::warn!("{name} is no number: no watchdog is told anything"))
            .unwrap_or_default();
        Self { watchdog: interval.filter(|_| socket.is_some()), socket, has_failed: false }
    }

    /// How often [`Notice::Watchdog`] is to be told, at least. Half of `WATCHDOG_USEC`, as
    /// sd_watchdog_enabled(3) advises. Never shorter than a millisecond.
    pub fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }

    /// Tells, or drops what can't be told now. The first time, that is warned of.
    pub fn notify(&mut self, notice: Notice) {
        let Some((socket, manager)) = &self.socket else { return };
        let sent = match notice {
            Notice::Ready => socket.send_to_addr(b"READY=1\nSTATUS=serving", manager),
            Notice::Reloading => socket.send_to_addr(reloading().as_bytes(), manager),
            Notice::Stopping => socket.send_to_addr(b"STOPPING=1\nSTATUS=stopping", manager),
            Notice::Watchdog => socket.send_to_addr(b"WATCHDOG=1", manager),
        };
        if let Err(error) = sent
            && !self.has_failed
        {
            self.has_failed = true;
            warn(notice, &error);
        }
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ready => "READY",
            Self::Reloading => "RELOADING",
            Self::Stopping => "STOPPING",
            Self::Watchdog => "WATCHDOG",
        })
    }
}

#[cold]
fn warn(notice: Notice, error: &io::Error) {
    log::warn!("{SOCKET} does not take {notice}: {error}; what it does not take is dropped");
}

/// A socket to send by, and the manager's address: a path, or a name in the abstract
/// namespace after an `@`. systemd also has `vsock:`, for whole machines alone.
#[cold]
fn open(name: &OsStr) -> io::Result<(UnixDatagram, SocketAddr)> {
    let manager = match name.as_bytes() {
        [b'@', name @ ..] => abstract_name(name)?,
        [b'/', ..] => SocketAddr::from_pathname(name)?,
        _ => return Err(io::Error::other("it begins with neither / nor @")),
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    Ok((socket, manager))
}

#[cfg(target_os = "linux")]
fn abstract_name(name: &[u8]) -> io::Result<SocketAddr> {
    use std::os::linux::net::SocketAddrExt;
    SocketAddr::from_abstract_name(name)
}

#[cfg(not(target_os = "linux"))]
fn abstract_name(_: &[u8]) -> io::Result<SocketAddr> {
    Err(io::Error::other("only Linux has names that begin with @"))
}

/// How often a watchdog of this process wants to hear of it.
///
/// # Errors
/// The variable that is no number above 0.
#[cold]
fn watchdog(
    time: Option<OsString>,
    process: Option<OsString>,
) -> Result<Option<Duration>, &'static str> {
    let number = |text: OsString| text.to_str()?.parse::<u64>().ok().filter(|&number| number > 0);
    let Some(time) = time else { return Ok(None) };
    if let Some(process) = process
        && number(process).ok_or(WATCHDOG_PROCESS)? != u64::from(process::id())
    {
        return Ok(None);
    }
    let time = Duration::from_micros(number(time).ok_or(WATCHDOG_TIME)?);
    Ok(Some((time / 2).max(LEAST_INTERVAL)))
}

/// systemd tells by the time which reload it is that moss begins.
#[cold]
fn reloading() -> String {
    let now = clock_gettime(ClockId::Monotonic);
    let micros = now.tv_sec * 1_000_000 + now.tv_nsec / 1_000;
    format!("RELOADING=1\nMONOTONIC_USEC={micros}\nSTATUS=reading files again")
}
