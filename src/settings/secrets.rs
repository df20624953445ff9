//! Reads a secret from a file.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, open};

/// The longest file that is read, in bytes. A longer one has no secret in it: it must be the
/// wrong file.
const LONGEST: u64 = 64 << 10;

/// The files of secrets, which can be read again. A secret in a variable can't change.
#[derive(Clone, Debug, Default)]
pub struct SecretFiles {
    /// That of [`Config::secret`](super::config::Config::secret).
    pub connection: Option<PathBuf>,
    /// That of [`Config::login_secret`](super::config::Config::login_secret).
    pub login: Option<PathBuf>,
}

/// Reads the secret in a file. A pipe works, too, such as a shell's `<(…)`.
///
/// # Errors
/// What is wrong and what would be right, without quoting the file.
pub(super) fn read(path: &Path) -> Result<String, String> {
    secret_in(path, File::open(path))
}

/// Reads it again without blocking: a pipe without data is an error.
///
/// # Errors
/// The same.
pub(crate) fn read_again(path: &Path) -> Result<String, String> {
    let file = open(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty());
    secret_in(path, file.map(File::from).map_err(io::Error::from))
}

fn secret_in(path: &Path, file: io::Result<File>) -> Result<String, String> {
    let mut text = String::new();
    let read = file.and_then(|file| file.take(LONGEST + 1).read_to_string(&mut text));
    let length = read
        .map_err(|error| format!("{path:?} can't be read ({error}); name a readable text file"))?;
    if length as u64 > LONGEST {
        return Err(format!("{path:?} is longer than {LONGEST} bytes; name a file with a secret"));
    }
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let secret = line.strip_suffix('\r').unwrap_or(line);
    if secret.is_empty() {
        return Err(format!("{path:?} is empty; put the secret into it"));
    }
    Ok(secret.to_owned())
}
