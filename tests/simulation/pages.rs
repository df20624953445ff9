//! The pages: a folder on disk that changes before each reload, and requests.
//!
//! There are two versions of the folder, and a symbolic link to one of them, which moss reads.
//! Before each signal to read the files again the link changes to the other version.

use std::fs;
use std::ops::Range;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::random::Random;
use crate::wire;

/// Paths of pages, and their lengths in each version. One has the same length in both.
const FILES: [(&str, [usize; 2]); 6] = [
    ("/index.html", [400, 500]),
    ("/empty.css", [0, 30]),
    ("/small.js", [3_000, 3_000]),
    ("/middle.png", [40_000, 17_000]),
    ("/sub/index.html", [300_000, 200_000]),
    ("/large.mp4", [2 << 20, 1 << 20]),
];

/// Pages that are requested many times at once.
const SMALL_FILES: usize = 3;

/// The last request of a connection.
pub(crate) const MOST_REQUESTS: u64 = 1_000;

/// The link to the folder, removed when it is dropped.
pub(crate) struct Folder {
    pub(crate) link: PathBuf,
    /// The version to which it leads.
    pub(crate) version: usize,
}

/// A request.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) text: String,
    pub(crate) is_head: bool,
    pub(crate) due: Due,
    /// It is the last one of its connection.
    pub(crate) is_last: bool,
}

/// The expected answer to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// A page, or a part of it.
    Page { file: usize, part: Part },
    /// An answer with this status and without a page.
    Status(u16),
    /// A WebSocket.
    Upgrade,
}

/// Which part of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Whole,
    From(usize),
    Last(usize),
}

/// The bytes of a file in a version of the folder.
pub(crate) fn bytes(file: usize, version: usize) -> &'static [u8] {
    static ALL: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    let all = ALL.get_or_init(|| {
        let mut random = Random::new(1);
        let files = FILES.iter().flat_map(|(_, lens)| lens);
        files.map(|&len| (0..len).map(|_| random.next() as u8).collect()).collect()
    });
    &all[2 * file + version]
}

impl Folder {
    pub(crate) fn new() -> Self {
        static WRITTEN: OnceLock<()> = OnceLock::new();
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        WRITTEN.get_or_init(|| (0..2).for_each(write));
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let link = root().join(format!("link-{}-{number}", std::process::id()));
        symlink(root().join("0"), &link).expect("a link to the folder");
        Self { link, version: 0 }
    }

    /// Changes the link to the other version.
    pub(crate) fn change(&mut self) {
        self.version = 1 - self.version;
        let next = self.link.with_extension("next");
        symlink(root().join(self.version.to_string()), &next).expect("a link to the folder");
        fs::rename(&next, &self.link).expect("another link in its place");
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.link);
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("simulation-pages")
}

/// Several test programs may do this at once, as all of them write the same.
fn write(version: usize) {
    for (file, (path, _)) in FILES.iter().enumerate() {
        let place = root().join(version.to_string()).join(&path[1..]);
        let folder = place.parent().expect("a folder");
        fs::create_dir_all(folder).expect("a folder for the pages");
        let draft = root().join(format!("draft-{}", std::process::id()));
        fs::write(&draft, bytes(file, version)).expect("a page");
        fs::rename(&draft, &place).expect("a page in its place");
    }
}

impl Ask {
    /// A request for a path, by a method, with more header lines.
    fn new(method: &str, path: &str, lines: &str, due: Due) -> Self {
        let text = format!("{method} {path} HTTP/1.1\r\nHost: box\r\n{lines}\r\n");
        Self { text, is_head: method == "HEAD", due, is_last: false }
    }

    /// Any request that a browser might send.
    pub(crate) fn any(random: &mut Random) -> Self {
        let file = random.below(FILES.len());
        // A large page takes long to simulate.
        let file = if file + 1 == FILES.len() && !random.is_one_in(4) { 0 } else { file };
        let (path, lens) = FILES[file];
        let path = if random.is_one_in(2) { path.trim_end_matches("index.html") } else { path };
        let page = |part| Due::Page { file, part };
        let least = lens[0].min(lens[1]);
        let mut ask = match random.below(16) {
            0 => Self::new("HEAD", path, "", page(Part::Whole)),
            1 => Self::new("GET", path, "If-None-Match: *\r\n", Due::Status(304)),
            2 => Self::new("GET", "/nowhere?x", "", Due::Status(404)),
            3 => Self::new("GET", "/sub?x=1", "", Due::Status(308)),
            4 => Self::new("POST", path, "", Due::Status(405)),
            5 => Self::new("GET", "/health", "", Due::Status(200)),
            6 => Self::new("GET", "/small.js", "Range: bytes=3000-\r\n", Due::Status(416)),
            7 | 8 if least > 0 => {
                let from = random.below(least);
                let range = format!("Range: bytes={from}-\r\n");
                Self::new("GET", path, &range, page(Part::From(from)))
            }
            9 if least > 0 => {
                let last = 1 + random.below(least);
                Self::new("GET", path, &format!("Range: bytes=-{last}\r\n"), page(Part::Last(last)))
            }
            _ => Self::new("GET", path, "", page(Part::Whole)),
        };
        if random.is_one_in(40) {
            ask.text = ask.text.replacen("Host: box", "Host: box\r\nConnection: close", 1);
            ask.is_last = true;
        } else if random.is_one_in(80) {
            ask.text = ask.text.replacen("Host: box", "Host: box\r\nContent-Length: +0", 1);
            (ask.due, ask.is_last) = (Due::Status(400), true);
        }
        ask
    }

    /// A request that is sent many times at once.
    pub(crate) fn small(random: &mut Random) -> Self {
        let file = random.below(SMALL_FILES);
        Self::new("GET", FILES[file].0, "", Due::Page { file, part: Part::Whole })
    }

    /// A request for a page that takes a while to be sent.
    pub(crate) fn large(random: &mut Random) -> Self {
        let file = FILES.len() - 1 - random.below(2);
        Self::new("GET", FILES[file].0, "", Due::Page { file, part: Part::Whole })
    }

    /// Requests of a visitor that does not know the pages.
    pub(crate) fn plain(path: &str) -> Self {
        let due = match path {
            "/" => Due::Page { file: 0, part: Part::Whole },
            "/nowhere" => Due::Status(404),
            _ => Due::Status(200),
        };
        Self::new("GET", path, "", due)
    }

    pub(crate) fn upgrade() -> Self {
        let text = wire::UPGRADE.to_owned();
        Self { text, is_head: false, due: Due::Upgrade, is_last: false }
    }
}

impl Part {
    /// The range of bytes, for a page of this length.
    pub(crate) fn of(self, len: usize) -> Range<usize> {
        match self {
            Self::Whole => 0..len,
            Self::From(from) => from..len,
            Self::Last(count) => len - count..len,
        }
    }
}
