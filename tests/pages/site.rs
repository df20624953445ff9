//! A folder of pages for a moss that is going to be started, or runs already.

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

/// Where its pages are.
pub(crate) fn folder(setup: &Setup) -> PathBuf {
    setup.folder().join(FOLDER)
}

/// Where the pages of a running moss are.
pub(crate) fn folder_of(moss: &Moss) -> PathBuf {
    moss.folder().join(FOLDER)
}

/// Writes a file whose path may be any bytes, and the folders that it needs.
pub(crate) fn write(folder: &Path, path: impl AsRef<[u8]>, bytes: impl AsRef<[u8]>) {
    let path = folder.join(OsStr::from_bytes(path.as_ref()));
    fs::create_dir_all(path.parent().expect("a folder")).expect("folders in the test's folder");
    fs::write(path, bytes).expect("a file in the test's folder");
}

/// Replaces a page as careful people do: it is never half there.
pub(crate) fn replace(moss: &Moss, path: &str, bytes: impl AsRef<[u8]>) {
    let fresh = moss.folder().join("fresh");
    fs::write(&fresh, bytes).expect("a file in the test's folder");
    fs::rename(fresh, folder_of(moss).join(path)).expect("the same folder");
}

/// Has moss read its pages again, and waits until this one is what it should be.
#[track_caller]
pub(crate) fn reload_until(moss: &Moss, target: &str, bytes: &[u8]) {
    moss.signal(Signal::HUP);
    let start = Instant::now();
    while Visitor::of(moss).get(target).body != bytes {
        assert!(start.elapsed() < PATIENCE, "the new {target} does not come:\n{}", moss.log());
        thread::sleep(Duration::from_millis(5));
    }
}

/// Does something again and again in a thread of its own, for as long as something else goes
/// on, be it that that fails.
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

/// Bytes of every value in no order, other ones for each seed: a piece that is missing,
/// doubled or out of place shows.
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

/// Fails unless both are equal, and says where they part instead of printing megabytes.
#[track_caller]
pub(crate) fn assert_same(found: &[u8], expected: &[u8], what: &str) {
    if found != expected {
        let parting = found.iter().zip(expected).position(|(a, b)| a != b);
        let (found, expected) = (found.len(), expected.len());
        panic!("{what}: {found} bytes for {expected}, other ones from {parting:?}");
    }
}
