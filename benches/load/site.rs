//! A folder to serve, with a small file and a large one.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process;

/// A file of the folder; answers are compared with it.
pub(crate) struct Site {
    folder: PathBuf,
    pub(crate) small: File,
    pub(crate) large: File,
}

pub(crate) struct File {
    pub(crate) path: &'static str,
    pub(crate) bytes: Vec<u8>,
}

/// How the folder is served.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Serving {
    /// nginx has `sendfile off`: it reads the file and writes what it has read.
    Plain,
    /// nginx has `sendfile on`; for moss the same as `Plain`.
    Sendfile,
    Tls,
}

impl Site {
    pub(crate) fn create() -> io::Result<Self> {
        let folder =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("pages-{}", process::id()));
        fs::create_dir_all(&folder)?;
        let file = |path, length| File { path, bytes: noise(length) };
        let site = Self {
            folder,
            small: file("/small.bin", 10_000),
            large: file("/large.bin", 8_000_000),
        };
        for File { path, bytes } in [&site.small, &site.large] {
            fs::write(site.folder.join(&path[1..]), bytes)?;
        }
        Ok(site)
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        // If this fails, the folder stays among the build's files.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Pseudorandom bytes (xorshift64), so that a misplaced part is noticed.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let words = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.flatten().take(length).collect()
}
