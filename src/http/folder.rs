//! Reads a folder into [`Pages`], in steps: the server goes on serving in between.
//!
//! All files in the folder are served. Left out are names that begin with a dot, and whatever
//! is neither a file nor a folder. Symbolic links are followed if they lead to something in
//! the folder.
//!
//! The folder may change while it is read. So everything is opened relative to the folder's
//! descriptor, by paths without links, and a link that has appeared in such a path meanwhile
//! is not followed.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::{fmt, fs, iter, mem};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, fstat, openat, statat};
use rustix::io::Errno;

use super::page::Draft;
use super::pages::{OWN_PATHS, Pages};

/// The limit for all files together, in bytes. Each counts with its size, its path's length and
/// `ENTRY_BYTES`.
pub const MOST_BYTES: usize = 64 << 20;

/// What each entry of a folder counts in addition, in bytes.
const ENTRY_BYTES: usize = 256;

/// The most bytes that one step reads.
const STEP_BYTES: usize = 1 << 20;

/// What looking at an entry counts in a step, in bytes: reading as many takes about as long.
const LOOK_BYTES: usize = 8 << 10;

/// Flags to open something that is not a link, without waiting for the other end of a FIFO.
const FLAGS: OFlags =
    OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);

/// A folder that is being read.
#[derive(Debug)]
pub struct Reading {
    /// The canonical path.
    root: PathBuf,
    top: OwnedFd,
    /// Folders that were found and not listed yet.
    folders: VecDeque<Rc<Folder>>,
    /// The folder that is being looked at.
    current: Option<(Rc<Folder>, Dir)>,
    /// The file that is being read.
    file: Option<Opened>,
    pages: Pages,
    /// What counts towards [`MOST_BYTES`] so far.
    size: usize,
    /// How many entries were left out.
    left_out: usize,
}

#[derive(Debug)]
struct Folder {
    /// Its path relative to the root, without links.
    real: PathBuf,
    /// Its path in requests, with a slash at the end.
    path: Vec<u8>,
    /// Its parent.
    above: Option<Rc<Self>>,
}

