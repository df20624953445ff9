//! From a request's target to a page.

use crate::site::site;
use crate::visitor::{Visitor, ask, get, request};

#[test]
fn page_is_found_by_its_path() {
    let moss = site(&[("a.txt", "a"), ("sub/b.txt", "b"), ("sub/sub/c.txt", "c")]).start();
    let mut visitor = Visitor::of(&moss);
    for (target, body) in [("/a.txt", "a"), ("/sub/b.txt", "b"), ("/sub/sub/c.txt", "c")] {
        let answer = visitor.get(target);
        assert_eq!((answer.status, &answer.body[..]), (200, body.as_bytes()), "{target}");
    }
    assert_eq!(visitor.get("/b.txt").status, 404);
}

#[test]
fn path_with_a_slash_at_its_end_is_the_index_of_a_folder() {
    let moss =
        site(&[("index.html", "start"), ("a/index.html", "a"), ("b/page.html", "b")]).start();
    let mut visitor = Visitor::of(&moss);
    for (target, body) in
        [("/", "start"), ("/index.html", "start"), ("/a/", "a"), ("/a/index.html", "a")]
    {
        let answer = visitor.get(target);
        assert_eq!((answer.status, &answer.body[..]), (200, body.as_bytes()), "{target}");
    }
    for target in ["/b/", "/b", "/none/", "/index.html/", "/a/index.html/", "/a//"] {
        assert_eq!(visitor.get(target).status, 404, "{target}");
    }
}

#[test]
fn root_without_an_index_wants_a_websocket() {
    let moss = site(&[("a.txt", "a")]).start();
    for target in ["/", "/?x", "http://box", "http://box/"] {
        let answer = ask(&moss, get(target));
        assert_eq!(answer.status, 426, "{target}");
        assert_eq!(answer.header("Upgrade"), Some("websocket"));
        assert!(answer.is_last());
    }
    assert_eq!(ask(&moss, get("/index.html")).status, 404);
}

#[test]
fn folder_without_its_slash_is_redirected() {
    let moss = site(&[("dir/index.html", "x"), ("a/b/index.html", "x")]).start();
    let mut visitor = Visitor::of(&moss);
    for (target, location) in [
        ("/dir", "dir/"),
        ("/a/b", "b/"),
        ("/%64%69r", "dir/"),
        ("/dir?", "dir/?"),
        ("/dir?a=b&c=%20%zz/?d", "dir/?a=b&c=%20%zz/?d"),
        ("http://box/a/b?x", "b/?x"),
    ] {
        let answer = visitor.get(target);
        assert_eq!(answer.status, 308, "{target}");
        assert_eq!(answer.header("Location"), Some(location), "{target}");
        visitor.send(request("HEAD", target, ""));
        let head = visitor.head();
        assert_eq!((head.status, head.header("Location")), (308, Some(location)), "{target}");
    }
    // This folder has no index.
    assert_eq!(visitor.get("/a").status, 404);
}

#[test]
fn location_is_escaped_and_cannot_be_taken_for_an_address() {
    let pages: Vec<_> =
        ["a b", "a:b", "100%", "what?", "a#b", "\u{e9}", "\\x", "a\r\nX: y", "~a-b_c.d", "http:"]
            .iter()
            .map(|name| (format!("{name}/index.html"), *name))
            .collect();
    let pages: Vec<_> = pages.iter().map(|(path, name)| (path.as_str(), *name)).collect();
    let moss = site(&pages).start();
    for (target, location) in [
        ("/a%20b", "a%20b/"),
        ("/a:b", "a%3Ab/"),
        ("/100%25", "100%25/"),
        ("/what%3F", "what%3F/"),
        ("/a%23b", "a%23b/"),
        ("/%c3%a9", "%C3%A9/"),
        ("/%5cx", "%5Cx/"),
        ("/a%0d%0aX:%20y", "a%0D%0AX%3A%20y/"),
        ("/~a-b_c.d", "~a-b_c.d/"),
        ("/http:", "http%3A/"),
    ] {
        let answer = ask(&moss, get(target));
        assert_eq!((answer.status, answer.header("Location")), (308, Some(location)), "{target}");
    }
}

/// Where a browser goes: RFC 3986, section 5.3, for a location without dots.
fn resolved(target: &str, location: &str) -> String {
    let (folder, _) = target.rsplit_once('/').expect("a path");
    format!("{folder}/{location}")
}

#[test]
fn location_leads_to_the_page() {
    let moss = site(&[("a/b/index.html", "ab"), ("x y/index.html", "xy")]).start();
    for (target, body) in
        [("/a/b", "ab"), ("/a/%62", "ab"), ("/a%2fb", "ab"), ("/%61%2Fb", "ab"), ("/x%20y", "xy")]
    {
        let answer = ask(&moss, get(target));
        assert_eq!(answer.status, 308, "{target}");
        let next = resolved(target, answer.header("Location").expect("a location"));
        let page = ask(&moss, get(&next));
        assert_eq!((page.status, &page.body[..]), (200, body.as_bytes()), "{target} to {next}");
    }
}

#[test]
fn escapes_are_read_once() {
    let moss = site(&[("A", "A"), ("%41", "%41"), ("%2541", "%2541"), ("a+b", "+")]).start();
    let mut visitor = Visitor::of(&moss);
    for (target, body) in [
        ("/A", "A"),
        ("/%41", "A"),
        ("/%2541", "%41"),
        ("/%252541", "%2541"),
        ("/%25%34%31", "%41"),
        ("/a+b", "+"),
        ("/a%2Bb", "+"),
        ("/a%2bb", "+"),
    ] {
        let answer = visitor.get(target);
        assert_eq!((answer.status, &answer.body[..]), (200, body.as_bytes()), "{target}");
    }
    assert_eq!(visitor.get("/a%20b").status, 404);
}

