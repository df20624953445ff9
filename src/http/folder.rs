//! A folder → [`Pages`], in steps: a server goes on serving while it reads.
//!
//! What is served is what lies in the folder. Names that begin with a dot are left out, and
//! so is what is neither file nor folder. A link is followed as long as it stays inside.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::fs::{self, File, FileType, OpenOptions};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::{fmt, mem};

use rustix::fs::OFlags;

use super::page::Draft;
use super::pages::{OWN_PATHS, Pages};

/// The most that all files may be together, in bytes; each counts 256, and its path's length,
/// more.
pub const MOST_BYTES: usize = 64 << 20;

/// What an entry of a folder counts for beside its path and its bytes.
const ENTRY_BYTES: usize = 256;

/// The most bytes that one step reads.
const STEP_BYTES: usize = 1 << 20;

/// What looking at an entry counts for in a step, in bytes: about as long as it takes.
const LOOK_BYTES: usize = 8 << 10;

/// A folder that is being read.
#[derive(Debug)]
pub struct Reading {
    root: PathBuf,
    /// Folders that were found and not listed yet.
    folders: VecDeque<Folder>,
    /// Of the folder that is looked at: the entries that are left.
    current: Option<(Folder, fs::ReadDir)>,
    /// A file that is not read to its end, with its path on disk.
    file: Option<(File, PathBuf, Vec<u8>, Draft)>,
    pages: Pages,
    /// What counts towards [`MOST_BYTES`].
    size: usize,
    /// How many entries were left out.
    left_out: usize,
}

#[derive(Clone, Debug)]
struct Folder {
    /// On disk, without a link in it.
    real: PathBuf,
    /// In requests, with a slash at its end.
    path: Vec<u8>,
    /// How it was come to: a link in it that leads to one of these would have no end.
    above: Vec<PathBuf>,
}

