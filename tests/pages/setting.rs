//! The setting: which folders are accepted, and which stop moss at its start.

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use crate::site::{DIRECTORY, folder, folder_of, site, write};
use crate::support::{Moss, Setup, skipped};
use crate::visitor::{Visitor, ask, get};

/// The most that all pages may be together, in bytes.
const MOST: u64 = 64 << 20;

/// Moss must not start, and say why in one line, which is returned.
#[track_caller]
pub(crate) fn refusal(setup: Setup) -> String {
    let line = setup.refusal(2);
    assert!(line.starts_with("moss: MOSS_PAGES_DIRECTORY: "), "{line}");
    line
}

/// A sparse file of zeros.
fn write_zeros(folder: &Path, name: &str, len: u64) {
    let file = File::create(folder.join(name)).expect("a file in the test's folder");
    file.set_len(len).expect("a sparse file");
}

#[test]
fn there_are_no_pages_without_the_setting() {
    for value in [None, Some("")] {
        let setup = site(&[("index.html", "x")]).unset(DIRECTORY);
        let setup = if let Some(value) = value { setup.set(DIRECTORY, value) } else { setup };
        let moss = setup.start();
        assert_eq!(ask(&moss, get("/index.html")).status, 404);
        assert_eq!(ask(&moss, get("/pages/index.html")).status, 404);
        assert_eq!(ask(&moss, get("/")).status, 426);
    }
}

#[test]
fn folder_may_be_relative_absolute_or_a_link() {
    let setup = || {
        let setup = site(&[("a/page.txt", "the page")]);
        symlink("pages", setup.folder().join("link")).expect("a link");
        setup
    };
    for value in ["pages", "./pages/", "link", "link/", "pages/../pages"] {
        let moss = setup().set(DIRECTORY, value).start();
        assert_eq!(ask(&moss, get("/a/page.txt")).body, b"the page", "{value}");
    }
    let setup = setup();
    let absolute = folder(&setup);
    let moss = setup.set(DIRECTORY, absolute).start();
    assert_eq!(ask(&moss, get("/a/page.txt")).body, b"the page");
}

#[test]
fn working_directory_itself_may_be_the_folder() {
    let moss = site(&[("page.txt", "the page")]).set(DIRECTORY, ".").start();
    assert_eq!(ask(&moss, get("/pages/page.txt")).body, b"the page");
}

#[test]
fn folder_may_be_empty() {
    let moss = site::<&str>(&[]).start();
    assert_eq!(ask(&moss, get("/")).status, 426);
    assert_eq!(ask(&moss, get("/index.html")).status, 404);
}

#[test]
fn path_that_is_not_a_folder_stops_moss() {
    for value in
        ["none", "pages/none", "file", "file/", "pages/index.html", "nowhere", "pipe", "/dev/null"]
    {
        let setup = site(&[("index.html", "x")]).file("file", "x");
        symlink("none", setup.folder().join("nowhere")).expect("a link");
        make_pipe(&setup.folder().join("pipe"));
        let line = refusal(setup.set(DIRECTORY, value));
        // The line quotes the value.
        assert!(line.contains(value.trim_end_matches('/')), "{line}");
    }
}

pub(crate) fn make_pipe(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().expect("mkfifo").success());
}

/// The same moss without root's right to read every file. `None` where it can't be dropped.
fn without_rights(setup: Setup, test: &str) -> Option<Setup> {
    if !rustix::process::geteuid().is_root() {
        return Some(setup);
    }
    let capabilities = "-dac_override,-dac_read_search";
    let words = ["setpriv", "--bounding-set", capabilities, "--inh-caps", capabilities];
    let works = Command::new(words[0]).args(&words[1..]).arg("true").output();
    if works.is_ok_and(|output| output.status.success()) {
        return Some(setup.within(&words));
    }
    skipped(test, "root, without the right to have fewer rights");
    None
}

fn forbid(path: &Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o000)).expect("a file of one's own");
}

#[test]
fn unreadable_file_stops_moss() {
    let setup = site(&[("index.html", "x"), ("sub/private.txt", "x")]);
    forbid(&folder(&setup).join("sub/private.txt"));
    let Some(setup) = without_rights(setup, "unreadable_file_stops_moss") else { return };
    let line = refusal(setup);
    assert!(line.contains("sub/private.txt"), "{line}");
}