#[test]
fn malformed_escape_is_a_bad_request() {
    let moss = site(&[("%", "x"), ("%zz", "x"), ("a%2", "x")]).start();
    for target in
        ["/%", "/%zz", "/%2", "/a%2", "/%%41", "/%4", "/%4g", "/%g4", "/%+1", "/%-1", "/%:1"]
    {
        let answer = ask(&moss, get(target));
        assert_eq!(answer.status, 400, "{target}");
        assert!(answer.is_last(), "{target}");
    }
}

#[test]
fn query_is_ignored() {
    let moss = site(&[("index.html", "start"), ("a.txt", "a")]).start();
    let mut visitor = Visitor::of(&moss);
    for query in ["?", "?x=1", "?%zz", "?/../../x", "??", "?a.txt", "?http://other/"] {
        assert_eq!(visitor.get(&format!("/a.txt{query}")).body, b"a", "{query}");
        assert_eq!(visitor.get(&format!("/{query}")).body, b"start", "{query}");
    }
    assert_eq!(visitor.get("/a.txt%3fx").status, 404);
}

#[test]
fn target_may_be_absolute() {
    let moss = site(&[("index.html", "start"), ("a.txt", "a"), ("d/index.html", "d")]).start();
    let mut visitor = Visitor::of(&moss);
    for (target, body) in [
        ("http://box/a.txt", "a"),
        ("https://other:8443/a.txt?x", "a"),
        ("HTTP://BOX/%61.txt", "a"),
        ("http://box/d/", "d"),
        ("http://box/", "start"),
        ("http://box", "start"),
        ("http://box?x", "start"),
    ] {
        let answer = visitor.get(target);
        assert_eq!((answer.status, &answer.body[..]), (200, body.as_bytes()), "{target}");
    }
    for target in ["http://box//a.txt", "http://box/none", "http://box/http://box/a.txt"] {
        assert_eq!(visitor.get(target).status, 404, "{target}");
    }
}

#[test]
fn targets_of_other_forms_are_not_found() {
    let moss =
        site(&[("index.html", "start"), ("a.txt", "a"), ("*", "x"), ("box:80", "x")]).start();
    let mut visitor = Visitor::of(&moss);
    for (method, target) in [
        ("OPTIONS", "*"),
        ("GET", "*"),
        ("CONNECT", "box:80"),
        ("GET", "box:80"),
        ("GET", "a.txt"),
        ("GET", "index.html"),
    ] {
        visitor.send(request(method, target, ""));
        let answer = visitor.answer();
        assert_eq!(answer.status, 404, "{method} {target}");
        assert!(!answer.is_last(), "{method} {target}");
    }
}

#[test]
fn target_that_begins_with_an_escape_is_not_found() {
    // It has none of the forms that a target may have (RFC 9112, section 3.2).
    let moss = site(&[("index.html", "start"), ("a.txt", "a")]).start();
    for target in ["%2f", "%2fa.txt", "%2Fhealth"] {
        assert_eq!(ask(&moss, get(target)).status, 404, "{target}");
    }
}

#[test]
fn nothing_is_normalised() {
    let moss = site(&[("index.html", "start"), ("a/b.txt", "b"), ("c.txt", "c")]).start();
    let mut visitor = Visitor::of(&moss);
    for target in [
        "//c.txt",
        "//",
        "/a//b.txt",
        "/./c.txt",
        "/a/../c.txt",
        "/a/./b.txt",
        "/a/..",
        "/.",
        "/..",
        "/a\\b.txt",
        "\\c.txt",
        "/c.txt/",
        "/c.txt/.",
        "/c.txt%00",
        "/c.txt%20",
        "/c.txt;x",
        "/c.txt.",
        "/%2fc.txt",
        "/c%00.txt",
        "/a%5cb.txt",
    ] {
        assert_eq!(visitor.get(target).status, 404, "{target}");
    }
    assert_eq!(visitor.get("/c.txt").body, b"c");
}

#[test]
fn health_wins_over_a_page() {
    let moss = site(&[("index.html", "start"), ("health", "mine")]).start();
    let mut visitor = Visitor::of(&moss);
    for target in ["/health", "/health?x", "/%68ealth", "http://box/health"] {
        let answer = visitor.get(target);
        assert_eq!(answer.status, 200, "{target}");
        assert_eq!(answer.header("Content-Type"), Some("application/json"), "{target}");
        assert!(!answer.is_last());
        let health: serde_json::Value = serde_json::from_slice(&answer.body).expect("JSON");
        assert_eq!(health["connections"], 0, "page connections do not count");
    }
    assert_eq!(visitor.get("/health/").status, 404);
}

#[test]
fn other_methods_are_not_allowed_where_there_is_a_page() {
    let moss = site(&[("index.html", "start"), ("a.txt", "a")]).start();
    let mut visitor = Visitor::of(&moss);
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "BREW", "get", "Head"] {
        for target in ["/", "/index.html", "/a.txt", "/a.txt?x", "/health"] {
            visitor.send(request(method, target, ""));
            let answer = visitor.answer();
            assert_eq!(answer.status, 405, "{method} {target}");
            assert_eq!(answer.header("Allow"), Some("GET, HEAD"), "{method} {target}");
            assert!(!answer.is_last(), "{method} {target}");
        }
        for target in ["/none", "/none/", "/a.txt/"] {
            visitor.send(request(method, target, ""));
            assert_eq!(visitor.answer().status, 404, "{method} {target}");
        }
    }
}
