//! SIGHUP: moss reads the folder again while it serves, and changes all pages at once.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::site::{
    DIRECTORY, assert_same, content, folder_of, meanwhile, reload_until, replace, site, write,
};
use crate::sockets::narrow;
use crate::support::process::Memory;
use crate::support::{Moss, PATIENCE};
use crate::visitor::{Visitor, ask, get, request};

/// The log line when the old pages stay.
const STAY: &str = "the old pages stay";

#[test]
fn sighup_takes_the_new_pages() {
    let moss = site(&[("index.html", "old"), ("gone.txt", "x"), ("same.txt", "same")]).start();
    let mut visitor = Visitor::of(&moss);
    let (old, same) = (visitor.get("/").tag(), visitor.get("/same.txt").tag());
    replace(&moss, "index.html", "new");
    fs::remove_file(folder_of(&moss).join("gone.txt")).expect("a page");
    write(&folder_of(&moss), "sub/fresh.txt", "fresh");
    assert_eq!(visitor.get("/").body, b"old", "before the signal");
    reload_until(&moss, "/", b"new");
    // Also on a connection that was already open.
    let answer = visitor.get("/");
    assert_eq!(answer.body, b"new");
    assert_ne!(answer.tag(), old);
    assert_eq!(visitor.get("/gone.txt").status, 404);
    assert_eq!(visitor.get("/sub/fresh.txt").body, b"fresh");
    assert_eq!(visitor.get("/same.txt").tag(), same);
}

#[test]
fn changed_page_has_a_new_tag_and_the_old_one_is_no_longer_valid() {
    let moss = site(&[("a.txt", "old")]).start();
    let known = format!("If-None-Match: {}\r\n", ask(&moss, get("/a.txt")).tag());
    assert_eq!(ask(&moss, request("GET", "/a.txt", &known)).status, 304);
    replace(&moss, "a.txt", "new");
    reload_until(&moss, "/a.txt", b"new");
    let answer = ask(&moss, request("GET", "/a.txt", &known));
    assert_eq!((answer.status, &answer.body[..]), (200, &b"new"[..]));
}

#[test]
fn reload_follows_a_link_to_another_folder() {
    // An atomic replacement by a new version.
    let setup = site(&[("index.html", "old"), ("gone.txt", "x")]);
    write(setup.folder(), "version-2/index.html", "new");
    symlink("pages", setup.folder().join("current")).expect("a link");
    let moss = setup.set(DIRECTORY, "current").start();
    assert_eq!(ask(&moss, get("/")).body, b"old");
    symlink("version-2", moss.folder().join("fresh")).expect("a link");
    fs::rename(moss.folder().join("fresh"), moss.folder().join("current")).expect("a link");
    reload_until(&moss, "/", b"new");
    assert_eq!(ask(&moss, get("/gone.txt")).status, 404);
}

