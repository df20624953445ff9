//! The relay without sockets: what it delivers to whom, in which order, and what it forgets.
//! Connections are numbers; 1 and 2 are mostly masters.

use moss::protocol::packet::Outgoing;
use moss::protocol::relay::{Delivery, Expulsion, Relay, Role};
use moss::settings::config::{Config, Types};

const LOGIN: &str = r#"{"type":"login"}"#;
const OFFER_A: &str = r#"{"type":"set-master","payload":{"secret":"right","sdp":"A"}}"#;
const OFFER_B: &str = r#"{"type":"set-master","payload":{"secret":"right","sdp":"B"}}"#;
const WRONG: &str = r#"{"type":"set-master","payload":{"secret":"Right","sdp":"A"}}"#;
const CONFIRMATION: &str = r#"master 1: {"type":"master-confirmation","payload":""}"#;

/// A relay, and its deliveries as lines: how, to whom, what.
struct Core {
    relay: Relay,
    /// The master, according to the deliveries so far.
    master: Option<u64>,
}

impl Core {
    /// A relay without optional packets.
    fn new() -> Self {
        Self::with(|_| {})
    }

    /// A relay with all optional packets.
    fn with_notices() -> Self {
        Self::with(|types| {
            types.client_joined = Some("joined".to_owned());
            types.client_left = Some("left".to_owned());
            types.master_left = Some("master-left".to_owned());
            types.kick = Some("kick".to_owned());
        })
    }

    fn with(change: impl FnOnce(&mut Types)) -> Self {
        let mut config = Config::new("right", "offer");
        change(&mut config.types);
        Self { relay: Relay::new(&config), master: None }
    }

    /// Logs these connections in.
    fn clients(mut self, ids: impl IntoIterator<Item = u64>) -> Self {
        for id in ids {
            self.handle(id, LOGIN);
        }
        self
    }

    /// Makes 1 the master, with offer A.
    fn master(mut self) -> Self {
        assert!(self.handle(1, OFFER_A).iter().any(|line| line == CONFIRMATION));
        self
    }

    /// Handles a packet and then delivers all that is owed.
    fn handle(&mut self, sender: u64, text: &str) -> Vec<String> {
        let mut lines = self.handle_alone(sender, text);
        lines.extend(self.announce(usize::MAX));
        lines
    }

    fn handle_alone(&mut self, sender: u64, text: &str) -> Vec<String> {
        let (relay, master) = (&mut self.relay, &mut self.master);
        let mut lines = Vec::new();
        relay.handle(sender, text, &mut |delivery| lines.extend(line(delivery, master)));
        lines
    }

    fn announce(&mut self, most: usize) -> Vec<String> {
        let (relay, master) = (&mut self.relay, &mut self.master);
        let mut lines = Vec::new();
        relay.announce(most, &mut |delivery| lines.extend(line(delivery, master)));
        lines
    }

    fn leave(&mut self, id: u64) -> Vec<String> {
        let (relay, master) = (&mut self.relay, &mut self.master);
        let mut lines = Vec::new();
        relay.leave(id, &mut |delivery| lines.extend(line(delivery, master)));
        lines.extend(self.announce(usize::MAX));
        lines
    }

    /// Handles a packet that must be answered by an error: its receiver and its code.
    fn error(&mut self, sender: u64, text: &str) -> (u64, String) {
        let lines = self.handle(sender, text);
        let [line] = &lines[..] else { panic!("not one answer: {lines:?}") };
        let (to, json) = line.split_once(": ").expect("a line");
        let packet: serde_json::Value = serde_json::from_str(json).expect("JSON");
        assert_eq!(packet["type"], "moss-error");
        let to = to.rsplit(' ').next().and_then(|id| id.parse().ok()).expect("an id");
        (to, packet["payload"]["code"].as_str().expect("a code").to_owned())
    }
}

