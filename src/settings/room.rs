//! How much memory moss may take, and how it is shared out where nobody says so.
//!
//! A quarter is for what peers make moss hold. The rest is for what goes with it: holes that
//! buffers leave in the heap when they grow and go, moss itself, and what the kernel holds for
//! each connection, which a control group of version 2 counts as well. docs/configuration.md, "Memory", has
//! the figures.

use std::fmt;
use std::num::NonZero;

/// How many times the bytes that peers hold moss may take.
const SHARES: u64 = 4;

/// The most of it that is taken, in bytes; more where four backlogs are more.
const MOST_SHARE: u64 = 64 << 20;

/// What a connection may take beside what it holds, in bytes: 4 KiB of the kernel, as much for
/// TLS, and its buffers.
const CONNECTION_BYTES: u64 = 32 << 10;

/// How many times a connection's buffer of the kernel's a control group has room for.
const BUFFERS: u64 = 4096;

/// The least and the most that such a buffer is asked to be, in bytes.
const BUFFER: (u32, u32) = (4 << 10, 1 << 20);

/// What moss may take, as the system tells. It is a fact, and no setting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Room {
    /// The machine's memory, in bytes. Unknown, moss decides as if it were large.
    pub machine: Option<u64>,
    /// The least limit of the control groups, in bytes. Above it moss is killed.
    pub cgroup: Option<u64>,
}

impl Room {
    /// The memory limit where nobody sets it, in bytes: for all peers together, beside pages, and
    /// no less than a backlog.
    pub fn memory_limit(self, backlog: u64, pages: usize) -> u64 {
        let most = MOST_SHARE.max(4 * backlog);
        self.share(pages).map_or(most, |share| share.min(most)).max(backlog)
    }

    /// Whether a memory limit that nobody set is a share, and neither its least nor its most.
    pub(super) fn decides(limit: u64, backlog: u64) -> bool {
        limit > backlog && limit < MOST_SHARE.max(4 * backlog)
    }

    /// The quarter. Pages count twice, as while they are read again there are both.
    pub(super) fn share(self, pages: usize) -> Option<u64> {
        let pages = (pages as u64).saturating_mul(2);
        self.bytes().map(|bytes| bytes.saturating_sub(pages) / SHARES)
    }

    /// Connections that there is room for, with little to say.
    pub(super) fn connections(self) -> Option<u64> {
        self.bytes().map(|bytes| bytes / CONNECTION_BYTES)
    }

    /// What the kernel may hold of each connection in each direction, in bytes, where it counts
    /// for a limit. By itself it would hold megabytes for a peer that does not read.
    pub fn socket_buffer(self) -> Option<NonZero<u32>> {
        let (least, most) = BUFFER;
        let size = |bytes: u64| u32::try_from(bytes / BUFFERS).unwrap_or(most).clamp(least, most);
        NonZero::new(self.cgroup.map(size)?)
    }

    /// What is wrong with this memory limit, which somebody set or which is a share, if anything.
    /// What is set stays; it may be twice a share, as seldom everything is needed at once.
    pub(super) fn memory_warning(self, limit: usize, is_share: bool) -> Option<String> {
        let share = self.share(0)?;
        let (most, what) = if is_share {
            (share, "MOSS_MAX_BACKLOG_BYTES is over a quarter")
        } else {
            (2 * share, "MOSS_MAX_MEMORY_BYTES is over half")
        };
        (limit as u64 > most).then(|| self.warning(what))
    }

    /// What is wrong with so many bytes of pages, if anything.
    pub fn pages_warning(self, pages: usize) -> Option<String> {
        (pages as u64 > self.bytes()? / SHARES).then(|| self.warning("pages are over a quarter"))
    }

    #[cold]
    fn warning(self, what: &str) -> String {
        format!("{what} of {self}: moss may be killed for memory; give less, or allow moss more")
    }

    /// What moss may take in all, in bytes.
    pub(super) fn bytes(self) -> Option<u64> {
        self.cgroup.or(self.machine)
    }
}

/// As the object of a sentence.
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
