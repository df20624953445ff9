//! The certificate in use: when its files are read again, and what is logged about it.
//!
//! An idle moss has no timer, so the files are checked when a connection comes, at most once a
//! minute. If the new files can't be used, the old certificate stays. Open connections keep
//! the one with which they began.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use super::start::variable;
use crate::tls::{Credentials, Files, Problem, Tls};

/// The least time between two checks of the files.
const LOOK: Duration = Duration::from_secs(60);

/// The time between two warnings of expiry.
const WARNING: Duration = Duration::from_secs(86_400);

/// How long before its expiry a certificate should be renewed.
const DUE: Duration = Duration::from_secs(14 * 86_400);

/// A certificate, with the files that it comes from.
#[derive(Debug)]
pub struct Certificate {
    files: Files,
    credentials: Credentials,
    /// The state of the files when they were read last, whether they could be used or not.
    stamps: [Option<Stamp>; 2],
    looked: Instant,
    warned: Instant,
}

/// Metadata that changes when the file does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    /// The time of the last status change, in seconds and nanoseconds. Unlike the time of
    /// modification it changes with permissions, too: a key that becomes readable is read.
    changed: (i64, i64),
}

impl Certificate {
    /// Reads certificate and key, and logs when it expires.
    ///
    /// # Errors
    /// One of them can't be read or used, or they do not belong to each other.
    pub fn load(files: Files) -> Result<Self, Problem> {
        let stamps = stamps(&files);
        let credentials = Credentials::load(&files)?;
        let now = Instant::now();
        let certificate = Self { files, credentials, stamps, looked: now, warned: now };
        certificate.tell_expiry();
        Ok(certificate)
    }

    /// TLS for a connection that was just accepted.
    pub(super) fn accept(&self) -> Option<Tls> {
        self.credentials.accept()
    }

    /// When it expires.
    pub(super) fn expiry(&self) -> SystemTime {
        self.credentials.expiry()
    }

    /// Checks whether the files have changed, if the last check is over a minute ago.
    pub(super) fn look(&mut self, now: Instant) {
        if now.saturating_duration_since(self.looked) <= LOOK {
            return;
        }
        self.looked = now;
        if stamps(&self.files) != self.stamps {
            self.reload(now);
        } else if now.saturating_duration_since(self.warned) >= WARNING {
            self.warned = now;
            self.warn_of_expiry();
        }
    }

    /// Reads the files again; if they can't be used, nothing changes.
    #[cold]
    pub(super) fn reload(&mut self, now: Instant) {
        // Taken first: a change while they are read is found by the next check.
        self.stamps = stamps(&self.files);
        match self.credentials.reload(&self.files) {
            Ok(credentials) => {
                self.credentials = credentials;
                self.warned = now;
                log::info!("the certificate was read again");
                self.tell_expiry();
            }
            Err(Problem { file, why }) => {
                log::warn!("the old certificate stays: {}: {why}", variable(file));
            }
        }
    }

    fn tell_expiry(&self) {
        if !self.warn_of_expiry() {
            log::info!("the certificate expires in {} days", days(self.left().unwrap_or_default()));
        }
    }

    /// Logs a warning if there is reason for one; returns whether there was.
    fn warn_of_expiry(&self) -> bool {
        let warning = warning(self.left());
        warning.iter().for_each(|warning| log::warn!("{warning}"));
        warning.is_some()
    }

    /// The time until it expires; `None` if it has expired.
    fn left(&self) -> Option<Duration> {
        self.expiry().duration_since(SystemTime::now()).ok()
    }
}

/// The warning for a certificate that is valid for this long, if any.
fn warning(left: Option<Duration>) -> Option<String> {
    match left {
        None => Some("the certificate has EXPIRED: browsers refuse to connect".to_owned()),
        Some(left) if left < DUE => {
            Some(format!("the certificate expires in {} days: renew it", days(left)))
        }
        Some(_) => None,
    }
}

fn days(time: Duration) -> u64 {
    time.as_secs() / 86_400
}

fn stamps(files: &Files) -> [Option<Stamp>; 2] {
    [stamp(&files.certificate), stamp(&files.key)]
}

/// `None` if there is no such file. Links are followed: certbot renews by changing a link.
fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = fs::metadata(path).ok()?;
    Some(Stamp { inode: metadata.ino(), changed: (metadata.ctime(), metadata.ctime_nsec()) })
}

#[cfg(all(test, feature = "tls"))]
mod tests {
    use std::path::PathBuf;
    use std::process;

    use super::*;

    /// Copies of the tests' certificates, to be changed.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let name = format!("moss-certificate-{name}-{}", process::id());
            let folder = Self(std::env::temp_dir().join(name));
            fs::create_dir_all(&folder.0).unwrap();
            folder.copy("chain.pem", "key.pem");
            folder
        }

        /// Puts these in the place of certificate and key.
        fn copy(&self, certificate: &str, key: &str) {
            let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tls");
            let files = self.files();
            fs::copy(from.join(certificate), files.certificate).unwrap();
            fs::copy(from.join(key), files.key).unwrap();
        }

        fn files(&self) -> Files {
            Files { certificate: self.0.join("certificate"), key: self.0.join("key") }
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn change_of_the_files_is_met_by_a_look_a_minute() {
        let folder = Folder::new("change");
        let mut certificate = Certificate::load(folder.files()).unwrap();
        let (start, fresh) = (certificate.looked, certificate.credentials.expiry());
        folder.copy("expired.pem", "key.pem");
        certificate.look(start + LOOK);
        assert_eq!(certificate.credentials.expiry(), fresh, "too early");
        certificate.look(start + LOOK + Duration::from_secs(1));
        assert!(certificate.credentials.expiry() < fresh);
    }

    #[test]
    fn expiry_is_warned_of_when_less_than_14_days_are_left() {
        const DAY: Duration = Duration::from_secs(86_400);
        assert_eq!(warning(Some(14 * DAY)), None);
        let soon = warning(Some(14 * DAY - Duration::from_secs(1)));
        assert!(soon.is_some_and(|warning| warning.contains("13 days")));
        assert!(warning(None).is_some_and(|warning| warning.contains("EXPIRED")));
    }

    #[test]
    fn expiry_is_warned_of_once_a_day() {
        let folder = Folder::new("daily");
        let mut certificate = Certificate::load(folder.files()).unwrap();
        let start = certificate.warned;
        certificate.look(start + WARNING - Duration::from_secs(1));
        assert_eq!(certificate.warned, start, "too early");
        let later = start + WARNING + LOOK;
        certificate.look(later);
        assert_eq!(certificate.warned, later);
    }

    #[test]
    fn old_certificate_stays_until_both_files_are_right() {
        let folder = Folder::new("stays");
        let mut certificate = Certificate::load(folder.files()).unwrap();
        let (start, fresh) = (certificate.looked, certificate.credentials.expiry());
        let look = |certificate: &mut Certificate, number| {
            certificate.look(start + number * (LOOK + Duration::from_secs(1)));
            certificate.credentials.expiry()
        };
        fs::remove_file(folder.files().key).unwrap();
        assert_eq!(look(&mut certificate, 1), fresh);
        // As a renewal may be met in the middle.
        folder.copy("expired.pem", "other-key.pem");
        assert_eq!(look(&mut certificate, 2), fresh);
        folder.copy("expired.pem", "key.pem");
        assert!(look(&mut certificate, 3) < fresh);
    }
}
