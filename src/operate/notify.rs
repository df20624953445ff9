//! Messages to the service manager: systemd's protocol, as sd_notify(3) describes it.
//!
//! One datagram for each notice, to the socket that `NOTIFY_SOCKET` names. The socket is
//! non-blocking and what it does not take is dropped: a manager that does not read must not
//! stop the loop. (The crates for this protocol block.) Without the variable nothing is sent.
//!
//! The watchdog is used only if there is such a socket, and if `WATCHDOG_PID` does not name
//! another process.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;
use std::{env, fmt, io, process};

use rustix::time::{ClockId, clock_gettime};

const SOCKET: &str = "NOTIFY_SOCKET";
const WATCHDOG_TIME: &str = "WATCHDOG_USEC";
const WATCHDOG_PROCESS: &str = "WATCHDOG_PID";

/// The shortest time between two watchdog notices: waits have a resolution of a millisecond, so
/// with less the loop would do nothing else.
const LEAST_INTERVAL: Duration = Duration::from_millis(1);

/// The notices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// moss serves: after the start, and after each [`Reloading`](Self::Reloading).
    Ready,
    /// Files are being read again.
    Reloading,
    /// moss closes its connections and will exit.
    Stopping,
    /// The loop is alive.
    Watchdog,
}

/// Sends notices to the service manager, if there is one.
#[derive(Debug, Default)]
pub struct Notifier {
    socket: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
    has_failed: bool,
}

impl Notifier {
    /// Reads the environment. Values that can't be used are logged as warnings.
    #[cold]
    pub fn from_environment() -> Self {
        let variable = |name| env::var_os(name).filter(|value: &OsString| !value.is_empty());
        let socket = variable(SOCKET).and_then(|name| {
            let opened = open(&name);
            opened.inspect_err(|error| log::warn!("{SOCKET} can't be used: {error}")).ok()
        });
        let interval = watchdog(variable(WATCHDOG_TIME), variable(WATCHDOG_PROCESS))
            .inspect_err(|name| log::warn!("{name} is not a number: the watchdog gets no messages"))
            .unwrap_or_default();
        Self { watchdog: interval.filter(|_| socket.is_some()), socket, has_failed: false }
    }

    /// How often [`Notice::Watchdog`] has to be sent at least: half of `WATCHDOG_USEC`, as
    /// sd_watchdog_enabled(3) advises, and not less than a millisecond.
    pub fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }

    /// Sends a notice, or drops it if that is not possible now. The first failure is logged.
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

/// A socket, and the manager's address: a path, or a name in the abstract namespace after an
/// `@`. systemd's `vsock:` addresses are for virtual machines only.
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

/// The interval of the watchdog, if it watches this process.
///
/// # Errors
/// The variable that is not a number above 0.
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

/// The time tells systemd which of its reload commands this answers.
#[cold]
fn reloading() -> String {
    let now = clock_gettime(ClockId::Monotonic);
    let micros = now.tv_sec * 1_000_000 + now.tv_nsec / 1_000;
    format!("RELOADING=1\nMONOTONIC_USEC={micros}\nSTATUS=reading files again")
}
