//! Range requests: without them iOS plays no sound or video, and downloads can't be resumed.

use crate::site::{assert_same, content, site};
use crate::support::Moss;
use crate::visitor::{Answer, Visitor, ask, get, request};

const LEN: usize = 1_000;

fn start() -> (Moss, Vec<u8>) {
    let page = content(7, LEN);
    (site(&[("page", &page[..]), ("empty", b"")]).start(), page)
}

fn get_range(visitor: &mut Visitor, range: &str) -> Answer {
    visitor.get_with("/page", &format!("Range: {range}\r\n"))
}

#[track_caller]
fn expect_whole(answer: &Answer, page: &[u8], what: &str) {
    assert_eq!(answer.status, 200, "{what}");
    assert_eq!(answer.header("Content-Range"), None, "{what}");
    assert_same(&answer.body, page, what);
}

#[test]
fn only_the_range_is_sent() {
    let (moss, page) = start();
    let whole = ask(&moss, get("/page"));
    let mut visitor = Visitor::of(&moss);
    for (range, first, last) in [
        ("bytes=0-0", 0, 0),
        ("bytes=0-499", 0, 499),
        ("bytes=500-999", 500, 999),
        ("bytes=999-999", 999, 999),
        ("bytes=0-", 0, 999),
        ("bytes=990-", 990, 999),
        ("bytes=-1", 999, 999),
        ("bytes=-400", 600, 999),
        ("bytes=-1000", 0, 999),
        ("bytes=007-0008", 7, 8),
        // A range may end after the page's end: a client need not know the length.
        ("bytes=0-1000", 0, 999),
        ("bytes=500-18446744073709551615", 500, 999),
        ("bytes=-1001", 0, 999),
        ("bytes=-18446744073709551615", 0, 999),
    ] {
        let answer = get_range(&mut visitor, range);
        assert_eq!(answer.status, 206, "{range}");
        let told = format!("bytes {first}-{last}/{LEN}");
        assert_eq!(answer.header("Content-Range"), Some(&*told), "{range}");
        assert_same(&answer.body, &page[first..=last], range);
        for name in ["ETag", "Cache-Control", "Content-Type", "X-Content-Type-Options"] {
            assert_eq!(answer.header(name), whole.header(name), "{range}");
        }
    }
}

#[test]
fn range_after_the_end_cannot_be_satisfied() {
    let (moss, page) = start();
    let mut visitor = Visitor::of(&moss);
    for range in [
        "bytes=1000-",
        "bytes=1000-1000",
        "bytes=5000-6000",
        "bytes=18446744073709551615-",
        "bytes=-0",
    ] {
        let answer = get_range(&mut visitor, range);
        assert_eq!(answer.status, 416, "{range}");
        assert_eq!(answer.header("Content-Range"), Some("bytes */1000"), "{range}");
        assert!(!answer.is_last());
    }
    assert_same(&visitor.get("/page").body, &page, "the whole page afterwards");
}

#[test]
fn malformed_range_is_ignored() {
    let (moss, page) = start();
    let mut visitor = Visitor::of(&moss);
    for range in [
        "",
        "bytes",
        "bytes=",
        "bytes=-",
        "bytes=5",
        "bytes=5-3",
        "bytes=1000-999",
        "bytes=a-b",
        "bytes=0-b",
        "bytes=0x0-0x5",
        "bytes=+0-5",
        "bytes=0-+5",
        "bytes=--5",
        "bytes=-5-",
        "bytes=1-2-3",
        "bytes=0 - 5",
        "bytes = 0-5",
        "bytes 0-5",
        "bytes:0-5",
        "bytes=0-5;",
        "bytes=1.5-2",
        "items=0-5",
        "seconds=1-2",
        "none",
        "0-5",
        "=0-5",
        "bytes=0-0,2-2",
        "bytes=0-0, -1",
        "bytes=0-5,bytes=7-8",
        "bytes=,",
    ] {
        let answer = get_range(&mut visitor, range);
        expect_whole(&answer, &page, range);
    }
}

#[test]
fn more_than_one_range_line_is_ignored() {
    let (moss, page) = start();
    let mut visitor = Visitor::of(&moss);
    for lines in [
        "Range: bytes=0-5\r\nRange: bytes=7-8\r\n",
        "Range: bytes=0-5\r\nRange: bytes=0-5\r\n",
        "Range: bytes=0-5\r\nrange: x\r\n",
    ] {
        expect_whole(&visitor.get_with("/page", lines), &page, lines);
    }
}

#[test]
fn many_ranges_cost_no_more_than_the_page() {
    // A known attack: each range is the whole page.
    let (moss, page) = start();
    let range = format!("bytes={}0-", "0-,".repeat(1_500));
    let answer = get_range(&mut Visitor::of(&moss), &range);
    expect_whole(&answer, &page, "1,501 ranges");
}