/// A delivery as a line. Earlier deliveries tell who is master.
fn line(delivery: Delivery<'_>, master: &mut Option<u64>) -> Option<String> {
    let written = |packet: Outgoing<'_>| {
        let mut text = Vec::new();
        packet.write(&mut text);
        String::from_utf8(text).expect("packets are text")
    };
    Some(match delivery {
        Delivery::Role { id, role } => {
            if role == Role::Master {
                *master = Some(id);
            }
            return None;
        }
        Delivery::Packet { to, packet } if *master == Some(to) => {
            format!("master {to}: {}", written(packet))
        }
        Delivery::Packet { to, packet } => format!("peer {to}: {}", written(packet)),
        Delivery::Broadcast { to, packet } => format!("all {to}: {}", written(packet)),
        Delivery::WrongSecret { .. } => return None,
        Delivery::Close { id, why } => match why {
            Expulsion::Kicked(reason) => format!("close {id}: {reason}"),
            Expulsion::WrongSecrets => format!("close {id}: too many wrong secrets"),
            Expulsion::NoPlace => format!("close {id}: no place"),
        },
    })
}

fn sorted(mut lines: Vec<String>) -> Vec<String> {
    lines.sort();
    lines
}

const NOTHING: [&str; 0] = [];

#[test]
fn first_master_is_confirmed_and_has_its_offer_sent_to_all() {
    let mut core = Core::new().clients([8, 7]);
    assert_eq!(
        core.handle(1, OFFER_A),
        [
            CONFIRMATION,
            r#"all 7: {"type":"offer","payload":"A"}"#,
            r#"all 8: {"type":"offer","payload":"A"}"#
        ]
    );
}

#[test]
fn offers_are_sent_a_few_at_a_time() {
    let mut core = Core::new().clients(7..17);
    assert_eq!(core.handle_alone(1, OFFER_A), [CONFIRMATION]);
    for told in [3, 3, 3, 1] {
        assert!(core.relay.has_announcements());
        assert_eq!(core.announce(3).len(), told);
    }
    assert!(!core.relay.has_announcements());
}

