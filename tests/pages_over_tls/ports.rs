//! The two ports of a moss with pages.

use std::io::Read;

use crate::site::{assert_same, content, site};
use crate::support::{Stream, connect_tcp};
use crate::visitor::{Visitor, get};

#[test]
fn both_ports_serve_the_same_pages() {
    let page = content(1, 1 << 20);
    let moss = site(&[("page", &page)]).start();
    let mut plain = Visitor::on(Stream::plain(connect_tcp(moss.plain_address())));
    let mut tls = Visitor::of(&moss);
    let (one, other) = (plain.get("/page"), tls.get("/page"));
    assert_same(&one.body, &page, "the page without TLS");
    assert_same(&other.body, &page, "the page through TLS");
    assert_eq!(one.headers, other.headers);
}

#[test]
fn plain_request_on_the_tls_port_is_redirected_to_the_page() {
    let moss = site(&[("index.html", "start"), ("a.txt", "a")]).start();
    for target in ["/", "/a.txt", "/none"] {
        let mut visitor = Visitor::on(Stream::plain(connect_tcp(moss.address())));
        let answer = visitor.get(target);
        assert_eq!(answer.status, 307, "{target}");
        assert_eq!(answer.header("Location"), Some(&*format!("https://box{target}")));
        assert!(answer.is_last());
        visitor.expect_end();
    }
}

#[test]
fn plain_upgrade_may_follow_a_page_beside_tls() {
    let moss = site(&[("a.txt", "a")]).start();
    let mut visitor = Visitor::on(Stream::plain(connect_tcp(moss.plain_address())));
    assert_eq!(visitor.get("/a.txt").body, b"a");
    let mut master = visitor.upgrade();
    master.set_master("1");
    moss.client_of(&mut master).0.close();
}

#[test]
fn end_of_a_page_connection_is_announced() {
    // Without close_notify the end is an error here: the answer might be cut off.
    let moss = site(&[("a.txt", "a")]).start();
    let mut visitor = Visitor::of(&moss);
    visitor.send([get("/a.txt"), get("/none")].concat());
    assert_eq!(visitor.answer().body, b"a");
    assert_eq!(visitor.answer().status, 404);
    let mut rest = Vec::new();
    visitor.stream().read_to_end(&mut rest).expect("close_notify before the end");
    assert!(rest.is_empty());
}