/// A file that is not read completely yet.
#[derive(Debug)]
struct Opened {
    file: File,
    real: PathBuf,
    /// Its path in requests.
    path: Vec<u8>,
    draft: Draft,
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
        let unreadable = |error: io::Error| {
            Problem(format!("{directory:?} can't be read ({error}); name a folder of files"))
        };
        let root = fs::canonicalize(directory).map_err(unreadable)?;
        let flags = FLAGS | OFlags::DIRECTORY;
        let top =
            openat(CWD, &root, flags, Mode::empty()).map_err(|error| unreadable(error.into()))?;
        let folder = Folder { real: PathBuf::new(), path: b"/".to_vec(), above: None };
        Ok(Self {
            root,
            top,
            folders: [folder.into()].into(),
            current: None,
            file: None,
            pages: Pages::default(),
            size: 0,
            left_out: 0,
        })
    }

    /// Reads on, a mebibyte at most. Returns the pages when all is read.
    ///
    /// # Errors
    /// Something can't be read, or it is too much.
    pub fn step(&mut self) -> Result<Option<Pages>, Problem> {
        let mut left = STEP_BYTES;
        while left > 0 {
            let mut cost = LOOK_BYTES;
            if let Some(mut opened) = self.file.take() {
                let count = self.read(&mut opened, left)?;
                cost = count.max(LOOK_BYTES);
                if count < left {
                    self.pages.add(opened.path, opened.draft);
                } else {
                    self.file = Some(opened);
                }
            } else if let Some((folder, mut entries)) = self.current.take() {
                if let Some(entry) = entries.next() {
                    let entry = entry.map_err(|error| self.unreadable(&folder.real, error))?;
                    let name = OsStr::from_bytes(entry.file_name().to_bytes());
                    self.look(&folder, &entries, name)?;
                    self.current = Some((folder, entries));
                }
            } else if let Some(folder) = self.folders.pop_front() {
                let listed = self.open(&folder.real).and_then(Dir::new);
                match listed {
                    Ok(entries) => self.current = Some((folder, entries)),
                    Err(error) if has_gone(error) => {}
                    Err(error) => return Err(self.unreadable(&folder.real, error)),
                }
            } else {
                let pages = mem::take(&mut self.pages);
                self.tell(&pages);
                return Ok(Some(pages));
            }
            left = left.saturating_sub(cost);
        }
        Ok(None)
    }

    fn tell(&self, pages: &Pages) {
        log::info!("pages: {} files, {} bytes, from {:?}", pages.len(), pages.bytes(), self.root);
        if self.left_out > 0 {
            log::info!(
                "pages: {} left out (names that begin with a dot, links that lead outside, neither file nor folder)",
                self.left_out
            );
        }
    }

    /// Looks at an entry of a folder.
    fn look(&mut self, folder: &Rc<Folder>, entries: &Dir, name: &OsStr) -> Result<(), Problem> {
        if name == "." || name == ".." {
            return Ok(());
        }
        let mut real = folder.real.join(name);
        let opened = if name.as_bytes().starts_with(b".") {
            Ok(None)
        } else {
            self.find(entries, name, &mut real)
        };
        let (file, is_folder) = match opened {
            Ok(Some(opened)) => opened,
            Ok(None) => {
                self.left_out += 1;
                return Ok(());
            }
            // It was removed while the folder was read.
            Err(error) if has_gone(error) => return Ok(()),
            Err(error) => return Err(self.unreadable(&real, error)),
        };
        let mut path = [&folder.path, name.as_bytes()].concat();
        if is_folder {
            // A link that leads back to one of its own parents would be followed for ever.
            let mut within = iter::successors(Some(folder), |folder| folder.above.as_ref());
            if within.any(|folder| folder.real == real) {
                self.left_out += 1;
                return Ok(());
            }
            let above = Some(Rc::clone(folder));
            path.push(b'/');
            self.count(ENTRY_BYTES + path.len())?;
            self.folders.push_back(Folder { real, path, above }.into());
        } else if is_own(&path) {
            log::warn!("pages: the file {real:?} is left out: that path is moss's own");
            self.left_out += 1;
        } else {
            self.count(ENTRY_BYTES + path.len())?;
            let size = file.metadata().map_or(0, |metadata| metadata.len());
            let size = usize::try_from(size).unwrap_or(usize::MAX);
            if size > MOST_BYTES - self.size {
                return Err(too_much());
            }
            let draft = Draft::new(Vec::with_capacity(size));
            self.file = Some(Opened { file, real, path, draft });
        }
        Ok(())
    }

    /// Opens an entry, and says whether it is a folder; `None` if it is to be left out. If it
    /// is a link, `real` becomes its target.
    fn find(
        &self,
        entries: &Dir,
        name: &OsStr,
        real: &mut PathBuf,
    ) -> Result<Option<(File, bool)>, Errno> {
        let folder = entries.fd()?;
        let mut opened = None;
        match FileType::from_raw_mode(statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?.st_mode) {
            FileType::Directory | FileType::RegularFile => {
                opened = Some(openat(folder, name, FLAGS, Mode::empty())?);
            }
            FileType::Symlink => {
                // A dangling or circular link is left out, too.
                let target = fs::canonicalize(self.root.join(&*real)).ok();
                let inside = target.as_deref().and_then(|to| to.strip_prefix(&self.root).ok());
                if let Some(inside) = inside {
                    *real = inside.to_owned();
                    opened = match self.open(inside) {
                        // A socket.
                        Err(Errno::NXIO) => None,
                        opened => Some(opened?),
                    };
                }
            }
            _ => {}
        }
        let Some(opened) = opened else { return Ok(None) };
        // Checked again, since it may have been replaced before it was opened.
        Ok(match FileType::from_raw_mode(fstat(&opened)?.st_mode) {
            FileType::Directory => Some((opened.into(), true)),
            FileType::RegularFile => Some((opened.into(), false)),
            _ => None,
        })
    }

    /// Opens a file or a folder by its path relative to the root.
    fn open(&self, real: &Path) -> Result<OwnedFd, Errno> {
        let mut opened = openat(&self.top, ".", FLAGS, Mode::empty())?;
        for name in real {
            opened = openat(opened.as_fd(), name, FLAGS, Mode::empty())?;
        }
        Ok(opened)
    }

    /// Reads on in a file, at most `most` bytes, and returns how many.
    fn read(&mut self, opened: &mut Opened, most: usize) -> Result<usize, Problem> {
        let Opened { file, real, draft, .. } = opened;
        let count = Read::by_ref(file)
            .take(most as u64)
            .read_to_end(&mut draft.bytes)
            .map_err(|error| self.unreadable(real, error))?;
        draft.hash();
        self.count(count)?;
        Ok(count)
    }

    fn count(&mut self, bytes: usize) -> Result<(), Problem> {
        self.size += bytes;
        if self.size > MOST_BYTES { Err(too_much()) } else { Ok(()) }
    }

    fn unreadable(&self, real: &Path, error: impl Into<io::Error>) -> Problem {
        let path = self.root.join(real);
        let error = error.into();
        Problem(format!(
            "{path:?} can't be read ({error}); make it readable for moss, or move it away"
        ))
    }
}

/// Whether this path, or the folder whose index it is, is one that moss answers itself.
fn is_own(path: &[u8]) -> bool {
    let folder = path.strip_suffix(b"/index.html").unwrap_or(path);
    OWN_PATHS.iter().any(|own| folder == own.as_bytes())
}

/// Whether something was removed or replaced after it was found.
fn has_gone(error: Errno) -> bool {
    matches!(error, Errno::NOENT | Errno::NOTDIR | Errno::LOOP)
}

fn too_much() -> Problem {
    let mebibytes = MOST_BYTES >> 20;
    Problem(format!(
        "holds more than {mebibytes} MiB, which moss would keep in memory; \
         give less, or use a web server for it"
    ))
}
