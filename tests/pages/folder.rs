//! Which files of the folder are pages, and at which paths.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;

use crate::setting::{make_pipe, refusal};
use crate::site::{DIRECTORY, folder, site, write};
use crate::support::{Moss, Setup};
use crate::visitor::{ask, get};

#[track_caller]
fn expect_page(moss: &Moss, target: &str, text: &str) {
    let answer = ask(moss, get(target));
    assert_eq!(answer.status, 200, "{target}");
    assert_eq!(String::from_utf8_lossy(&answer.body), text, "{target}");
}

#[track_caller]
fn expect_nothing(moss: &Moss, target: &str) {
    assert_eq!(ask(moss, get(target)).status, 404, "{target}");
}

/// Makes links in the folder: their paths and targets.
fn link(setup: &Setup, links: &[(&str, &str)]) {
    for (from, to) in links {
        symlink(to, folder(setup).join(from)).expect("a link in the test's folder");
    }
}

#[test]
fn names_that_begin_with_a_dot_are_left_out() {
    let moss = site(&[
        ("index.html", "start"),
        (".env", "secret"),
        (".git/config", "secret"),
        ("sub/.htpasswd", "secret"),
        ("sub/.cache/page.html", "secret"),
        ("...", "secret"),
        ("..page", "secret"),
        ("sub/page.html", "page"),
        ("sub/not.hidden", "not"),
    ])
    .start();
    for target in [
        "/.env",
        "/%2eenv",
        "/.git/config",
        "/sub/.htpasswd",
        "/sub/.cache/page.html",
        "/...",
        "/..page",
    ] {
        expect_nothing(&moss, target);
    }
    expect_page(&moss, "/sub/page.html", "page");
    expect_page(&moss, "/sub/not.hidden", "not");
}

#[test]
fn links_that_lead_outside_are_left_out() {
    let setup = site(&[("index.html", "start"), ("sub/page.html", "page")]);
    // Its name has the folder's as a prefix.
    write(&setup.folder().join("pages-to-come"), "draft.html", "secret");
    let setup = setup.file("secret.txt", "secret");
    let absolute = setup.folder().join("secret.txt");
    link(
        &setup,
        &[
            ("file", "../secret.txt"),
            ("sub/file", "../../secret.txt"),
            ("absolute", absolute.to_str().expect("UTF-8")),
            ("folder", ".."),
            ("other", "../pages-to-come"),
            ("draft.html", "../pages-to-come/draft.html"),
            ("all", "/"),
            ("through", "sub/../../secret.txt"),
            ("by-a-link", "file"),
            ("dangling", "none"),
        ],
    );
    let moss = setup.start();
    for target in [
        "/file",
        "/sub/file",
        "/absolute",
        "/folder/secret.txt",
        "/folder/pages/index.html",
        "/other/draft.html",
        "/draft.html",
        "/all/etc/passwd",
        "/through",
        "/by-a-link",
        "/dangling",
    ] {
        expect_nothing(&moss, target);
    }
    expect_page(&moss, "/", "start");
    expect_page(&moss, "/sub/page.html", "page");
}

#[test]
fn links_within_the_folder_are_followed() {
    let setup = site(&[("a/page.html", "page"), ("a/index.html", "start")]);
    let absolute = folder(&setup).join("a/page.html");
    link(
        &setup,
        &[
            ("same.html", "a/page.html"),
            ("absolute.html", absolute.to_str().expect("UTF-8")),
            ("around.html", "../pages/a/page.html"),
            ("twice.html", "same.html"),
            ("b", "a"),
            ("a/sibling.html", "../same.html"),
        ],
    );
    let moss = setup.start();
    for target in [
        "/same.html",
        "/absolute.html",
        "/around.html",
        "/twice.html",
        "/b/page.html",
        "/a/sibling.html",
    ] {
        expect_page(&moss, target, "page");
    }
    expect_page(&moss, "/b/", "start");
}

/// Kubernetes mounts volumes in this way, to change all files at once.
#[test]
fn link_through_a_hidden_folder_is_followed() {
    let setup = site(&[("..2026_01/page.html", "page")]);
    link(&setup, &[("..data", "..2026_01"), ("page.html", "..data/page.html")]);
    let moss = setup.start();
    expect_page(&moss, "/page.html", "page");
    expect_nothing(&moss, "/..data/page.html");
}

