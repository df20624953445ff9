//! No path, however it is spelled, leads outside of the folder.

use std::fs;
use std::os::unix::fs::symlink;

use rustix::process::Signal;

use crate::site::{folder, folder_of, meanwhile, reload_until, replace, site, write};
use crate::support::{Moss, SECRET};
use crate::visitor::{Visitor, ask, get};

/// The content of files outside of the folder.
const CANARY: &str = "the canary has left its cage";

/// A moss with such files beside its folder of pages.
fn start() -> Moss {
    let setup = site(&[("index.html", "start"), ("sub/page.html", "page"), (".hidden", CANARY)]);
    write(&folder(&setup), ".git/config", CANARY);
    write(setup.folder(), "pages2/canary.txt", CANARY);
    setup.file("canary.txt", CANARY).file("canary", CANARY).start()
}

/// Spellings of "one folder up".
const UP: [&str; 28] = [
    "..",
    "%2e%2e",
    "%2E%2E",
    ".%2e",
    "%2e.",
    "%252e%252e",
    "%25252e%25252e",
    "%c0%ae%c0%ae",
    "%e0%80%ae%e0%80%ae",
    "%uff0e%uff0e",
    "%u002e%u002e",
    "..%00",
    "%00..",
    "..;",
    "..;x=y",
    "..%20",
    "...",
    "....",
    "..%5c",
    "..\\",
    ".\\.",
    ".",
    "..%0d%0a",
    "..%3f",
    "..%23",
    "..#",
    "%ff..",
    "..%ef%bc%8f",
];

const SLASHES: [&str; 10] =
    ["/", "//", "\\", "%2f", "%2F", "%5c", "%252f", "%c0%af", "/./", "/sub/../"];

const CANARIES: [&str; 6] =
    ["canary.txt", "canary", "pages2/canary.txt", "pages/.hidden", ".hidden", ".git/config"];

/// Requests all of these, on a new connection whenever one ends. Each answer must be a 400 or 404
/// without the canary.
#[track_caller]
fn expect_nothing_of(moss: &Moss, targets: &[String]) {
    let mut visitor = Visitor::of(moss);
    for target in targets {
        let answer = visitor.get(target);
        assert!(matches!(answer.status, 400 | 404), "{target}: {}", answer.status);
        let body = String::from_utf8_lossy(&answer.body);
        assert!(!body.contains(CANARY), "{target}");
        if answer.is_last() {
            visitor.expect_end();
            visitor = Visitor::of(moss);
        }
    }
}

#[test]
fn no_spelling_leads_out_of_the_folder() {
    let moss = start();
    let mut targets = Vec::new();
    for up in UP {
        for slash in SLASHES {
            for canary in CANARIES {
                for start in ["/", "/sub/", "//", "/index.html/"] {
                    targets.push(format!("{start}{up}{slash}{canary}"));
                    targets.push(format!("{start}{up}{slash}{up}{slash}{canary}"));
                }
            }
        }
    }
    expect_nothing_of(&moss, &targets);
}

#[test]
fn no_absolute_path_leads_out_of_the_folder() {
    let moss = start();
    let folder = moss.folder().to_str().expect("UTF-8").to_owned();
    let mut targets = Vec::new();
    for path in [
        format!("{folder}/canary.txt"),
        format!("{folder}/pages/index.html"),
        "/etc/passwd".to_owned(),
        "/proc/self/environ".to_owned(),
        "/proc/self/cwd/canary.txt".to_owned(),
        "/dev/zero".to_owned(),
    ] {
        let escaped = path.replace('/', "%2f");
        targets.extend([
            path.clone(),
            format!("/{path}"),
            format!("//{path}"),
            format!("/sub{path}"),
            format!("/{escaped}"),
            escaped,
            format!("file://{path}"),
            format!("http://box{path}"),
            format!("http://box/{path}"),
            format!("http:/{path}"),
            format!("C:{path}"),
            format!("/C:{}", path.replace('/', "\\")),
            format!("~{path}"),
            format!("/~root{path}"),
            format!("http://box/..{path}"),
            format!("http://box/../canary.txt?{path}"),
        ]);
    }
    expect_nothing_of(&moss, &targets);
}

#[test]
fn no_byte_leads_out_of_the_folder() {
    let moss = start();
    let targets: Vec<_> = (0..=255_u8)
        .flat_map(|byte| {
            let byte = format!("%{byte:02x}");
            [
                format!("/..{byte}canary.txt"),
                format!("/{byte}../canary.txt"),
                format!("/.{byte}./canary.txt"),
                format!("/../canary.txt{byte}"),
                format!("/{byte}canary"),
            ]
        })
        .collect();
    expect_nothing_of(&moss, &targets);
}

#[test]
fn no_long_path_leads_out_of_the_folder() {
    let moss = start();
    let mut targets = Vec::new();
    for count in [1, 2, 10, 100, 1_000, 2_500] {
        targets.push(format!("/{}canary.txt", "../".repeat(count)));
        targets.push(format!("/{}/canary.txt", "sub/..".repeat(count.min(1_300))));
    }
    expect_nothing_of(&moss, &targets);
}

#[test]
fn link_that_is_added_later_leads_nowhere() {
    let moss = start();
    symlink("../canary.txt", folder_of(&moss).join("later.txt"))
        .expect("a link in the test's folder");
    fs::remove_file(folder_of(&moss).join("sub/page.html")).expect("a page");
    symlink("../../canary.txt", folder_of(&moss).join("sub/page.html"))
        .expect("a link in the test's folder");
    let mut visitor = Visitor::of(&moss);
    assert_eq!(visitor.get("/later.txt").status, 404);
    assert_eq!(visitor.get("/sub/page.html").body, b"page");
    replace(&moss, "index.html", "new");
    reload_until(&moss, "/", b"new");
    assert_eq!(visitor.get("/later.txt").status, 404);
    assert_eq!(visitor.get("/sub/page.html").status, 404);
}

#[test]
fn folder_that_becomes_a_link_while_it_is_read_leads_nowhere() {
    let moss = start();
    write(moss.folder(), "outside/page.html", CANARY);
    let (sub, away) = (folder_of(&moss).join("sub"), moss.folder().join("away"));
    let swap = |_| {
        fs::rename(&sub, &away).expect("a folder");
        symlink("../outside", &sub).expect("a link in the test's folder");
        fs::remove_file(&sub).expect("a link");
        fs::rename(&away, &sub).expect("a folder");
    };
    let look = || {
        moss.signal(Signal::HUP);
        ask(&moss, get("/sub/page.html")).body
    };
    let seen: Vec<_> = meanwhile(swap, || (0..2_000).map(|_| look()).collect());
    assert!(!seen.iter().any(|body| body == CANARY.as_bytes()));
    // In case moss has seen only the link each time: the folder is served when nothing changes.
    reload_until(&moss, "/sub/page.html", b"page");
}

#[test]
fn dotenv_beside_the_pages_is_not_served() {
    // The folder of pages is the working directory, with its `.env`.
    let setup = site(&[("index.html", "start")]);
    let setup = setup.set("MOSS_PAGES_DIRECTORY", ".").unset("MOSS_CONNECTION_SECRET");
    let moss = setup.file(".env", format!("MOSS_CONNECTION_SECRET={SECRET}\n")).start();
    let mut visitor = Visitor::of(&moss);
    for target in ["/.env", "/%2eenv", "//.env", "/pages/../.env", "/./.env"] {
        assert_eq!(visitor.get(target).status, 404, "{target}");
    }
    visitor.send(get("/pages/index.html"));
    assert_eq!(visitor.answer().body, b"start");
}
