//! Content-Type, by the extension of a page's name.

use crate::site::site;
use crate::visitor::{ask, get};

const TEXTS: [(&str, &str); 8] = [
    ("html", "text/html"),
    ("htm", "text/html"),
    ("css", "text/css"),
    ("js", "text/javascript"),
    ("mjs", "text/javascript"),
    ("txt", "text/plain"),
    ("md", "text/markdown"),
    ("csv", "text/csv"),
];

const OTHERS: [(&str, &str); 20] = [
    ("json", "application/json"),
    ("webmanifest", "application/manifest+json"),
    ("wasm", "application/wasm"),
    ("pdf", "application/pdf"),
    ("png", "image/png"),
    ("jpg", "image/jpeg"),
    ("jpeg", "image/jpeg"),
    ("gif", "image/gif"),
    ("webp", "image/webp"),
    ("avif", "image/avif"),
    ("svg", "image/svg+xml"),
    ("ico", "image/x-icon"),
    ("mp3", "audio/mpeg"),
    ("wav", "audio/wav"),
    ("mp4", "video/mp4"),
    ("webm", "video/webm"),
    ("woff", "font/woff"),
    ("woff2", "font/woff2"),
    ("ttf", "font/ttf"),
    ("bin", "application/octet-stream"),
];

#[test]
fn usual_extensions_have_their_types() {
    let names = TEXTS.iter().chain(&OTHERS).map(|(ending, _)| format!("a.b.{ending}"));
    let names: Vec<_> = names.collect();
    let pages: Vec<_> = names.iter().map(|name| (name.as_str(), "x")).collect();
    let moss = site(&pages).start();
    let type_of = |ending: &str| {
        let answer = ask(&moss, get(&format!("/a.b.{ending}")));
        answer.header("Content-Type").expect("a type").to_owned()
    };
    for (ending, known) in TEXTS {
        assert_eq!(type_of(ending), format!("{known}; charset=utf-8"), "{ending}");
    }
    for (ending, known) in OTHERS {
        let found = type_of(ending);
        // Some of them are text, so they may have a charset.
        let bare = found.strip_suffix("; charset=utf-8").unwrap_or(&found);
        assert_eq!(bare, known, "{ending}");
    }
}

#[test]
fn extensions_ignore_case() {
    // Cameras write them in upper case.
    let moss = site(&[("IMG_0001.JPG", "x"), ("INDEX.Html", "x")]).start();
    let jpg = ask(&moss, get("/IMG_0001.JPG"));
    assert_eq!(jpg.header("Content-Type"), Some("image/jpeg"));
    let html = ask(&moss, get("/INDEX.Html"));
    assert_eq!(html.header("Content-Type"), Some("text/html; charset=utf-8"));
}

#[test]
fn names_without_a_known_extension_are_bytes() {
    let names =
        ["none", "html", "a.unknown", "a.html.", "a.html.bak", "folder.html/none", "a.htmlx"];
    let pages: Vec<_> = names.iter().map(|&name| (name, "<html>")).collect();
    let moss = site(&pages).start();
    for name in names {
        let answer = ask(&moss, get(&format!("/{name}")));
        assert_eq!(answer.header("Content-Type"), Some("application/octet-stream"), "{name}");
        assert_eq!(answer.header("X-Content-Type-Options"), Some("nosniff"));
    }
}

#[test]
fn index_has_the_type_of_its_own_name() {
    let moss = site(&[("index.html", "x"), ("a/index.html", "x")]).start();
    for target in ["/", "/a/", "/index.html"] {
        let answer = ask(&moss, get(target));
        assert_eq!(answer.header("Content-Type"), Some("text/html; charset=utf-8"));
    }
}
