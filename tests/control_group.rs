//! The defaults that moss derives from the memory limit of its control group. Most tests use
//! `moss check`, which computes them as a start does.

mod support;

use moss::settings::config::DESCRIPTOR_RESERVE;
use rustix::process::{Resource, getrlimit};
use support::{Cgroup, Moss, Setup};

const MIB: usize = 1 << 20;

/// The output of `moss check` in this group: settings and remarks, and then warnings.
fn check(setup: Setup, group: &Cgroup) -> (String, String) {
    let output = setup.before(&group.enter()).run(&["check"]);
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    let (stdout, stderr) = (text(output.stdout), text(output.stderr));
    assert_eq!(output.status.code(), Some(0), "{stdout}{stderr}");
    assert_eq!(group.kills(), 0);
    (stdout, stderr)
}

/// The value of a setting in the output of `moss check`.
#[track_caller]
fn number(settings: &str, name: &str) -> usize {
    let mut lines = settings.lines().filter_map(|line| line.split_once('='));
    let (_, value) = lines.find(|(is, _)| *is == name).expect("a setting");
    value.parse().expect("a number")
}

/// This number of connections, or what the limit on open files allows if that is less.
fn at_most(connections: usize) -> usize {
    let files = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    let files = usize::try_from(files).unwrap_or(usize::MAX);
    connections.min(files - DESCRIPTOR_RESERVE)
}

const MEMORY: &str = "MOSS_MAX_MEMORY_BYTES";

#[test]
fn peers_have_a_quarter_and_the_start_says_so() {
    let test = "peers_have_a_quarter_and_the_start_says_so";
    let Some(group) = Cgroup::of(test, 48 * MIB) else { return };
    let moss = Setup::new().before(&group.enter()).start();
    moss.wait_for_log(
        "peers may hold 12582912 bytes in all: \
         a quarter of the 50331648 bytes that moss's control group may take",
    );
    let connections = at_most(1536);
    moss.wait_for_log(&format!("limits: {connections} connections, 262144 bytes per packet, 1048576 of backlog per peer, 12582912 in all"));
}

#[test]
fn limit_of_an_outer_group_counts() {
    let test = "limit_of_an_outer_group_counts";
    let Some(group) = Cgroup::of(test, 32 * MIB) else { return };
    let inner = group.inner().expect("a group in a group");
    assert_eq!(number(&check(Setup::new(), &inner).0, MEMORY), 8 * MIB);
}

#[test]
fn share_has_an_upper_limit() {
    let Some(group) = Cgroup::of("share_has_an_upper_limit", 1024 * MIB) else { return };
    let (settings, _) = check(Setup::new(), &group);
    assert_eq!(number(&settings, MEMORY), 64 * MIB);
    assert_eq!(number(&settings, "MOSS_MAX_CONNECTIONS"), at_most(16_384));
    assert!(!settings.contains("a quarter of"), "{settings}");
}

#[test]
fn little_memory_lowers_the_backlog() {
    let Some(group) = Cgroup::of("little_memory_lowers_the_backlog", 8 * MIB) else { return };
    let (settings, warnings) = check(Setup::new(), &group);
    assert_eq!(number(&settings, MEMORY), 2 * MIB);
    assert_eq!(number(&settings, "MOSS_MAX_BACKLOG_BYTES"), MIB / 2);
    assert!(!warnings.contains("killed"), "{warnings}");
    // At the least memory a backlog still has room for a packet, and memory for a backlog.
    let long = Setup::new().set("MOSS_MAX_PACKET_BYTES", "4000000");
    let (settings, warnings) = check(long, &group);
    assert_eq!(number(&settings, "MOSS_MAX_BACKLOG_BYTES"), 4_065_536);
    assert_eq!(number(&settings, MEMORY), 4_065_536);
    assert!(
        warnings.contains("MOSS_MAX_BACKLOG_BYTES is over a quarter of the 8388608 bytes"),
        "{warnings}"
    );
}

#[test]
fn configured_memory_stays_and_may_be_warned_of() {
    let test = "configured_memory_stays_and_may_be_warned_of";
    let Some(group) = Cgroup::of(test, 32 * MIB) else { return };
    for (bytes, is_warned_of) in [(16 * MIB, false), (16 * MIB + 1, true), (1 << 33, true)] {
        let (settings, warnings) = check(Setup::new().set(MEMORY, bytes.to_string()), &group);
        assert_eq!(number(&settings, MEMORY), bytes);
        let part = "MOSS_MAX_MEMORY_BYTES is over half of the 33554432 bytes";
        assert_eq!(warnings.contains(part), is_warned_of, "{warnings}");
        assert!(!settings.contains("a quarter of"), "{settings}");
    }
}

#[test]
fn pages_lower_the_share_and_over_a_quarter_are_warned_of() {
    let test = "pages_lower_the_share_and_over_a_quarter_are_warned_of";
    let Some(group) = Cgroup::of(test, 32 * MIB) else { return };
    let setup = |bytes: usize| {
        let setup = Setup::new().set("MOSS_PAGES_DIRECTORY", "pages");
        std::fs::create_dir(setup.folder().join("pages")).expect("a folder");
        setup.file("pages/index.html", vec![b' '; bytes])
    };
    let complaint = "pages are over a quarter of the 33554432 bytes";
    let (settings, warnings) = check(setup(2 * MIB), &group);
    assert_eq!(number(&settings, MEMORY), 7 * MIB);
    assert!(settings.contains("may take, less pages"), "{settings}");
    assert!(!warnings.contains(complaint), "{warnings}");
    let (settings, warnings) = check(setup(9 * MIB), &group);
    assert_eq!(number(&settings, MEMORY), 14 * MIB / 4);
    assert!(warnings.contains(complaint), "{warnings}");
    // A reload warns, too.
    let setup = setup(MIB).before(&group.enter());
    let moss: Moss = setup.start();
    std::fs::write(moss.folder().join("pages/more.html"), vec![b' '; 8 * MIB]).expect("a file");
    moss.signal(rustix::process::Signal::HUP);
    moss.wait_for_log("the pages were read again");
    moss.wait_for_log(complaint);
    assert_eq!(group.kills(), 0);
}