#[test]
fn unreadable_folder_stops_moss() {
    for private in ["", "sub"] {
        let setup = site(&[("index.html", "x"), ("sub/page.txt", "x")]);
        let folder = folder(&setup).join(private);
        forbid(&folder);
        let setup = without_rights(setup, "unreadable_folder_stops_moss");
        if let Some(setup) = setup {
            refusal(setup);
        }
    }
}

#[test]
fn too_large_pages_stop_moss_with_advice_to_use_a_web_server() {
    let setup = site(&[("index.html", "x")]);
    write_zeros(&folder(&setup), "half", MOST / 2);
    write_zeros(&folder(&setup), "other-half", MOST / 2);
    assert!(refusal(setup).contains("web server"));
}

#[test]
fn file_of_a_terabyte_stops_moss_at_once() {
    let setup = site(&[("index.html", "x")]);
    write_zeros(&folder(&setup), "disk.img", 1 << 40);
    assert!(refusal(setup).contains("web server"));
}

#[test]
fn each_page_counts_as_256_bytes_more_than_its_length() {
    // Some bytes of tolerance, because its path counts, too.
    let setup = site::<&str>(&[]);
    write_zeros(&folder(&setup), "zeros", MOST - 250);
    refusal(setup);
    let setup = site::<&str>(&[]);
    write_zeros(&folder(&setup), "zeros", MOST - 270);
    let moss = setup.start();
    let answer = ask(&moss, get("/zeros"));
    assert_eq!(answer.body.len() as u64, MOST - 270);
    assert!(answer.body.iter().all(|&byte| byte == 0));
}

#[test]
fn empty_files_with_long_paths_count_too() {
    const LEN: usize = 3_000;

    let setup = site::<&str>(&[]);
    let mut deep = folder(&setup).join("deep");
    for _ in 0..LEN / 200 {
        deep.push("d".repeat(199));
    }
    fs::create_dir_all(&deep).expect("folders in the test's folder");
    // Many files, each at many paths.
    let count = (MOST / (LEN as u64 + 256)).isqrt() + 1;
    for name in 0..count {
        File::create(deep.join(name.to_string())).expect("a file in the test's folder");
        symlink("deep", folder(&setup).join(name.to_string())).expect("a link");
    }
    assert!(refusal(setup).contains("web server"));
}

#[test]
fn pages_are_served_from_memory() {
    let moss = site(&[("index.html", "start"), ("a/page.txt", "the page")]).start();
    fs::remove_dir_all(folder_of(&moss)).expect("the folder");
    assert_eq!(ask(&moss, get("/")).body, b"start");
    assert_eq!(ask(&moss, get("/a/page.txt")).body, b"the page");
}

#[test]
fn file_that_is_added_later_is_not_served() {
    let moss = site(&[("index.html", "start")]).start();
    write(&folder_of(&moss), "later.txt", "x");
    assert_eq!(ask(&moss, get("/later.txt")).status, 404);
}

#[test]
fn moss_health_asks_a_moss_with_pages() {
    let moss = site(&[("index.html", "start"), ("health", "x")]).start();
    let port = moss.plain_address().port().to_string();
    let output = Setup::new().set("MOSS_PORT", port).run(&["health"]);
    let stdout = String::from_utf8(output.stdout).expect("UTF-8");
    assert_eq!(output.status.code(), Some(0), "{stdout}");
}

#[test]
fn pages_take_no_descriptors() {
    let pages: Vec<_> = (0..100).map(|page| (format!("{page}/index.html"), "x")).collect();
    let pages: Vec<_> = pages.iter().map(|(path, text)| (path.as_str(), *text)).collect();
    let with: Moss = site(&pages).start();
    let without = Moss::start();
    assert_eq!(Visitor::of(&with).get("/7/").body, b"x");
    // After a first connection to each of them.
    assert_eq!(ask(&without, get("/health")).status, 200);
    let all = |moss: &Moss| {
        let names = fs::read_dir(format!("/proc/{}/fd", moss.pid())).expect("a process");
        names
            .filter_map(|name| fs::read_link(name.ok()?.path()).ok())
            .filter(|target| !target.to_string_lossy().starts_with("socket:"))
            .count()
    };
    assert_eq!(all(&with), all(&without));
}
