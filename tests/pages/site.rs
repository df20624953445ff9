//! The folder of pages of a moss in these tests.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::{Moss, PATIENCE, Setup};
use crate::visitor::Visitor;

/// The setting.
pub(crate) const DIRECTORY: &str = "MOSS_PAGES_DIRECTORY";

/// The folder of pages within the working directory.
const FOLDER: &str = "pages";

/// A moss that serves these pages, each with its path below the folder.
pub(crate) fn site<B: AsRef<[u8]>>(pages: &[(&str, B)]) -> Setup {
    let setup = Setup::new().set(DIRECTORY, FOLDER);
    fs::create_dir(folder(&setup)).expect("a fresh folder");
    for (path, bytes) in pages {
        write(&folder(&setup), path, bytes);
    }
    setup
}

/// The folder of pages of a setup.
pub(crate) fn folder(setup: &Setup) -> PathBuf {
    setup.folder().join(FOLDER)
}

/// The folder of pages of a running moss.
pub(crate) fn folder_of(moss: &Moss) -> PathBuf {
    moss.folder().join(FOLDER)
}

/// Writes a file, whose path may be any bytes, and makes the folders for it.
pub(crate) fn write(folder: &Path, path: impl AsRef<[u8]>, bytes: impl AsRef<[u8]>) {
    let path = folder.join(OsStr::from_bytes(path.as_ref()));
    fs::create_dir_all(path.parent().expect("a folder")).expect("folders in the test's folder");
    fs::write(path, bytes).expect("a file in the test's folder");
}

/// Replaces a page atomically.
pub(crate) fn replace(moss: &Moss, path: &str, bytes: impl AsRef<[u8]>) {
    let fresh = moss.folder().join("fresh");
    fs::write(&fresh, bytes).expect("a file in the test's folder");
    fs::rename(fresh, folder_of(moss).join(path)).expect("the same folder");
}

/// Sends SIGHUP, and waits until this page has this content.
#[track_caller]
pub(crate) fn reload_until(moss: &Moss, target: &str, bytes: &[u8]) {
    moss.signal(Signal::HUP);
    let start = Instant::now();
    while Visitor::of(moss).get(target).body != bytes {
        assert!(start.elapsed() < PATIENCE, "the new {target} does not come:\n{}", moss.log());
        thread::sleep(Duration::from_millis(5));
    }
}

/// Repeats `again` in another thread until `act` returns or panics.
pub(crate) fn meanwhile<R>(again: impl Fn(usize) + Send, act: impl FnOnce() -> R) -> R {
    struct End<'a>(&'a AtomicBool);

    impl Drop for End<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| (0..).take_while(|_| !ended.load(Ordering::Relaxed)).for_each(again));
        let _end = End(&ended);
        act()
    })
}

/// Pseudo-random bytes by a seed: a missing, repeated or misplaced piece is noticed.
pub(crate) fn content(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// Fails unless both are equal, and prints the first difference instead of megabytes.
#[track_caller]
pub(crate) fn assert_same(found: &[u8], expected: &[u8], what: &str) {
    if found != expected {
        let parting = found.iter().zip(expected).position(|(a, b)| a != b);
        let (found, expected) = (found.len(), expected.len());
        panic!(
            "{what}: {found} bytes instead of {expected}; the first difference is at {parting:?}"
        );
    }
}