#[test]
fn links_within_a_linked_folder_are_followed() {
    let setup = site(&[("page.html", "page")]);
    link(&setup, &[("same.html", "page.html"), ("out.html", "../link")]);
    symlink("pages", setup.folder().join("link")).expect("a link");
    let moss = setup.set(DIRECTORY, "link").start();
    expect_page(&moss, "/page.html", "page");
    expect_page(&moss, "/same.html", "page");
    expect_nothing(&moss, "/out.html");
}

#[test]
fn cyclic_links_are_left_out() {
    let setup = site(&[("a/page.html", "a"), ("b/page.html", "b"), ("index.html", "start")]);
    link(
        &setup,
        &[
            ("self", "."),
            ("a/up", ".."),
            ("a/itself", "../a"),
            ("one", "two"),
            ("two", "one"),
            ("same", "same"),
            ("a/b", "../b"),
            ("b/a", "../a"),
        ],
    );
    let moss = setup.start();
    for target in ["/self/index.html", "/a/up/index.html", "/a/itself/page.html", "/one", "/same"] {
        expect_nothing(&moss, target);
    }
    expect_page(&moss, "/a/page.html", "a");
    expect_page(&moss, "/b/page.html", "b");
    expect_page(&moss, "/", "start");
    expect_nothing(&moss, "/a/b/a/page.html");
}

/// Each folder has two links to the next one, so there are 2^60 paths to the last, without a
/// single file.
#[test]
fn links_that_multiply_end_in_a_refusal() {
    let setup = site::<&str>(&[]);
    for level in 0..60 {
        fs::create_dir(folder(&setup).join(level.to_string())).expect("a folder");
        let next = format!("../{}", level + 1);
        for name in ["x", "y"] {
            link(&setup, &[(&format!("{level}/{}", name.repeat(200)), &next)]);
        }
    }
    fs::create_dir(folder(&setup).join("60")).expect("a folder");
    refusal(setup);
}

#[test]
fn entries_other_than_files_and_folders_are_left_out() {
    let setup = site(&[("index.html", "start")]);
    make_pipe(&folder(&setup).join("pipe"));
    let _listener = UnixListener::bind(folder(&setup).join("socket")).expect("a socket");
    link(&setup, &[("link-to-pipe", "pipe"), ("zeros", "/dev/zero"), ("link", "socket")]);
    let moss = setup.start();
    for target in ["/pipe", "/socket", "/link-to-pipe", "/zeros", "/link"] {
        expect_nothing(&moss, target);
    }
    expect_page(&moss, "/", "start");
}

#[test]
fn one_line_counts_what_is_left_out() {
    let setup = site(&[("index.html", "start"), (".a", "x"), ("sub/.b", "x"), (".c/d", "x")]);
    make_pipe(&folder(&setup).join("pipe"));
    link(&setup, &[("out", "/etc/passwd"), ("nowhere", "none"), ("round", ".")]);
    let moss = setup.start();
    let line = moss.wait_for_log("left out");
    // .a, .b, .c, pipe, out, nowhere, round.
    assert!(line.split(|c: char| !c.is_ascii_digit()).any(|word| word == "7"), "{line}");
    assert_eq!(moss.log().matches("left out").count(), 1, "{}", moss.log());
}

#[test]
fn nothing_is_logged_if_no_file_is_left_out() {
    let moss = site(&[("index.html", "start")]).set("MOSS_ALLOWED_ORIGINS", "self").start();
    expect_page(&moss, "/", "start");
    assert!(!moss.log().contains("left out") && !moss.log().contains("WARN"), "{}", moss.log());
}

/// Moss must leave this page out, warn of it once, and answer the path with this status.
#[track_caller]
fn expect_own_answer(page: &str, path: &str, status: u16) {
    let setup = site(&[("index.html", "start"), (page, "mine")]);
    let moss = setup.set("MOSS_ALLOWED_ORIGINS", "self").start();
    moss.wait_for_log("limits: ");
    let log = moss.log();
    let warnings: Vec<_> = log.lines().filter(|line| line.contains("WARN")).collect();
    assert!(warnings.len() == 1 && warnings[0].contains(&path[1..]), "{page}: {warnings:?}");
    let answer = ask(&moss, get(path));
    assert_ne!(answer.body, b"mine", "{page}");
    assert_eq!(answer.status, status, "{page}");
}