#[test]
fn empty_page_has_no_ranges() {
    let (moss, _) = start();
    for range in ["bytes=0-", "bytes=0-0", "bytes=-1", "bytes=-0", "bytes=5-"] {
        let answer = ask(&moss, request("GET", "/empty", &format!("Range: {range}\r\n")));
        expect_whole(&answer, b"", range);
    }
}

#[test]
fn head_has_no_ranges() {
    let (moss, _) = start();
    for range in ["bytes=0-5", "bytes=1000-"] {
        let answer = ask(&moss, request("HEAD", "/page", &format!("Range: {range}\r\n")));
        assert_eq!((answer.status, answer.body_len()), (200, LEN), "{range}");
        assert_eq!(answer.header("Content-Range"), None);
    }
}

#[test]
fn range_of_a_missing_page_is_not_found() {
    let (moss, _) = start();
    assert_eq!(ask(&moss, request("GET", "/none", "Range: bytes=0-5\r\n")).status, 404);
    let health = ask(&moss, request("GET", "/health", "Range: bytes=0-5\r\n"));
    assert_eq!((health.status, health.body[0]), (200, b'{'));
}

#[test]
fn matching_tag_wins_over_a_range() {
    let (moss, page) = start();
    let mut visitor = Visitor::of(&moss);
    let tag = visitor.get("/page").tag();
    for range in ["bytes=0-5", "bytes=5000-"] {
        let lines = format!("Range: {range}\r\nIf-None-Match: {tag}\r\n");
        assert_eq!(visitor.get_with("/page", &lines).status, 304, "{range}");
    }
    let lines = "Range: bytes=0-5\r\nIf-None-Match: \"x\"\r\n";
    let answer = visitor.get_with("/page", lines);
    assert_eq!((answer.status, &answer.body[..]), (206, &page[..6]));
}

#[test]
fn if_range_allows_a_range_only_of_the_same_page() {
    let (moss, page) = start();
    let mut visitor = Visitor::of(&moss);
    let tag = visitor.get("/page").tag();
    let lines = format!("Range: bytes=10-19\r\nIf-Range: {tag}\r\n");
    let answer = visitor.get_with("/page", &lines);
    assert_eq!((answer.status, &answer.body[..]), (206, &page[10..20]));
    let lines = format!("Range: bytes=1000-\r\nIf-Range: {tag}\r\n");
    assert_eq!(visitor.get_with("/page", &lines).status, 416);
    for other in [
        format!("W/{tag}"),
        "\"x\"".to_owned(),
        "*".to_owned(),
        String::new(),
        tag.trim_matches('"').to_owned(),
        format!("{tag}, \"x\""),
        "Fri, 01 Jan 2100 00:00:00 GMT".to_owned(),
        "Thu, 01 Jan 1970 00:00:00 GMT".to_owned(),
    ] {
        for range in ["bytes=10-19", "bytes=1000-"] {
            let lines = format!("Range: {range}\r\nIf-Range: {other}\r\n");
            expect_whole(&visitor.get_with("/page", &lines), &page, &lines);
        }
    }
}

#[test]
fn if_range_without_a_range_is_ignored() {
    let (moss, page) = start();
    let mut visitor = Visitor::of(&moss);
    let tag = visitor.get("/page").tag();
    let answer = visitor.get_with("/page", &format!("If-Range: {tag}\r\n"));
    expect_whole(&answer, &page, "If-Range alone");
}

#[test]
fn ranges_of_a_large_page_add_up_to_it() {
    const PIECE: usize = 77_777;

    let page = content(8, 1 << 20);
    let moss = site(&[("large", &page)]).start();
    let mut visitor = Visitor::of(&moss);
    let mut found = Vec::new();
    while found.len() < page.len() {
        let lines = format!("Range: bytes={}-{}\r\n", found.len(), found.len() + PIECE - 1);
        let answer = visitor.get_with("/large", &lines);
        assert_eq!(answer.status, 206);
        found.extend(answer.body);
    }
    assert_same(&found, &page, "the ranges together");
}

#[test]
fn download_is_resumed_where_it_ended() {
    let page = content(9, 3 << 20);
    let moss = site(&[("large", &page)]).start();
    let mut visitor = Visitor::of(&moss);
    visitor.send(get("/large"));
    let tag = visitor.head().tag();
    let mut found = visitor.read(1 << 20);
    visitor.stream().reset_at_end();
    drop(visitor);
    let lines = format!("Range: bytes={}-\r\nIf-Range: {tag}\r\n", found.len());
    let answer = ask(&moss, request("GET", "/large", &lines));
    assert_eq!(answer.status, 206);
    found.extend(answer.body);
    assert_same(&found, &page, "both parts");
}
