//! Signals: stopping and reloading, and the notices about both to the service manager.

use std::time::Duration;

use super::Server;
use crate::connection::ending::Ending;
use crate::operate::notify::Notice;
use crate::server::secrets;
use crate::server::site::Site;
use crate::server::world::World;
use crate::settings::secrets::SecretFiles;

/// How long peers may take to answer the Close when moss stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(3);

impl<W: World> Server<W> {
    /// Handles the signals that came. True if it is the second one to stop: then moss exits at
    /// once.
    pub(super) fn handle_signals(&mut self) -> bool {
        let came = self.world.signals();
        if came.reload > 0 {
            // After `Stopping` no other notice is sent.
            if self.stops_at.is_none() {
                self.world.notify(Notice::Reloading);
                self.is_reloading = true;
            }
            self.reload();
        }
        for _ in 0..came.stop {
            if self.stops_at.is_some() {
                return true;
            }
            log::info!("stopping");
            self.world.notify(Notice::Stopping);
            self.is_reloading = false;
            self.stops_at = Some(self.peers.now + STOP_TIMEOUT);
            self.listeners.clear();
            self.world.stop_listening();
            self.peers.close_all(Ending::Stopping);
        }
        false
    }

    fn reload(&mut self) {
        if let Some(certificate) = &mut self.certificate {
            certificate.reload(self.peers.now);
        }
        if let Some(site) = &mut self.site {
            site.reload();
        }
        secrets::reload(&mut self.config);
        self.relay.replace_secrets(&self.config);
        let SecretFiles { connection, login } = &self.config.secret_files;
        let has_secrets = connection.is_some() || login.is_some();
        if !has_secrets && self.certificate.is_none() && self.site.is_none() {
            log::info!("SIGHUP: there are no files to read again");
        }
    }

    /// Reads some of the pages, if they are being read again.
    pub(super) fn read_pages(&mut self) {
        let Some(site) = &mut self.site else { return };
        if let Some(generation) = site.step(self.peers.now) {
            self.peers.end_downloads_before(generation);
        }
    }

    /// Tells the service manager that a reload is complete, and its watchdog that the loop is
    /// alive.
    pub(super) fn notify_manager(&mut self) {
        if self.is_reloading && !self.is_reading() {
            self.is_reloading = false;
            self.world.notify(Notice::Ready);
        }
        let now = self.peers.now + self.stood_still;
        if self.heartbeat.as_mut().is_some_and(|heartbeat| heartbeat.beats(now)) {
            self.world.notify(Notice::Watchdog);
        }
    }

    pub(super) fn is_reading(&self) -> bool {
        self.site.as_ref().is_some_and(Site::is_reading)
    }
}
