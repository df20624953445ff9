//! Who started moss: hears how it is, and has a watchdog, maybe.
//!
//! Its clock is the world's: it goes on while moss stands still.

use moss::operate::notify::Notice;

use crate::network::MILLISECOND;

/// What it knows, and what it has to hear by when. All in microseconds.
#[derive(Debug)]
pub(crate) struct Manager {
    /// How often the watchdog wants to hear that the loop goes on.
    pub(crate) interval: Option<u64>,
    /// When moss asked for the time last, by which it goes.
    pub(crate) asked_at: u64,
    heard_at: u64,
    is_reloading: bool,
    is_stopping: bool,
}

impl Manager {
    /// Of a moss that is about to start.
    pub(crate) fn new(interval: Option<u64>) -> Self {
        Self { interval, asked_at: 0, heard_at: 0, is_reloading: false, is_stopping: false }
    }

    fn due(&self) -> Option<u64> {
        self.interval.map(|interval| self.heard_at + interval)
    }

    /// moss tells it this; `reads` while it reads files, `stops` once it was told to stop.
    pub(crate) fn hears(&mut self, notice: Notice, reads: bool, stops: bool) {
        assert!(!self.is_stopping || notice == Notice::Watchdog, "{notice:?}, and moss stops");
        match notice {
            Notice::Ready => {
                assert!(self.is_reloading, "moss is ready again, and was all the while");
                assert!(!reads, "moss is ready, and reads on");
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
                assert!(self.asked_at >= due, "the watchdog hears of moss too early");
                self.heard_at = self.asked_at;
            }
        }
    }

    /// moss waits for so long at most, if nothing happens.
    pub(crate) fn waits(&self, wait: Option<u64>) {
        let Some(due) = self.due() else { return };
        let wait = wait.expect("an end of the wait, for the watchdog");
        assert!(self.asked_at + wait < due + MILLISECOND, "the watchdog would wait longer");
    }

    /// A turn is over.
    pub(crate) fn after_turn(&self, reads: bool, stops: bool) {
        assert!(self.due().is_none_or(|due| self.asked_at < due), "the watchdog heard nothing");
        assert_eq!(self.is_reloading, reads && !stops, "moss reads its files again, or not");
        assert_eq!(self.is_stopping, stops, "moss was told to stop, or not");
    }
}
