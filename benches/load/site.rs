//! A folder to serve: one small file and one large.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process;

/// The file in the folder, with which answers are compared.
pub(crate) struct Site {
    folder: PathBuf,
    pub(crate) small: File,
    pub(crate) large: File,
}

pub(crate) struct File {
    pub(crate) path: &'static str,
    pub(crate) bytes: Vec<u8>,
}

/// How it is served.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Serving {
    /// By nginx with `sendfile off`: it reads the file and writes what it has read.
    Plain,
    /// By nginx with `sendfile on`; moss serves as ever.
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
        // At worst it stays among the build's files.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Bytes that do not repeat, so that none can stand in for another's place (xorshift64).
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
