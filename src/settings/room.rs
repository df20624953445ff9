//! How much memory moss may use (its *room*), and the default limits that follow from it.
//!
//! A quarter is for what moss holds for peers. The rest is for heap fragmentation, moss itself,
//! and what the kernel holds for each connection, which a control group of version 2 counts
//! as well. docs/configuration.md, "Memory", has the figures.

use std::fmt;
use std::num::NonZero;

/// The memory limit is the room divided by this.
const SHARES: u64 = 4;

/// The largest default memory limit, in bytes, unless four backlogs are more.
const MOST_SHARE: u64 = 64 << 20;

/// The memory of a connection beside what is held for it, in bytes: 4 KiB in the kernel, as much
/// for TLS, and socket buffers.
const CONNECTION_BYTES: u64 = 32 << 10;

/// The size of a socket buffer is the limit of the control group divided by this.
const BUFFERS: u64 = 4096;

/// The smallest and the largest size of a socket buffer, in bytes.
const BUFFER: (u32, u32) = (4 << 10, 1 << 20);

/// How much memory moss may use, as the system reports it; not a setting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Room {
    /// The machine's memory, in bytes. If it is unknown, it is assumed to be large.
    pub machine: Option<u64>,
    /// The smallest limit of the control groups, in bytes. Above it the kernel kills moss.
    pub cgroup: Option<u64>,
}

impl Room {
    /// The default memory limit, in bytes: for all peers together, without pages, and at least
    /// one backlog.
    pub fn memory_limit(self, backlog: u64, pages: usize) -> u64 {
        let most = MOST_SHARE.max(4 * backlog);
        self.share(pages).map_or(most, |share| share.min(most)).max(backlog)
    }

    /// Whether this default memory limit is a share of the room, and not the minimum or the
    /// maximum.
    pub(super) fn decides(limit: u64, backlog: u64) -> bool {
        limit > backlog && limit < MOST_SHARE.max(4 * backlog)
    }

    /// A quarter of the room without pages. Pages count twice: during a reload there are two
    /// copies.
    pub(super) fn share(self, pages: usize) -> Option<u64> {
        let pages = (pages as u64).saturating_mul(2);
        self.bytes().map(|bytes| bytes.saturating_sub(pages) / SHARES)
    }

    /// How many connections there is memory for, if little is held for each.
    pub(super) fn connections(self) -> Option<u64> {
        self.bytes().map(|bytes| bytes / CONNECTION_BYTES)
    }

    /// The size of the kernel's buffer for each connection and direction, in bytes, if the kernel's
    /// buffers count towards a limit. Its own default is megabytes for a peer that does not read.
    pub fn socket_buffer(self) -> Option<NonZero<u32>> {
        let (least, most) = BUFFER;
        let size = |bytes: u64| u32::try_from(bytes / BUFFERS).unwrap_or(most).clamp(least, most);
        NonZero::new(self.cgroup.map(size)?)
    }

    /// A warning if this memory limit is too high, whether set explicitly or a share. An explicit
    /// value may be twice the share, since the rest of the room is rarely used up.
    pub(super) fn memory_warning(self, limit: usize, is_share: bool) -> Option<String> {
        let share = self.share(0)?;
        let (most, what) = if is_share {
            (share, "MOSS_MAX_BACKLOG_BYTES is over a quarter")
        } else {
            (2 * share, "MOSS_MAX_MEMORY_BYTES is over half")
        };
        (limit as u64 > most).then(|| self.warning(what))
    }

    /// A warning if this many bytes of pages are too much.
    pub fn pages_warning(self, pages: usize) -> Option<String> {
        (pages as u64 > self.bytes()? / SHARES).then(|| self.warning("pages are over a quarter"))
    }

    #[cold]
    fn warning(self, what: &str) -> String {
        format!("{what} of {self}: moss may be killed for memory; give less, or allow moss more")
    }

    /// The room in bytes.
    pub(super) fn bytes(self) -> Option<u64> {
        self.cgroup.or(self.machine)
    }
}

/// As part of a sentence.
impl fmt::Display for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.cgroup, self.machine) {
            (Some(bytes), _) => write!(f, "the {bytes} bytes that moss's control group may take"),
            (None, Some(bytes)) => write!(f, "this machine's {bytes} bytes of memory"),
            (None, None) => f.write_str("an unknown memory"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn group(mib: u64) -> Room {
        Room { machine: Some(1024 * MIB), cgroup: Some(mib * MIB) }
    }

    #[test]
    fn share_is_a_quarter_of_what_pages_leave() {
        assert_eq!(group(64).share(0), Some(16 * MIB));
        assert_eq!(group(64).share(8 << 20), Some(12 * MIB));
        assert_eq!(group(64).share(64 << 20), Some(0));
        assert_eq!(Room { machine: Some(MIB), cgroup: None }.share(0), Some(MIB / 4));
        assert_eq!(Room::default().share(0), None);
    }

    #[test]
    fn memory_limit_is_the_share_between_a_backlog_and_its_most() {
        assert_eq!(group(64).memory_limit(MIB, 0), 16 * MIB);
        assert_eq!(group(64).memory_limit(MIB, 8 << 20), 12 * MIB);
        assert_eq!(group(64).memory_limit(20 * MIB, 0), 20 * MIB);
        assert_eq!(group(512).memory_limit(MIB, 0), 64 * MIB);
        assert_eq!(group(512).memory_limit(20 * MIB, 0), 80 * MIB);
        assert_eq!(Room::default().memory_limit(MIB, 64 << 20), 64 * MIB);
    }

    #[test]
    fn memory_that_is_set_may_be_half() {
        assert_eq!(group(64).memory_warning(32 << 20, false), None);
        let warning = group(64).memory_warning((32 << 20) + 1, false).expect("a warning");
        assert!(warning.starts_with("MOSS_MAX_MEMORY_BYTES is over half of"), "{warning}");
        assert_eq!(Room::default().memory_warning(usize::MAX, false), None);
    }

    #[test]
    fn backlog_may_be_a_quarter() {
        assert_eq!(group(4).memory_warning(1 << 20, true), None);
        let warning = group(4).memory_warning((1 << 20) + 1, true).expect("a warning");
        assert!(warning.starts_with("MOSS_MAX_BACKLOG_BYTES is over a quarter of"), "{warning}");
    }

    #[test]
    fn pages_may_be_a_quarter() {
        assert_eq!(group(64).pages_warning(16 << 20), None);
        let warning = group(64).pages_warning((16 << 20) + 1).expect("a warning");
        assert!(warning.starts_with("pages are over a quarter of"), "{warning}");
        assert!(warning.contains("the 67108864 bytes that moss's control group"), "{warning}");
        assert_eq!(Room::default().pages_warning(1 << 30), None);
    }

    #[test]
    fn kernel_is_bounded_where_it_counts() {
        assert_eq!(group(64).socket_buffer(), NonZero::new(16 << 10));
        assert_eq!(group(1).socket_buffer(), NonZero::new(4 << 10));
        assert_eq!(group(1 << 20).socket_buffer(), NonZero::new(1 << 20));
        assert_eq!(Room { machine: Some(MIB), cgroup: None }.socket_buffer(), None);
    }
}
