//! The headers of a page, and how a browser learns that its cached copy is still valid.

use crate::site::{assert_same, content, site};
use crate::support::Moss;
use crate::visitor::{Answer, Visitor, ask, get, request};

const PAGE: &str = "/a.txt";

fn start() -> Moss {
    site(&[("a.txt", &b"the page"[..]), ("other.txt", b"the eggs"), ("empty", b"")]).start()
}

fn tag_of(moss: &Moss, target: &str) -> String {
    ask(moss, get(target)).tag()
}

/// The answer to a GET with this `If-None-Match`.
fn if_none_match(visitor: &mut Visitor, target: &str, value: &str) -> Answer {
    visitor.get_with(target, &format!("If-None-Match: {value}\r\n"))
}

#[test]
fn page_is_sent_byte_for_byte() {
    for len in [0, 1, 1_000, 16_383, 16_384, 16_385, 100_000, 8 << 20] {
        let page = content(len as u64, len);
        let moss = site(&[("page", &page)]).start();
        assert_same(&ask(&moss, get("/page")).body, &page, &format!("a page of {len} bytes"));
    }
}

#[test]
fn page_has_the_headers_that_browsers_need() {
    let moss = start();
    let answer = ask(&moss, get(PAGE));
    assert_eq!(answer.header("Content-Length"), Some("8"));
    assert_eq!(answer.header("Content-Type"), Some("text/plain; charset=utf-8"));
    assert_eq!(answer.header("Cache-Control"), Some("no-cache"));
    assert_eq!(answer.header("X-Content-Type-Options"), Some("nosniff"));
    assert_eq!(answer.header("Accept-Ranges"), Some("bytes"));
    assert_eq!(answer.header("Connection"), None);
}

#[test]
fn answers_have_no_date() {
    let moss = start();
    let tag = tag_of(&moss, PAGE);
    for lines in
        ["", "Range: bytes=0-0\r\n", "Range: bytes=9-\r\n", &format!("If-None-Match: {tag}\r\n")]
    {
        let answer = ask(&moss, request("GET", PAGE, lines));
        for name in ["Date", "Last-Modified", "Expires", "Age"] {
            assert_eq!(answer.header(name), None, "{answer:?}");
        }
    }
}

#[test]
fn empty_page_is_a_page() {
    let moss = start();
    let answer = ask(&moss, get("/empty"));
    assert_eq!((answer.status, answer.header("Content-Length")), (200, Some("0")));
    answer.tag();
}

#[test]
fn tag_is_strong_and_quoted() {
    let tag = tag_of(&start(), PAGE);
    let inner = tag.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).expect("quotes");
    assert!(!inner.is_empty() && inner.bytes().all(|byte| byte.is_ascii_graphic()), "{tag}");
    assert!(!inner.contains(['"', ',']), "{tag}");
}

#[test]
fn tag_depends_only_on_the_content() {
    let moss =
        site(&[("a.txt", "the page"), ("b.html", "the page"), ("c.txt", "the eggs")]).start();
    let tag = tag_of(&moss, "/a.txt");
    assert_eq!(tag_of(&moss, "/b.html"), tag, "the same bytes");
    assert_ne!(tag_of(&moss, "/c.txt"), tag, "other bytes of the same length");
    // The tags stay the same after a restart, so that cached pages stay valid.
    drop(moss);
    assert_eq!(tag_of(&start(), "/a.txt"), tag);
}

#[test]
fn tag_depends_on_every_bit() {
    let page = content(1, 5_000);
    let mut pages = vec![page.clone()];
    for at in [0, 1, 63, 64, 2_500, 4_095, 4_096, 4_999] {
        let mut other = page.clone();
        other[at] ^= 1;
        pages.push(other);
    }
    // The same bytes in another order, and with another last byte.
    let mut swapped = page.clone();
    swapped.swap(8, 16);
    pages.extend([swapped, [&page[..], b"\0"].concat(), page[..4_999].to_vec()]);
    let names: Vec<_> = (0..pages.len()).map(|name| name.to_string()).collect();
    let files: Vec<_> = names.iter().map(String::as_str).zip(&pages).collect();
    let moss = site(&files).start();
    let mut tags: Vec<_> = names.iter().map(|name| tag_of(&moss, &format!("/{name}"))).collect();
    tags.sort();
    tags.dedup();
    assert_eq!(tags.len(), pages.len());
}