/// Why a folder can't be served, for people.
#[derive(Debug)]
pub struct Problem(String);

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Reading {
    /// Begins to read a folder.
    ///
    /// # Errors
    /// There is no such folder.
    pub fn begin(directory: &Path) -> Result<Self, Problem> {
        let root = fs::canonicalize(directory).and_then(|root| {
            let is_folder = fs::metadata(&root)?.is_dir();
            if is_folder { Ok(root) } else { Err(io::ErrorKind::NotADirectory.into()) }
        });
        let root = root.map_err(|error| {
            Problem(format!("{directory:?} can't be read ({error}); name a folder of files"))
        })?;
        let top = Folder { real: root.clone(), path: b"/".to_vec(), above: Vec::new() };
        Ok(Self {
            root,
            folders: [top].into(),
            current: None,
            file: None,
            pages: Pages::default(),
            size: 0,
            left_out: 0,
        })
    }

    /// Reads on, a mebibyte at most. The pages, once all is read.
    ///
    /// # Errors
    /// Something can't be read, or all is too much.
    pub fn step(&mut self) -> Result<Option<Pages>, Problem> {
        let mut left = STEP_BYTES;
        while left > 0 {
            let cost = if self.file.is_some() {
                self.read(left)?
            } else if let Some((folder, entries)) = &mut self.current {
                match entries.next() {
                    Some(entry) => {
                        let folder = folder.clone();
                        self.look(&folder, entry)?;
                    }
                    None => self.current = None,
                }
                LOOK_BYTES
            } else if let Some(folder) = self.folders.pop_front() {
                let entries =
                    fs::read_dir(&folder.real).map_err(|error| unreadable(&folder.real, &error))?;
                self.current = Some((folder, entries));
                LOOK_BYTES
            } else {
                let pages = mem::take(&mut self.pages);
                self.tell(&pages);
                return Ok(Some(pages));
            };
            left = left.saturating_sub(cost);
        }
        Ok(None)
    }

    fn tell(&self, pages: &Pages) {
        log::info!("pages: {} files, {} bytes, from {:?}", pages.len(), pages.bytes(), self.root);
        if self.left_out > 0 {
            log::info!(
                "pages: {} left out (names that begin with a dot, links that lead outside, what is no file)",
                self.left_out
            );
        }
    }

    /// Looks at an entry of a folder.
    fn look(&mut self, folder: &Folder, entry: io::Result<fs::DirEntry>) -> Result<(), Problem> {
        let entry = entry.map_err(|error| unreadable(&folder.real, &error))?;
        let name = entry.file_name();
        if name.as_bytes().starts_with(b".") {
            self.left_out += 1;
            return Ok(());
        }
        let path = [&folder.path, name.as_bytes()].concat();
        let found = self.resolve(&folder.real, &name, &entry);
        let (real, kind) = match found {
            Ok(Some(found)) => found,
            Ok(None) => {
                self.left_out += 1;
                return Ok(());
            }
            // It went while the folder was read.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(unreadable(&folder.real.join(name), &error)),
        };
        if kind.is_dir() {
            if folder.real == real || folder.above.contains(&real) {
                self.left_out += 1;
                return Ok(());
            }
            self.count(ENTRY_BYTES + path.len())?;
            let above = [folder.above.as_slice(), std::slice::from_ref(&folder.real)].concat();
            self.folders.push_back(Folder { real, path: [&path, b"/".as_slice()].concat(), above });
            return Ok(());
        }
        if is_own(&path) {
            let path = String::from_utf8_lossy(&path).into_owned();
            log::warn!("pages: the file {path:?} is left out: moss answers that path itself");
            self.left_out += 1;
            return Ok(());
        }
        self.count(ENTRY_BYTES + path.len())?;
        self.open(real, path)
    }

    /// Where an entry really is, and what: a folder or a file. Nothing if it is to be left out.
    fn resolve(
        &self,
        folder: &Path,
        name: &OsStr,
        entry: &fs::DirEntry,
    ) -> io::Result<Option<(PathBuf, FileType)>> {
        let mut kind = entry.file_type()?;
        let mut real = folder.join(name);
        if kind.is_symlink() {
            let target = fs::canonicalize(&real).and_then(|target| {
                kind = fs::metadata(&target)?.file_type();
                Ok(target)
            });
            match target {
                Ok(target) if target.starts_with(&self.root) => real = target,
                // It leads outside, to nothing, or round and round.
                _ => return Ok(None),
            }
        }
        Ok((kind.is_dir() || kind.is_file()).then_some((real, kind)))
    }

    fn open(&mut self, real: PathBuf, path: Vec<u8>) -> Result<(), Problem> {
        // Should it be a link or a FIFO by now, that is no file of this folder and no reason to
        // wait.
        let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits();
        let opened = OpenOptions::new()
            .read(true)
            .custom_flags(flags as i32)
            .open(&real)
            .and_then(|file| Ok((file.metadata()?, file)));
        let (metadata, file) = match opened {
            Ok(opened) => opened,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(unreadable(&real, &error)),
        };
        if !metadata.is_file() {
            self.left_out += 1;
            return Ok(());
        }
        let size = usize::try_from(metadata.len()).unwrap_or(usize::MAX);
        if self.size.saturating_add(size) > MOST_BYTES {
            return Err(too_much());
        }
        let draft = Draft::new(Vec::with_capacity(size));
        self.file = Some((file, real, path, draft));
        Ok(())
    }

    /// Reads on in a file, `most` bytes at most, and says how many. The end counts for a look.
    fn read(&mut self, most: usize) -> Result<usize, Problem> {
        let Some((file, real, _, draft)) = &mut self.file else { return Ok(0) };
        let count = Read::by_ref(file)
            .take(most as u64)
            .read_to_end(&mut draft.bytes)
            .map_err(|error| unreadable(real, &error))?;
        draft.hash();
        if count < most
            && let Some((_, _, path, draft)) = self.file.take()
        {
            self.pages.add(path, draft);
        }
        self.count(count)?;
        Ok(count.max(LOOK_BYTES))
    }

    fn count(&mut self, bytes: usize) -> Result<(), Problem> {
        self.size += bytes;
        if self.size > MOST_BYTES { Err(too_much()) } else { Ok(()) }
    }
}

/// Whether moss itself answers this path.
fn is_own(path: &[u8]) -> bool {
    OWN_PATHS.iter().any(|own| path == own.as_bytes())
}

fn unreadable(path: &Path, error: &io::Error) -> Problem {
    Problem(format!("{path:?} can't be read ({error}); give moss the right to, or move it away"))
}

fn too_much() -> Problem {
    let mebibytes = MOST_BYTES >> 20;
    Problem(format!(
        "holds more than {mebibytes} MiB, which moss would keep in memory; \
         give less, or use a web server for it"
    ))
}