#[test]
fn client_gets_the_offer_before_anything_else_from_the_new_master() {
    const OFFER_TO_8: &str = r#"all 8: {"type":"offer","payload":"A"}"#;

    let mut core = Core::new().clients([7, 8]);
    core.handle_alone(1, OFFER_A);
    let lines = core.handle_alone(1, r#"{"type":"x","id":"8"}"#);
    assert_eq!(lines, [OFFER_TO_8, r#"peer 8: {"type":"x","payload":""}"#]);
    let lines = core.handle_alone(1, r#"{"type":"x","id":"8"}"#);
    assert_eq!(lines, [r#"peer 8: {"type":"x","payload":""}"#]);
    assert_eq!(core.announce(9), [r#"all 7: {"type":"offer","payload":"A"}"#]);
    // Also before the answer to its own packet.
    core.handle_alone(1, OFFER_A);
    let lines = core.handle_alone(8, r#"{"type":"ping"}"#);
    assert_eq!(lines, [OFFER_TO_8, r#"peer 8: {"type":"pong","payload":""}"#]);
}

#[test]
fn every_client_gets_an_offer_before_the_next_one() {
    let mut core = Core::new().clients([7]);
    core.handle_alone(1, OFFER_A);
    let lines = core.handle(2, OFFER_B);
    assert_eq!(lines[0], r#"all 7: {"type":"offer","payload":"A"}"#);
    assert_eq!(lines.last().expect("a line"), r#"all 7: {"type":"offer","payload":"B"}"#);
}

#[test]
fn departure_that_is_told_late_comes_before_the_next_offer() {
    let mut core = Core::with_notices().clients([7, 8]).master();
    core.relay.leave(1, &mut |delivery| panic!("{delivery:?}"));
    let lines = core.handle(2, OFFER_B);
    assert_eq!(lines[0], r#"all 7: {"type":"master-left","payload":""}"#);
    assert_eq!(lines.last().expect("a line"), r#"all 8: {"type":"offer","payload":"B"}"#);
}

#[test]
fn offer_comes_before_the_news_that_its_master_left() {
    let mut core = Core::with_notices().clients([7]);
    core.handle_alone(1, OFFER_A);
    assert_eq!(
        core.leave(1),
        [
            r#"all 7: {"type":"offer","payload":"A"}"#,
            r#"all 7: {"type":"master-left","payload":""}"#
        ]
    );
}

#[test]
fn client_that_left_is_told_nothing_more() {
    let mut core = Core::new().clients([7]);
    core.handle_alone(1, OFFER_A);
    assert_eq!(core.leave(7), NOTHING);
    assert!(!core.relay.has_announcements());
}

#[test]
fn takeover_is_told_to_the_old_master_then_the_new_one_then_the_clients() {
    let mut core = Core::with_notices().clients([7]).master();
    let lines = core.handle(2, OFFER_B);
    assert!(lines[0].starts_with("peer 1: ") && lines[0].contains(r#""code":"replaced""#));
    assert_eq!(
        lines[1..],
        [
            r#"master 2: {"type":"master-confirmation","payload":""}"#,
            r#"master 2: {"type":"joined","payload":{"id":"7"}}"#,
            r#"all 7: {"type":"offer","payload":"B"}"#,
        ]
    );
    assert_eq!(core.relay.master(), Some(2));
}

#[test]
fn renewed_offer_replaces_nobody_and_lists_nobody() {
    let mut core = Core::with_notices().clients([7]).master();
    assert_eq!(core.handle(1, OFFER_B), [CONFIRMATION, r#"all 7: {"type":"offer","payload":"B"}"#]);
    assert_eq!(core.handle(8, LOGIN)[0], r#"peer 8: {"type":"offer","payload":"B"}"#);
}

#[test]
fn replaced_master_is_a_guest_who_may_log_in() {
    let mut core = Core::new().master();
    core.handle(2, OFFER_B);
    assert_eq!(core.error(1, r#"{"type":"x"}"#), (1, "not-logged-in".to_owned()));
    assert_eq!(core.handle(1, LOGIN), [r#"peer 1: {"type":"offer","payload":"B"}"#]);
    assert_eq!(
        core.handle(1, r#"{"type":"x"}"#),
        [r#"master 2: {"type":"x","payload":"","id":"1"}"#]
    );
}

#[test]
fn replaced_master_that_leaves_changes_nothing() {
    let mut core = Core::with_notices().clients([7]).master();
    core.handle(2, OFFER_B);
    assert_eq!(core.leave(1), NOTHING);
    assert_eq!(core.relay.master(), Some(2));
}

#[test]
fn client_that_becomes_master_is_no_longer_a_client() {
    let mut core = Core::with_notices().clients([1, 7]);
    assert_eq!(
        core.handle(1, OFFER_A),
        [
            CONFIRMATION,
            r#"master 1: {"type":"joined","payload":{"id":"7"}}"#,
            r#"all 7: {"type":"offer","payload":"A"}"#,
        ]
    );
    assert!(!core.relay.is_client(1));
    assert_eq!(core.error(1, r#"{"type":"x","id":"1"}"#), (1, "unknown-client".to_owned()));
    assert_eq!(core.error(1, LOGIN), (1, "master-cannot-login".to_owned()));
}

#[test]
fn client_that_logs_in_before_the_master_waits_for_the_offer() {
    let mut core = Core::new();
    assert_eq!(core.handle(7, LOGIN), NOTHING);
    assert_eq!(core.error(7, r#"{"type":"x"}"#), (7, "no-master".to_owned()));
    assert_eq!(core.handle(1, OFFER_A)[1], r#"all 7: {"type":"offer","payload":"A"}"#);
}

#[test]
fn second_login_fetches_the_offer_and_is_no_second_client() {
    let mut core = Core::with_notices().master();
    let offer = r#"peer 7: {"type":"offer","payload":"A"}"#;
    let joined = r#"master 1: {"type":"joined","payload":{"id":"7"}}"#;
    assert_eq!(core.handle(7, LOGIN), [offer, joined]);
    assert_eq!(core.handle(7, LOGIN), [offer]);
    assert_eq!(core.relay.clients().len(), 1);
}

#[test]
fn offer_leaves_with_its_master_and_the_clients_stay() {
    let mut core = Core::with_notices().clients([7]).master();
    assert_eq!(core.leave(1), [r#"all 7: {"type":"master-left","payload":""}"#]);
    assert_eq!(core.handle(8, LOGIN), NOTHING);
    assert_eq!(core.error(7, r#"{"type":"x"}"#), (7, "no-master".to_owned()));
    let lines = sorted(core.handle(2, OFFER_B));
    assert_eq!(
        lines[..2],
        [r#"all 7: {"type":"offer","payload":"B"}"#, r#"all 8: {"type":"offer","payload":"B"}"#]
    );
}

#[test]
fn offer_without_sdp_is_an_empty_object() {
    let mut core = Core::new().clients([7]);
    let lines = core.handle(1, r#"{"type":"set-master","payload":{"secret":"right"}}"#);
    assert_eq!(lines[1], r#"all 7: {"type":"offer","payload":{}}"#);
}

#[test]
fn client_that_left_gets_nothing_more_and_is_reported_once() {
    let mut core = Core::with_notices().clients([7]).master();
    assert_eq!(core.leave(7), [r#"master 1: {"type":"left","payload":{"id":"7"}}"#]);
    assert_eq!(core.leave(7), NOTHING);
    assert_eq!(core.error(1, r#"{"type":"x","id":"7"}"#), (1, "unknown-client".to_owned()));
    assert_eq!(core.handle(1, OFFER_B), [CONFIRMATION]);
}

#[test]
fn guests_are_not_reported() {
    let mut core = Core::with_notices().master();
    core.handle(7, r#"{"type":"ping"}"#);
    assert_eq!(core.error(1, r#"{"type":"x","id":"7"}"#), (1, "unknown-client".to_owned()));
    assert_eq!(core.leave(7), NOTHING);
    assert_eq!(core.leave(99), NOTHING);
}

#[test]
fn packets_pass_with_the_right_ids_and_no_others() {
    let mut core = Core::new().clients([7, 8]).master();
    assert_eq!(
        core.handle(7, r#"{"id":"8","type":"\u0061","payload":[1,  2],"more":1}"#),
        [r#"master 1: {"type":"\u0061","payload":[1,  2],"id":"7"}"#]
    );
    assert_eq!(
        core.handle(1, r#"{"type":"x","payload":1e400,"id":"8"}"#),
        [r#"peer 8: {"type":"x","payload":1e400}"#]
    );
}

#[test]
fn id_in_a_clients_packet_is_ignored() {
    let mut core = Core::new().clients([7]).master();
    for id in ["5", "null", "{}", "\"1\"", "\"\\ud800\""] {
        let lines = core.handle(7, &format!(r#"{{"type":"x","id":{id}}}"#));
        assert_eq!(lines, [r#"master 1: {"type":"x","payload":"","id":"7"}"#]);
    }
}

#[test]
fn client_that_sends_a_notice_is_named_as_its_sender() {
    let mut core = Core::with_notices().clients([7]).master();
    for kind in ["joined", "left", "moss-error", "offer", "kick", "pong", "master-confirmation"] {
        let lines = core.handle(7, &format!(r#"{{"type":"{kind}","payload":{{"id":"8"}}}}"#));
        let passed = format!(r#"master 1: {{"type":"{kind}","payload":{{"id":"8"}},"id":"7"}}"#);
        assert_eq!(lines, [passed]);
    }
}

#[test]
fn master_has_to_name_a_client_as_moss_does() {
    let mut core = Core::new().clients([7]).master();
    for (id, code) in [
        ("null", "missing-id"),
        ("7", "invalid-packet"),
        ("[\"7\"]", "invalid-packet"),
        ("\"07\"", "unknown-client"),
        ("\" 7\"", "unknown-client"),
        (r#""\u0037""#, "unknown-client"),
        ("\"\"", "unknown-client"),
    ] {
        let error = core.error(1, &format!(r#"{{"type":"x","id":{id}}}"#));
        assert_eq!(error, (1, code.to_owned()), "{id}");
    }
    assert_eq!(core.error(1, r#"{"type":"x"}"#), (1, "missing-id".to_owned()));
}

#[test]
fn unknown_client_is_named_in_the_error() {
    let line = Core::new().master().handle(1, r#"{"type":"x","id":"\u0037"}"#).remove(0);
    assert!(line.contains(r#""code":"unknown-client""#), "{line}");
    assert!(line.ends_with(r#","id":"\u0037"}}"#), "{line}");
}

#[test]
fn invalid_claim_changes_nothing() {
    let mut core = Core::new().clients([7]).master();
    for payload in ["null", "\"right\"", "[{},\"right\"]", "{}", r#"{"secret":null}"#] {
        let text = format!(r#"{{"type":"set-master","payload":{payload}}}"#);
        assert_eq!(core.error(2, &text), (2, "invalid-set-master".to_owned()));
    }
    assert_eq!(core.error(2, r#"{"type":"set-master"}"#), (2, "invalid-set-master".to_owned()));
    assert_eq!(core.relay.master(), Some(1));
}

#[test]
fn fifth_wrong_secret_closes_whatever_came_between() {
    let mut core = Core::new();
    for _ in 0..4 {
        assert_eq!(core.error(1, WRONG), (1, "wrong-secret".to_owned()));
    }
    core.handle(1, OFFER_A);
    core.handle(2, WRONG);
    let lines = core.handle(1, WRONG);
    assert!(lines[0].contains(r#""code":"wrong-secret""#));
    assert_eq!(lines[1..], ["close 1: too many wrong secrets"]);
    assert_eq!(core.relay.master(), None);
}

#[test]
fn wrong_secrets_are_forgotten_with_their_connection() {
    let mut core = Core::new();
    for _ in 0..3 {
        for _ in 0..4 {
            assert_eq!(core.error(7, WRONG), (7, "wrong-secret".to_owned()));
        }
        core.leave(7);
    }
    for _ in 0..4 {
        core.handle(7, WRONG);
    }
    assert_eq!(core.handle(7, WRONG).len(), 2);
    // It was closed, and nothing is kept of it: counting starts over.
    assert_eq!(core.error(7, WRONG), (7, "wrong-secret".to_owned()));
}

#[test]
fn client_closed_for_wrong_secrets_has_left() {
    let mut core = Core::with_notices().clients([7, 8]).master();
    let guess = |core: &mut Core, id| (0..5).flat_map(|_| core.handle(id, WRONG)).skip(5).collect();
    let lines: Vec<String> = guess(&mut core, 7);
    assert_eq!(
        lines,
        ["close 7: too many wrong secrets", r#"master 1: {"type":"left","payload":{"id":"7"}}"#]
    );
    let lines: Vec<String> = guess(&mut core, 1);
    assert_eq!(
        lines,
        ["close 1: too many wrong secrets", r#"all 8: {"type":"master-left","payload":""}"#]
    );
    assert!(!core.relay.is_client(7) && core.relay.master().is_none());
}

#[test]
fn kick_closes_the_client_and_reports_it_as_left() {
    let mut core = Core::with_notices().clients([7]).master();
    assert_eq!(
        core.handle(1, r#"{"type":"kick","payload":"too l\u006fud","id":"7"}"#),
        ["close 7: too loud", r#"master 1: {"type":"left","payload":{"id":"7"}}"#]
    );
    let again = core.error(1, r#"{"type":"kick","payload":"","id":"7"}"#);
    assert_eq!(again, (1, "unknown-client".to_owned()));
}

#[test]
fn kick_needs_no_reason() {
    for payload in ["null", "5", "{}", "\"\""] {
        let mut core = Core::with_notices().clients([7]).master();
        let lines = core.handle(1, &format!(r#"{{"type":"kick","payload":{payload},"id":"7"}}"#));
        assert_eq!(lines[0], "close 7: ");
    }
}

#[test]
fn kick_without_its_setting_is_an_ordinary_packet() {
    let mut core = Core::new().clients([7]).master();
    assert_eq!(
        core.handle(1, r#"{"type":"kick","payload":"","id":"7"}"#),
        [r#"peer 7: {"type":"kick","payload":""}"#]
    );
}

#[test]
fn each_client_is_listed_once_after_the_confirmation() {
    let mut core = Core::with_notices().clients(10..20).clients(10..15);
    let lines = core.handle(1, OFFER_A);
    assert_eq!(lines[0], CONFIRMATION);
    let roster: Vec<String> = (10..20)
        .map(|id| format!(r#"master 1: {{"type":"joined","payload":{{"id":"{id}"}}}}"#))
        .collect();
    assert_eq!(sorted(lines[1..11].to_vec()), roster);
}

#[test]
fn notices_without_a_type_are_not_sent() {
    let mut core = Core::new().clients([7]).master();
    assert_eq!(core.handle(8, LOGIN), [r#"peer 8: {"type":"offer","payload":"A"}"#]);
    assert_eq!(core.leave(8), NOTHING);
    assert_eq!(core.leave(1), NOTHING);
}

#[test]
fn error_is_never_answered_by_an_error() {
    let mut core = Core::new().clients([7]);
    let error = r#"{"type":"moss-\u0065rror","payload":{},"id":"99"}"#;
    assert_eq!(core.handle(7, error), NOTHING);
    assert_eq!(core.handle(8, error), NOTHING);
    core.handle(1, OFFER_A);
    assert_eq!(core.handle(1, error), NOTHING);
    assert_eq!(core.handle(1, r#"{"type":"moss-error"}"#), NOTHING);
    // But it is passed on.
    assert_eq!(core.handle(7, r#"{"type":"moss-error"}"#).len(), 1);
}

#[test]
fn without_errors_wrong_secrets_still_count() {
    let mut core = Core::with(|types| types.error = None).clients([7]).master();
    for text in ["rubbish", r#"{"type":"x"}"#, r#"{"type":"x","id":"99"}"#, LOGIN] {
        assert_eq!(core.handle(1, text), NOTHING, "{text}");
    }
    assert_eq!(core.handle(2, OFFER_B)[1], r#"all 7: {"type":"offer","payload":"B"}"#);
    let lines: Vec<String> = (0..5).flat_map(|_| core.handle(3, WRONG)).collect();
    assert_eq!(lines, ["close 3: too many wrong secrets"]);
}

#[test]
fn configured_types_are_written_as_json() {
    let mut core = Core::with(|types| types.offer = "of\"f\ner".to_owned()).master();
    assert_eq!(core.handle(7, LOGIN), [r#"peer 7: {"type":"of\"f\ner","payload":"A"}"#]);
}

#[test]
fn guest_in_the_masters_place_may_ping_and_claim_but_not_log_in() {
    let mut core = Core::with_notices().clients([7]).master();
    core.relay.restrict(3);
    assert_eq!(core.handle(3, r#"{"type":"ping"}"#), [r#"peer 3: {"type":"pong","payload":""}"#]);
    assert_eq!(core.error(3, r#"{"type":"x"}"#), (3, "not-logged-in".to_owned()));
    assert_eq!(core.handle(3, LOGIN), ["close 3: no place"]);
    core.relay.restrict(2);
    core.handle(2, OFFER_B);
    assert_eq!(core.relay.master(), Some(2));
    // As master it keeps its place, and may log in later.
    core.handle(1, OFFER_A);
    assert_eq!(core.handle(2, LOGIN)[0], r#"peer 2: {"type":"offer","payload":"A"}"#);
}
