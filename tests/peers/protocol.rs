//! Which packets guests, clients and the master get.

use std::collections::HashSet;

use crate::support::{Client, Moss, OFFER, SECRET, Setup};

/// The packet that carries this offer.
fn offer(payload: &str) -> String {
    format!(r#"{{"type":"{OFFER}","payload":{payload}}}"#)
}

/// Sends a login.
fn log_in(client: &mut Client) {
    client.send(r#"{"type":"login"}"#);
}

#[test]
fn ping_of_anyone_is_answered() {
    let moss = Moss::start();
    let mut master = moss.master(r#""sdp""#);
    let (mut client, _) = moss.client_of(&mut master);
    let mut guest = moss.guest();
    for peer in [&mut guest, &mut client, &mut master] {
        peer.send(r#"{"type":"ping"}"#);
        peer.expect(r#"{"type":"pong","payload":""}"#);
    }
}

#[test]
fn login_before_master_gets_no_offer() {
    let moss = Moss::start();
    let mut client = moss.guest();
    log_in(&mut client);
    client.expect_nothing();
}

#[test]
fn login_with_master_gets_its_offer() {
    let moss = Moss::start();
    let _master = moss.master(r#"{"type":"offer","sdp":"v=0"}"#);
    let mut client = moss.guest();
    log_in(&mut client);
    client.expect(&offer(r#"{"type":"offer","sdp":"v=0"}"#));
    client.expect_nothing();
}

#[test]
fn second_login_fetches_the_offer_again() {
    let moss = Moss::start();
    let mut master = moss.master("1");
    let (mut client, id) = moss.client_of(&mut master);
    log_in(&mut client);
    client.expect(&offer("1"));
    assert_eq!(client.introduce(&mut master), id);
}

#[test]
fn waiting_clients_get_the_offer_when_a_master_appears() {
    let moss = Moss::start();
    let mut clients: Vec<_> = (0..5).map(|_| moss.client()).collect();
    let _master = moss.master("[1,  2]");
    for client in &mut clients {
        client.expect(&offer("[1,  2]"));
        client.expect_nothing();
    }
}

#[test]
fn guest_gets_no_offer() {
    let moss = Moss::start();
    let mut guest = moss.guest();
    let _master = moss.master("1");
    guest.expect_nothing();
}

#[test]
fn configured_type_carries_the_offer() {
    let moss = Moss::with(&[("MOSS_CONNECTION_OFFER_TYPE", "an \"offer\" é")]);
    let _master = moss.master("1");
    let mut client = moss.guest();
    log_in(&mut client);
    let packet = client.json();
    assert_eq!(packet["type"], "an \"offer\" é");
    assert_eq!(packet["payload"], 1);
}

#[test]
fn offer_without_sdp_is_an_empty_object() {
    let moss = Moss::start();
    let mut client = moss.client();
    let mut master = moss.guest();
    master.send(&format!(
        r#"{{"type":"set-master","payload":{{"x":[],"secret":"{SECRET}","y":1}}}}"#
    ));
    master.expect(r#"{"type":"master-confirmation","payload":""}"#);
    client.expect(&offer("{}"));
}

#[test]
fn id_in_set_master_is_ignored() {
    let moss = Moss::start();
    let mut master = moss.guest();
    master.send(&format!(
        r#"{{"id":{{}},"type":"set-master","payload":{{"secret":"{SECRET}","sdp":1}}}}"#
    ));
    master.expect(r#"{"type":"master-confirmation","payload":""}"#);
}

#[test]
fn secret_with_escapes_is_compared_as_text() {
    let moss = Setup::new().set("MOSS_CONNECTION_SECRET", "\"quoted\" \\ and é").start();
    let mut master = moss.guest();
    master.send(
        r#"{"type":"set-master","payload":{"secret":"\"\u0071uoted\" \\ and \u00e9","sdp":1}}"#,
    );
    master.expect(r#"{"type":"master-confirmation","payload":""}"#);
}

#[test]
fn master_renews_its_offer() {
    let moss = Moss::start();
    let mut master = moss.master("1");
    let (mut client, id) = moss.client_of(&mut master);
    master.set_master("2");
    client.expect(&offer("2"));
    assert_eq!(client.introduce(&mut master), id);
    let mut later = moss.guest();
    log_in(&mut later);
    later.expect(&offer("2"));
    // No `replaced`: it replaced only itself.
    master.expect_nothing();
}

#[test]
fn client_that_becomes_master_is_no_longer_a_client() {
    let moss = Moss::start();
    let mut first = moss.master("1");
    let (mut second, id) = moss.client_of(&mut first);
    // It does not get its own offer: the confirmation is the next packet.
    second.set_master("2");
    second.send(&format!(r#"{{"type":"x","id":"{id}"}}"#));
    second.expect_error("unknown-client");
}

#[test]
fn packet_of_a_client_goes_to_the_master_with_its_id() {
    let moss = Moss::start();
    let mut master = moss.master("1");
    let (mut client, id) = moss.client_of(&mut master);
    client.send(r#"{"type":"answer","payload":{"a":1}}"#);
    master.expect(&format!(r#"{{"type":"answer","payload":{{"a":1}},"id":"{id}"}}"#));
    client.expect_nothing();
}

#[test]
fn packet_of_a_client_reaches_no_other_peer() {
    let moss = Moss::start();
    let mut master = moss.master("1");
    let (mut client, _) = moss.client_of(&mut master);
    let (mut other, _) = moss.client_of(&mut master);
    let mut guest = moss.guest();
    client.introduce(&mut master);
    other.expect_nothing();
    guest.expect_nothing();
}

#[test]
fn packet_of_the_master_goes_without_id_to_the_client_it_names() {
    let moss = Moss::start();
    let mut master = moss.master("1");
    let (mut client, id) = moss.client_of(&mut master);
    let (mut other, _) = moss.client_of(&mut master);
    master.send(&format!(r#"{{"type":"ice","payload":["a", null],"id":"{id}"}}"#));
    client.expect(r#"{"type":"ice","payload":["a", null]}"#);
    master.expect_nothing();
    other.expect_nothing();
}

#[test]
fn client_cannot_pose_as_another() {
    let moss = Moss::start();
    let mut master = moss.master("1");
    let (_victim, victims) = moss.client_of(&mut master);
    let (mut client, id) = moss.client_of(&mut master);
    for forged in [&format!("\"{victims}\""), "\"1\"", "5", "null", "{\"a\":[]}", "\"\""] {
        client.send(&format!(r#"{{"id":{forged},"type":"x","payload":1}}"#));
        master.expect(&format!(r#"{{"type":"x","payload":1,"id":"{id}"}}"#));
    }
}

#[test]
fn client_cannot_pose_as_moss() {
    let moss = Moss::with(&[
        ("MOSS_CLIENT_JOINED_TYPE", "joined"),
        ("MOSS_CLIENT_LEFT_TYPE", "left"),
        ("MOSS_MASTER_LEFT_TYPE", "master-left"),
        ("MOSS_KICK_TYPE", "kick"),
    ]);
    let mut client = moss.client();
    let mut master = moss.master("1");
    client.expect(&offer("1"));
    let joined = master.json();
    let id = joined["payload"]["id"].as_str().expect("an id");
    for kind in [
        "pong",
        "master-confirmation",
        OFFER,
        "moss-error",
        "joined",
        "left",
        "master-left",
        "kick",
    ] {
        client.send(&format!(r#"{{"type":"{kind}","payload":{{"id":"1"}}}}"#));
        master.expect(&format!(r#"{{"type":"{kind}","payload":{{"id":"1"}},"id":"{id}"}}"#));
    }
    client.expect_nothing();
}

#[test]
fn id_is_a_number_in_decimal() {
    let moss = Moss::start();
    let mut master = moss.master("1");
    let (_client, id) = moss.client_of(&mut master);
    assert_eq!(id.parse::<u64>().expect("a number").to_string(), id);
}

#[test]
fn id_is_kept_through_login_and_takeover() {
    let moss = Moss::start();
    let mut master = moss.master("1");
    let (mut client, id) = moss.client_of(&mut master);
    log_in(&mut client);
    client.expect(&offer("1"));
    let mut new = moss.master("2");
    client.expect(&offer("2"));
    assert_eq!(client.introduce(&mut new), id);
}

#[test]
fn id_is_never_given_twice() {
    let moss = Moss::start();
    let mut master = moss.master("1");
    let mut ids = HashSet::new();
    for _ in 0..200 {
        let (client, id) = moss.client_of(&mut master);
        client.close();
        assert!(ids.insert(id), "{ids:?}");
    }
}

#[test]
fn id_is_not_given_again_by_the_next_start() {
    let ids = || -> HashSet<String> {
        let moss = Moss::start();
        let mut master = moss.master("1");
        (0..20).map(|_| moss.client_of(&mut master).1).collect()
    };
    let (before, after) = (ids(), ids());
    assert_eq!((before.len(), after.len()), (20, 20));
    assert!(before.is_disjoint(&after), "{before:?} {after:?}");
}

#[test]
fn answer_that_comes_too_late_reaches_nobody() {
    let moss = Moss::start();
    let mut master = moss.master("1");
    let (client, id) = moss.client_of(&mut master);
    client.close();
    // The next connection may get the same slot in moss's table.
    let (mut next, _) = moss.client_of(&mut master);
    master.send(&format!(r#"{{"type":"x","id":"{id}"}}"#));
    master.expect_error("unknown-client");
    next.expect_nothing();
}

#[test]
fn last_master_with_the_right_secret_wins() {
    let moss = Moss::start();
    let mut old = moss.master("1");
    let (mut client, _) = moss.client_of(&mut old);
    let mut new = moss.master("2");
    client.expect(&offer("2"));
    client.introduce(&mut new);
    old.expect_error("replaced");
    old.expect_nothing();
}

#[test]
fn replaced_master_is_a_guest() {
    let moss = Moss::start();
    let mut old = moss.master("1");
    let (mut client, id) = moss.client_of(&mut old);
    let _new = moss.master("2");
    client.expect(&offer("2"));
    old.expect_error("replaced");
    old.send(&format!(r#"{{"type":"x","id":"{id}"}}"#));
    old.expect_error("not-logged-in");
    client.expect_nothing();
}

#[test]
fn replaced_master_may_log_in() {
    let moss = Moss::start();
    let mut old = moss.master("1");
    let mut new = moss.master("2");
    old.expect_error("replaced");
    log_in(&mut old);
    old.expect(&offer("2"));
    old.introduce(&mut new);
}

#[test]
fn replaced_master_may_take_over_again() {
    let moss = Moss::start();
    let mut old = moss.master("1");
    let mut new = moss.master("2");
    old.expect_error("replaced");
    old.set_master("3");
    new.expect_error("replaced");
    let (_client, _) = moss.client_of(&mut old);
}

#[test]
fn replaced_master_that_leaves_changes_nothing() {
    let moss = Moss::start();
    let old = moss.master("1");
    let mut new = moss.master("2");
    old.close();
    let mut client = moss.guest();
    log_in(&mut client);
    client.expect(&offer("2"));
    client.introduce(&mut new);
}

#[test]
fn packets_queued_for_the_old_master_are_not_sent_to_the_new_one() {
    let moss = Moss::start();
    let mut old = moss.master("1");
    let (mut client, id) = moss.client_of(&mut old);
    for number in 0..100 {
        client.send(&format!(r#"{{"type":"x","payload":{number}}}"#));
    }
    client.expect_nothing();
    let mut new = moss.master("2");
    new.expect_nothing();
    for number in 0..100 {
        old.expect(&format!(r#"{{"type":"x","payload":{number},"id":"{id}"}}"#));
    }
    old.expect_error("replaced");
}

#[test]
fn no_stale_offer_after_the_master_has_closed() {
    let moss = Moss::start();
    moss.master("1").close();
    let mut client = moss.guest();
    log_in(&mut client);
    client.expect_nothing();
}

#[test]
fn no_stale_offer_after_the_master_has_hung_up() {
    let moss = Moss::start();
    moss.master("1").hang_up();
    let mut client = moss.guest();
    log_in(&mut client);
    client.expect_nothing();
}

#[test]
fn clients_keep_their_ids_when_the_master_restarts() {
    let moss = Moss::start();
    let mut master = moss.master("1");
    let mut clients: Vec<_> = (0..5).map(|_| moss.client_of(&mut master)).collect();
    master.close();
    let mut master = moss.master("2");
    for (client, id) in &mut clients {
        client.expect(&offer("2"));
        assert_eq!(client.introduce(&mut master), *id);
        master.send(&format!(r#"{{"type":"x","payload":1,"id":"{id}"}}"#));
        client.expect(r#"{"type":"x","payload":1}"#);
    }
}

#[test]
fn packet_sent_before_the_master_came_is_not_kept_for_it() {
    let moss = Moss::start();
    let mut client = moss.client();
    client.send(r#"{"type":"x"}"#);
    client.expect_error("no-master");
    let mut master = moss.master("1");
    master.expect_nothing();
}

const MANY: usize = 10_000;

/// Different lengths, so that packets cross the boundaries of all buffers.
fn numbered(number: usize) -> String {
    format!(r#"{{"n":{number},  "fill":"{}"}}"#, "é".repeat(number % 300))
}

#[test]
fn packets_to_the_master_keep_their_order() {
    let moss = Moss::start();
    let mut master = moss.master("1");
    let (client, id) = moss.client_of(&mut master);
    let mut sender = client.second_sender();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for number in 0..MANY {
                sender.send(&format!(r#"{{"type":"x","payload":{}}}"#, numbered(number)));
            }
        });
        for number in 0..MANY {
            master.expect(&format!(r#"{{"type":"x","payload":{},"id":"{id}"}}"#, numbered(number)));
        }
    });
    master.expect_nothing();
}

#[test]
fn packets_to_a_client_keep_their_order() {
    // A backlog that holds all packets, as the master does not wait for the client.
    let moss = Moss::with(&[("MOSS_MAX_BACKLOG_BYTES", "16777216")]);
    let mut master = moss.master("1");
    let (mut client, id) = moss.client_of(&mut master);
    let mut sender = master.second_sender();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for number in 0..MANY {
                let payload = numbered(number);
                sender.send(&format!(r#"{{"type":"x","payload":{payload},"id":"{id}"}}"#));
            }
        });
        for number in 0..MANY {
            client.expect(&format!(r#"{{"type":"x","payload":{}}}"#, numbered(number)));
        }
    });
    client.expect_nothing();
}

#[test]
fn packets_of_many_clients_keep_each_senders_order() {
    let moss = Moss::start();
    let mut master = moss.master("1");
    let clients: Vec<_> = (0..10).map(|_| moss.client_of(&mut master)).collect();
    std::thread::scope(|scope| {
        for (client, _) in &clients {
            let mut sender = client.second_sender();
            scope.spawn(move || {
                for number in 0..MANY / 10 {
                    sender.send(&format!(r#"{{"type":"x","payload":{number}}}"#));
                }
            });
        }
        let mut next = std::collections::HashMap::new();
        for _ in 0..MANY {
            let packet = master.json();
            let id = packet["id"].as_str().expect("an id").to_owned();
            let expected = next.entry(id).or_insert(0);
            assert_eq!(packet["payload"], *expected);
            *expected += 1;
        }
    });
}
