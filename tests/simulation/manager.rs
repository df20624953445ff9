//! The service manager: receives moss's notifications, and may have a watchdog.
//!
//! It uses moss's clock, which goes on while moss is frozen.

use moss::operate::notify::Notice;

use crate::network::MILLISECOND;

/// Its state, and the watchdog's deadline. All times in microseconds.
#[derive(Debug)]
pub(crate) struct Manager {
    /// The watchdog's interval.
    pub(crate) interval: Option<u64>,
    /// When moss last asked for the time, which it then uses.
    pub(crate) asked_at: u64,
    heard_at: u64,
    is_reloading: bool,
    is_stopping: bool,
}

impl Manager {
    /// For a moss that is about to start.
    pub(crate) fn new(interval: Option<u64>) -> Self {
        Self { interval, asked_at: 0, heard_at: 0, is_reloading: false, is_stopping: false }
    }

    fn due(&self) -> Option<u64> {
        self.interval.map(|interval| self.heard_at + interval)
    }

    /// moss sends a notification; `reads` while it reads files, `stops` after a signal to stop.
    pub(crate) fn hears(&mut self, notice: Notice, reads: bool, stops: bool) {
        assert!(
            !self.is_stopping || notice == Notice::Watchdog,
            "{notice:?} from a moss that stops"
        );
        match notice {
            Notice::Ready => {
                assert!(self.is_reloading, "moss is ready again without a reload");
                assert!(!reads, "moss says that it is ready, and still reads");
                self.is_reloading = false;
            }
            Notice::Reloading => self.is_reloading = true,
            Notice::Stopping => {
                assert!(stops, "moss stops by itself");
                self.is_reloading = false;
                self.is_stopping = true;
            }
            Notice::Watchdog => {
                let due = self.due().expect("a watchdog");
                assert!(self.asked_at >= due, "moss notifies the watchdog too early");
                self.heard_at = self.asked_at;
            }
        }
    }

    /// moss is about to wait, at most this long.
    pub(crate) fn waits(&self, wait: Option<u64>) {
        let Some(due) = self.due() else { return };
        let wait = wait.expect("an end of the wait, for the watchdog");
        assert!(self.asked_at + wait < due + MILLISECOND, "the watchdog would wait longer");
    }

    /// A turn has ended.
    pub(crate) fn after_turn(&self, reads: bool, stops: bool) {
        assert!(
            self.due().is_none_or(|due| self.asked_at < due),
            "moss did not notify the watchdog"
        );
        assert_eq!(self.is_reloading, reads && !stops, "whether moss reads its files again");
        assert_eq!(self.is_stopping, stops, "whether moss was told to stop");
    }
}