#[test]
fn reload_leaves_the_peers_alone() {
    let moss = site(&[("index.html", "old")]).start();
    let mut master = moss.master("1");
    let (mut client, id) = moss.client_of(&mut master);
    replace(&moss, "index.html", "new");
    reload_until(&moss, "/", b"new");
    assert_eq!(client.introduce(&mut master), id);
    master.send(&format!(r#"{{"type":"x","id":"{id}"}}"#));
    client.expect(r#"{"type":"x","payload":""}"#);
}

/// A reload that must fail, for a reason that the log tells.
#[track_caller]
fn expect_the_old_pages(moss: &Moss, spoil: impl FnOnce(), repair: impl FnOnce()) {
    spoil();
    moss.signal(Signal::HUP);
    let line = moss.wait_for_log(STAY);
    assert!(line.contains("WARN") && line.contains("MOSS_PAGES_DIRECTORY: "), "{line}");
    let mut visitor = Visitor::of(moss);
    assert_eq!(visitor.get("/").body, b"old");
    assert_eq!(visitor.get("/sub/page.txt").body, b"page");
    // When the folder is valid again, the next reload succeeds.
    repair();
    replace(moss, "index.html", "new");
    reload_until(moss, "/", b"new");
    assert_eq!(moss.log().matches(STAY).count(), 1, "{}", moss.log());
}

fn start() -> Moss {
    site(&[("index.html", "old"), ("sub/page.txt", "page")]).start()
}

#[test]
fn old_pages_stay_if_the_folder_is_gone() {
    let moss = start();
    let (folder, away) = (folder_of(&moss), moss.folder().join("away"));
    expect_the_old_pages(
        &moss,
        || fs::rename(&folder, &away).expect("a folder"),
        || fs::rename(&away, &folder).expect("a folder"),
    );
}

#[test]
fn old_pages_stay_if_the_path_is_not_a_folder() {
    let moss = start();
    let (folder, away) = (folder_of(&moss), moss.folder().join("away"));
    expect_the_old_pages(
        &moss,
        || {
            fs::rename(&folder, &away).expect("a folder");
            fs::write(&folder, "x").expect("a file");
        },
        || {
            fs::remove_file(&folder).expect("a file");
            fs::rename(&away, &folder).expect("a folder");
        },
    );
}

#[test]
fn old_pages_stay_if_the_new_ones_are_too_large() {
    let moss = start();
    let image = folder_of(&moss).join("disk.img");
    expect_the_old_pages(
        &moss,
        || {
            let file = File::create(&image).expect("a file");
            file.set_len(65 << 20).expect("a sparse file");
        },
        || fs::remove_file(&image).expect("a file"),
    );
}

#[test]
fn reload_counts_what_is_left_out() {
    let moss = site(&[("index.html", "old")]).start();
    assert!(!moss.log().contains("left out"));
    write(&folder_of(&moss), ".hidden", "x");
    replace(&moss, "index.html", "new");
    reload_until(&moss, "/", b"new");
    let line = moss.wait_for_log("left out");
    assert!(line.split(|c: char| !c.is_ascii_digit()).any(|word| word == "1"), "{line}");
}

#[test]
fn download_goes_on_with_the_old_bytes() {
    let (old, new) = (content(1, 8 << 20), content(2, 8 << 20));
    let moss = site(&[("large", &old)]).start();
    let mut visitor = Visitor::on(narrow(moss.address()));
    // Also one that was requested before, but whose answer begins later.
    visitor.send([get("/large"), get("/large")].concat());
    let head = visitor.head();
    let mut found = visitor.read(10_000);
    replace(&moss, "large", &new);
    reload_until(&moss, "/large", &new);
    found.extend(visitor.read(head.body_len() - 10_000));
    assert_same(&found, &old, "the old page");
    let answer = visitor.answer();
    assert_ne!(answer.tag(), head.tag());
    assert_same(&answer.body, &new, "the new page");
}

#[test]
fn download_of_a_page_that_is_gone_goes_on() {
    let old = content(1, 8 << 20);
    let moss = site(&[("large", &old[..]), ("index.html", b"old")]).start();
    let mut visitor = Visitor::on(narrow(moss.address()));
    visitor.send(get("/large"));
    visitor.head();
    fs::remove_file(folder_of(&moss).join("large")).expect("a page");
    replace(&moss, "index.html", "new");
    reload_until(&moss, "/", b"new");
    assert_same(&visitor.read(old.len()), &old, "the removed page");
    assert_eq!(visitor.get("/large").status, 404);
}

#[test]
fn downloads_of_old_pages_do_not_add_up() {
    const LEN: usize = 4 << 20;
    /// The pages, the previous ones, and those that are being read. A dozen versions would be
    /// twice as much.
    const GROWTH: usize = 6 * LEN;

    let moss = site(&[("large", content(0, LEN))]).start();
    let memory = Memory::watch(&moss);
    let mut visitors = Vec::new();
    for round in 1..=12 {
        let mut visitor = Visitor::on(narrow(moss.address()));
        visitor.send(get("/large"));
        visitor.head();
        visitors.push(visitor);
        let page = content(round, LEN);
        replace(&moss, "large", &page);
        reload_until(&moss, "/large", &page);
    }
    memory.assert_peak_below(GROWTH);
}

#[test]
#[ignore = "waits for more than a minute, which is how long downloads of old pages live"]
fn download_of_an_old_page_ends_after_a_minute() {
    let moss = site(&[("large", content(1, 8 << 20))]).start();
    let mut visitor = Visitor::on(narrow(moss.address()));
    visitor.send(get("/large"));
    let head = visitor.head();
    replace(&moss, "large", "new");
    reload_until(&moss, "/large", b"new");
    // It makes progress all the time.
    let mut found = 0;
    for _ in 0..65 {
        thread::sleep(Duration::from_secs(1));
        found += visitor.read(10_000).len();
    }
    found += visitor.rest().len();
    assert!(found < head.body_len(), "{found} bytes came");
}

#[test]
fn pages_become_new_all_at_once() {
    // Much data between the two, so that reading takes a while.
    let filler = content(1, 24 << 20);
    let old = [("a.txt", &b"old"[..]), ("m.bin", &filler), ("z.txt", b"old")];
    let moss = site(&old).start();
    replace(&moss, "a.txt", "new");
    replace(&moss, "z.txt", "new");
    moss.signal(Signal::HUP);
    let (first, second) = (get("/a.txt"), get("/z.txt"));
    let start = Instant::now();
    let mut visitor = Visitor::of(&moss);
    for round in 0.. {
        assert!(start.elapsed() < PATIENCE, "the new pages do not come");
        // Of two answers the first may be old and the second new, but not the reverse.
        let requests = if round % 2 == 0 { [&first, &second] } else { [&second, &first] };
        visitor.send(requests.map(String::as_str).concat());
        let (one, other) = (visitor.answer(), visitor.answer());
        assert!(!(one.body == b"new" && other.body == b"old"), "round {round}");
        if one.body == b"new" {
            break;
        }
        if other.is_last() {
            visitor = Visitor::of(&moss);
        }
    }
    assert_same(&ask(&moss, get("/m.bin")).body, &filler, "the filler");
}

/// Bytes that moss has read so far, of files and sockets.
fn bytes_read(moss: &Moss) -> usize {
    let io = fs::read_to_string(format!("/proc/{}/io", moss.pid())).expect("a process");
    let count = io.lines().find_map(|line| line.strip_prefix("rchar: ")).expect("a field");
    count.parse().expect("a number")
}

#[test]
fn sighup_while_the_folder_is_read_starts_over() {
    const PAGES: u64 = 12;
    const LEN: usize = 4 << 20;

    let moss = site::<&str>(&[]).start();
    let folder = folder_of(&moss);
    // Small pages among large ones, as moss reads them in any order.
    let put = |text: &str| {
        for page in 0..PAGES {
            replace(&moss, &format!("{page}.txt"), text);
        }
        moss.signal(Signal::HUP);
    };
    for page in 0..PAGES {
        write(&folder, format!("{page}.txt"), "");
        write(&folder, format!("{page}.bin"), content(page, LEN));
    }
    for round in 0..5 {
        let before = bytes_read(&moss);
        put(&format!("{round}, too early"));
        let start = Instant::now();
        while bytes_read(&moss) < before + PAGES as usize / 2 * LEN {
            assert!(start.elapsed() < PATIENCE, "nothing is read");
        }
        // Now some of the small ones have been read, and some have not.
        let text = format!("{round}, in time");
        put(&text);
        // No further signal is needed.
        for page in 0..PAGES {
            while ask(&moss, get(&format!("/{page}.txt"))).body != text.as_bytes() {
                assert!(start.elapsed() < PATIENCE, "{page}.txt does not come");
            }
        }
    }
    assert_same(&ask(&moss, get("/7.bin")).body, &content(7, LEN), "a large page");
    assert!(!moss.log().contains(STAY), "{}", moss.log());
}

/// How many packets and pages arrive while the folder is read again.
fn rounds_of_a_reload(moss: &Moss, round_trip: &mut impl FnMut(), fresh: &str) -> usize {
    replace(moss, "a.txt", fresh);
    let mut visitor = Visitor::of(moss);
    moss.signal(Signal::HUP);
    let start = Instant::now();
    for rounds in 0.. {
        assert!(start.elapsed() < PATIENCE, "the new pages do not come");
        round_trip();
        let answer = visitor.get("/a.txt");
        if answer.body == fresh.as_bytes() {
            return rounds;
        }
        if answer.is_last() {
            visitor = Visitor::of(moss);
        }
    }
    unreachable!("a count without an end");
}

#[test]
fn packets_pass_while_the_folder_is_read() {
    let moss = site(&[("m.bin", &content(1, 48 << 20)[..]), ("a.txt", b"old")]).start();
    let mut master = moss.master("1");
    let (mut client, id) = moss.client_of(&mut master);
    let mut round_trip = || assert_eq!(client.introduce(&mut master), id);
    // moss reads a mebibyte a turn, so there are 48 turns. On a busy machine this test gets only
    // some of them.
    let mut most = 0;
    for attempt in 0..20 {
        most = most.max(rounds_of_a_reload(&moss, &mut round_trip, &attempt.to_string()));
        if most >= 5 {
            return;
        }
    }
    panic!("{most} packets and pages at most came while the folder was read");
}

#[test]
fn folder_may_change_while_it_is_read() {
    let stable = content(1, 2 << 20);
    let moss =
        site(&[("stable", &stable[..]), ("a/x.txt", b"x"), ("index.html", b"start")]).start();
    let folder = folder_of(&moss);
    let changing = folder.join("changing");
    // A file that grows, is truncated, is removed, becomes a folder, is moved, becomes a link.
    let change = |round: usize| {
        let _ = fs::write(&changing, vec![b'c'; round * 7_919 % 3_000_000]);
        let _ = File::options().write(true).open(&changing).map(|file| file.set_len(5));
        let _ = fs::remove_file(&changing);
        let _ = fs::create_dir(&changing);
        let _ = fs::write(changing.join("x"), "x");
        let _ = fs::rename(&changing, folder.join("a/changed"));
        let _ = fs::remove_dir_all(folder.join("a/changed"));
        let _ = symlink("stable", &changing);
        let _ = fs::remove_file(&changing);
    };
    let mut guest = moss.guest();
    meanwhile(change, || {
        for _ in 0..40 {
            moss.signal(Signal::HUP);
            guest.expect_nothing();
            let answer = ask(&moss, get("/stable"));
            assert_same(&answer.body, &stable, "the page that does not change");
        }
    });
    replace(&moss, "index.html", "new");
    reload_until(&moss, "/", b"new");
    assert_eq!(ask(&moss, get("/a/x.txt")).body, b"x");
    assert_same(&ask(&moss, get("/stable")).body, &stable, "the page that does not change");
}

#[test]
fn many_reloads_leave_no_memory_behind() {
    /// The pages that are being read, and fragmentation. Ten reloads that leak would take
    /// 80 MiB.
    const GROWTH: usize = 32 << 20;

    let moss = site(&[("large", content(1, 8 << 20)), ("a.txt", b"0".to_vec())]).start();
    let memory = Memory::watch(&moss);
    for round in 1..=10 {
        replace(&moss, "a.txt", round.to_string());
        reload_until(&moss, "/a.txt", round.to_string().as_bytes());
    }
    memory.assert_peak_below(GROWTH);
}

#[test]
fn sighup_without_pages_changes_nothing() {
    let moss = Moss::start();
    let mut guest = moss.guest();
    moss.signal(Signal::HUP);
    guest.expect_nothing();
    moss.guest().expect_nothing();
}
