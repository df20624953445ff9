//! The pages in use, and how they are read again.
//!
//! Reading takes many turns, a part in each. The new pages replace the old ones when all are
//! read; if one can't be read, nothing changes. Downloads of old pages may go on for a while.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::http::folder::{Problem, Reading};
use crate::http::pages::Pages;
use crate::settings::room::Room;
use crate::settings::variables::PAGES_DIRECTORY;

/// How long downloads of an old page may go on.
const OLD_PAGES_TIMEOUT: Duration = Duration::from_secs(60);

/// The pages, with the folder that they come from.
#[derive(Debug)]
pub struct Site {
    directory: PathBuf,
    /// For the warning if they take too much memory.
    room: Room,
    pages: Pages,
    reading: Option<Reading>,
    /// When downloads of old pages are ended.
    expiry: Option<Instant>,
}

impl Site {
    /// Reads a folder, and logs how much is in it.
    ///
    /// # Errors
    /// It can't be served.
    pub fn load(directory: PathBuf, room: Room) -> Result<Self, Problem> {
        let mut reading = Reading::begin(&directory)?;
        loop {
            if let Some(pages) = reading.step()? {
                let site = Self { directory, room, pages, reading: None, expiry: None };
                site.warn_of_size();
                return Ok(site);
            }
        }
    }

    /// Bytes of all pages.
    pub(super) fn bytes(&self) -> usize {
        self.pages.bytes()
    }

    /// The current pages.
    pub(super) fn pages(&self) -> &Pages {
        &self.pages
    }

    /// Begins to read the folder again.
    #[cold]
    pub(super) fn reload(&mut self) {
        self.go_on(Reading::begin(&self.directory).map(Some));
    }

    /// Whether the folder is being read.
    pub(super) fn is_reading(&self) -> bool {
        self.reading.is_some()
    }

    /// Reads on. When the new pages are in use, returns the oldest generation whose downloads may
    /// go on.
    #[cold]
    pub(super) fn step(&mut self, now: Instant) -> Option<u32> {
        let mut pages = match self.reading.as_mut()?.step() {
            Ok(Some(pages)) => pages,
            Ok(None) => return None,
            Err(problem) => {
                self.go_on(Err(problem));
                return None;
            }
        };
        self.reading = None;
        let old = self.pages.generation;
        pages.generation = old.wrapping_add(1);
        self.pages = pages;
        self.expiry = Some(now + OLD_PAGES_TIMEOUT);
        log::info!("the pages were read again");
        self.warn_of_size();
        Some(old)
    }

    /// When the time of old pages is over, returns the current generation, the only one whose
    /// downloads may go on.
    pub(super) fn expire(&mut self, now: Instant) -> Option<u32> {
        self.expiry.take_if(|end| *end <= now).map(|_| self.pages.generation)
    }

    #[cold]
    fn warn_of_size(&self) {
        if let Some(complaint) = self.room.pages_warning(self.bytes()) {
            log::warn!("{complaint}");
        }
    }

    fn go_on(&mut self, reading: Result<Option<Reading>, Problem>) {
        self.reading = reading.unwrap_or_else(|problem| {
            log::warn!("the old pages stay: {PAGES_DIRECTORY}: {problem}");
            None
        });
    }
}