#[test]
fn cached_page_is_not_sent_again() {
    let moss = start();
    let mut visitor = Visitor::of(&moss);
    let tag = tag_of(&moss, PAGE);
    for value in [
        tag.clone(),
        format!("W/{tag}"),
        "*".to_owned(),
        format!("\"x\", {tag}"),
        format!("{tag}, \"x\""),
        format!("\"x\",W/{tag},\"y\""),
        format!("W/\"x\" , W/{tag}"),
        format!("  {tag}\t"),
    ] {
        let answer = if_none_match(&mut visitor, PAGE, &value);
        assert_eq!(answer.status, 304, "{value}");
        assert_eq!(answer.tag(), tag);
        assert_eq!(answer.header("Cache-Control"), Some("no-cache"));
        assert!(!answer.is_last());
    }
    // None of them had a body.
    assert_eq!(visitor.get(PAGE).body, b"the page");
}

#[test]
fn tags_may_be_spread_over_lines() {
    let moss = start();
    let tag = tag_of(&moss, PAGE);
    let lines = format!("If-None-Match: \"x\"\r\nIf-None-Match: {tag}\r\n");
    assert_eq!(ask(&moss, request("GET", PAGE, &lines)).status, 304);
}

#[test]
fn page_that_is_not_cached_is_sent_whole() {
    let moss = start();
    let mut visitor = Visitor::of(&moss);
    let tag = tag_of(&moss, PAGE);
    let bare = tag.trim_matches('"').to_owned();
    for value in [
        tag_of(&moss, "/other.txt"),
        "\"x\"".to_owned(),
        String::new(),
        bare.clone(),
        format!("\"{bare}"),
        format!("w/{tag}"),
        format!("\"{bare}x\""),
        format!("\"x{bare}\""),
        "\"*\"".to_owned(),
        "\"\"".to_owned(),
    ] {
        let answer = if_none_match(&mut visitor, PAGE, &value);
        assert_eq!(answer.status, 200, "{value}");
        assert_eq!(answer.body, b"the page");
    }
}

#[test]
fn if_none_match_for_a_missing_page_is_not_found() {
    let moss = start();
    assert_eq!(if_none_match(&mut Visitor::of(&moss), "/none", "*").status, 404);
}

#[test]
fn dates_are_ignored() {
    let moss = start();
    for name in ["If-Modified-Since", "If-Unmodified-Since"] {
        for date in ["Fri, 01 Jan 2100 00:00:00 GMT", "Thu, 01 Jan 1970 00:00:00 GMT"] {
            let answer = ask(&moss, request("GET", PAGE, &format!("{name}: {date}\r\n")));
            assert_eq!(answer.status, 200, "{name}: {date}");
        }
    }
}

#[test]
fn head_is_answered_as_get_without_the_body() {
    let pages = [("index.html", "start"), ("a.txt", "the page"), ("dir/index.html", "x")];
    let moss = site(&pages).start();
    let tag = tag_of(&moss, PAGE);
    let mut visitor = Visitor::of(&moss);
    for (target, lines) in [
        ("/", ""),
        (PAGE, ""),
        (PAGE, &format!("If-None-Match: {tag}\r\n")),
        ("/dir", ""),
        ("/none", ""),
        ("/health", ""),
    ] {
        let get = visitor.get_with(target, lines);
        visitor.send(request("HEAD", target, lines));
        let head = visitor.head();
        assert_eq!(head.status, get.status, "{target}");
        assert_eq!(head.headers, get.headers, "{target}");
    }
    // A body would have come before this.
    assert_eq!(visitor.get(PAGE).body, b"the page");
}

#[test]
fn head_of_a_large_page_costs_no_body() {
    let moss = site(&[("large", content(1, 8 << 20))]).start();
    let mut visitor = Visitor::of(&moss);
    for _ in 0..100 {
        visitor.send(request("HEAD", "/large", ""));
        assert_eq!(visitor.head().body_len(), 8 << 20);
    }
}