#[test]
fn files_at_health_and_metrics_are_left_out_with_a_warning() {
    expect_own_answer("health", "/health", 200);
    expect_own_answer("metrics", "/metrics", 404);
}

#[test]
fn folders_at_health_and_metrics_have_no_index_and_a_warning() {
    expect_own_answer("health/index.html", "/health", 200);
    // Not a redirect to a page that does not exist.
    expect_own_answer("metrics/index.html", "/metrics", 404);
}

#[test]
fn pages_beside_health_and_metrics_are_served() {
    let moss = site(&[
        ("health.html", "one"),
        ("health/other.html", "two"),
        ("sub/health", "three"),
        ("sub/metrics/index.html", "four"),
    ])
    .set("MOSS_ALLOWED_ORIGINS", "self")
    .start();
    expect_page(&moss, "/health.html", "one");
    expect_page(&moss, "/health/other.html", "two");
    expect_page(&moss, "/sub/health", "three");
    expect_page(&moss, "/sub/metrics/", "four");
    assert!(!moss.log().contains("WARN"), "{}", moss.log());
}

#[test]
fn index_of_the_folder_is_served_without_a_warning() {
    // A WebSocket upgrade at `/` does not hide this page.
    let moss = site(&[("index.html", "x")]).set("MOSS_ALLOWED_ORIGINS", "self").start();
    expect_page(&moss, "/", "x");
    assert!(!moss.log().contains("WARN"), "{}", moss.log());
}

/// Percent-encodes all but unreserved characters.
fn escaped(path: &[u8]) -> String {
    let escape = |&byte: &u8| match byte {
        b'/' | b'-' | b'.' | b'_' | b'~' => (byte as char).to_string(),
        _ if byte.is_ascii_alphanumeric() => (byte as char).to_string(),
        _ => format!("%{byte:02X}"),
    };
    path.iter().map(escape).collect()
}

#[test]
fn names_may_be_any_bytes() {
    let names: [&[u8]; 22] = [
        b"with space.html",
        b" ",
        b"100%.html",
        b"%41.html",
        b"A.html",
        b"%2541.html",
        b"a:b.html",
        b"http:",
        b"what?.html",
        b"a#b.html",
        b"a&b=c;d+e.html",
        b"back\\slash.html",
        b"quote\"'<>.html",
        b"new\nline\r\n.html",
        b"tab\t\x01\x7f.html",
        "gr\u{fc}\u{df}e \u{1f600}.html".as_bytes(),
        b"latin-\xe9.html",
        b"\xff\xfe",
        b"*",
        b"a.",
        b"a..b",
        b"fold \xe9r/f:\xfcr ?/page.html",
    ];
    let setup = site::<&str>(&[]);
    for name in names {
        write(&folder(&setup), name, name);
    }
    let moss = setup.start();
    for name in names {
        let target = format!("/{}", escaped(name));
        let answer = ask(&moss, get(&target));
        assert_eq!(answer.status, 200, "{target}");
        assert_eq!(answer.body, name, "{target}");
        // The hex digits of an escape may have either case.
        let is_found = ask(&moss, get(&target.to_lowercase())).status == 200;
        assert_eq!(is_found, name != b"A.html", "{target}");
    }
}

#[test]
fn names_are_case_sensitive() {
    let moss = site(&[("Page.html", "upper"), ("page.html", "lower")]).start();
    expect_page(&moss, "/Page.html", "upper");
    expect_page(&moss, "/page.html", "lower");
    expect_nothing(&moss, "/PAGE.html");
}

#[test]
fn folders_may_be_deep() {
    let path = format!("{}page.html", "d/".repeat(300));
    let moss = site(&[(path.as_str(), "deep")]).start();
    expect_page(&moss, &format!("/{path}"), "deep");
}

#[test]
fn each_of_many_pages_is_found() {
    let pages: Vec<_> =
        (0..2_000).map(|page| (format!("{}/{page}.txt", page % 7), page.to_string())).collect();
    let pages: Vec<_> = pages.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    let moss = site(&pages).start();
    for (path, text) in pages.iter().step_by(37) {
        expect_page(&moss, &format!("/{path}"), text);
    }
}
