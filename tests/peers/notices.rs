//! The optional packets: joined, left, master left, kick. Each exists only if its type is set.

use crate::support::{Client, Moss};

const OFFER_1: &str = r#"{"type":"connection-offer","payload":1}"#;

fn with_joined() -> Moss {
    Moss::with(&[("MOSS_CLIENT_JOINED_TYPE", "joined")])
}

fn with_left() -> Moss {
    Moss::with(&[("MOSS_CLIENT_LEFT_TYPE", "left")])
}

fn with_master_left() -> Moss {
    Moss::with(&[("MOSS_MASTER_LEFT_TYPE", "master-left")])
}

fn with_kick() -> Moss {
    Moss::with(&[("MOSS_KICK_TYPE", "kick"), ("MOSS_CLIENT_LEFT_TYPE", "left")])
}

/// The id in a notice, whose payload must have nothing else.
fn id_in(notice: &str, kind: &str) -> String {
    let id = notice
        .strip_prefix(&format!(r#"{{"type":"{kind}","payload":{{"id":""#))
        .and_then(|rest| rest.strip_suffix(r#""}}"#));
    id.unwrap_or_else(|| panic!("{notice} is not of type {kind}")).to_owned()
}

fn kick(master: &mut Client, id: &str, payload: &str) {
    master.send(&format!(r#"{{"type":"kick","payload":{payload},"id":"{id}"}}"#));
}

#[test]
fn master_hears_of_a_login_before_the_clients_packets() {
    let moss = with_joined();
    let mut master = moss.master("1");
    let mut client = moss.guest();
    client.send(r#"{"type":"login"}"#);
    client.send(r#"{"type":"x","payload":2}"#);
    let id = id_in(&master.receive(), "joined");
    master.expect(&format!(r#"{{"type":"x","payload":2,"id":"{id}"}}"#));
}

#[test]
fn second_login_is_not_reported_as_joining() {
    let moss = with_joined();
    let mut master = moss.master("1");
    let mut client = moss.guest();
    for _ in 0..3 {
        client.send(r#"{"type":"login"}"#);
        client.expect(OFFER_1);
    }
    id_in(&master.receive(), "joined");
    master.expect_nothing();
}

#[test]
fn new_master_hears_of_each_client_that_is_present() {
    let moss = with_joined();
    let mut clients: Vec<_> = (0..5).map(|_| moss.client()).collect();
    let _guest = moss.guest();
    let gone = moss.client();
    gone.close();
    // `Moss::master` checks that the confirmation comes first.
    let mut master = moss.master("1");
    let mut told: Vec<_> = (0..5).map(|_| id_in(&master.receive(), "joined")).collect();
    master.expect_nothing();
    let mut ids: Vec<_> = clients
        .iter_mut()
        .map(|client| {
            client.expect(OFFER_1);
            client.introduce(&mut master)
        })
        .collect();
    told.sort();
    ids.sort();
    assert_eq!(told, ids);
}

#[test]
fn renewed_offer_repeats_no_notices() {
    let moss = with_joined();
    let _client = moss.client();
    let mut master = moss.master("1");
    id_in(&master.receive(), "joined");
    master.set_master("2");
    master.expect_nothing();
}

#[test]
fn master_that_takes_over_hears_of_each_client() {
    let moss = with_joined();
    let _client = moss.client();
    let mut old = moss.master("1");
    let id = id_in(&old.receive(), "joined");
    let mut new = moss.master("2");
    assert_eq!(id_in(&new.receive(), "joined"), id);
    new.expect_nothing();
    old.expect_error("replaced");
}

#[test]
fn replaced_master_that_logs_in_has_joined() {
    let moss = with_joined();
    let mut old = moss.master("1");
    let mut new = moss.master("2");
    old.expect_error("replaced");
    old.send(r#"{"type":"login"}"#);
    let id = id_in(&new.receive(), "joined");
    old.expect(r#"{"type":"connection-offer","payload":2}"#);
    assert_eq!(old.introduce(&mut new), id);
}

#[test]
fn master_is_not_told_of_itself() {
    let moss = with_joined();
    let mut client = moss.client();
    client.set_master("1");
    client.expect_nothing();
}

#[test]
fn no_notices_unless_they_have_a_type() {
    let moss = Moss::start();
    let mut waiting = moss.client();
    let mut master = moss.master("1");
    let (client, _) = moss.client_of(&mut master);
    client.close();
    master.expect_nothing();
    master.close();
    waiting.expect(OFFER_1);
    waiting.expect_nothing();
}

#[test]
fn master_hears_of_each_client_that_leaves() {
    let moss = with_left();
    let mut master = moss.master("1");
    let (closes, first) = moss.client_of(&mut master);
    let (hangs_up, second) = moss.client_of(&mut master);
    closes.close();
    assert_eq!(id_in(&master.receive(), "left"), first);
    hangs_up.hang_up();
    assert_eq!(id_in(&master.receive(), "left"), second);
    let (breaks_off, third) = moss.client_of(&mut master);
    breaks_off.reset();
    assert_eq!(id_in(&master.receive(), "left"), third);
    master.expect_nothing();
}

#[test]
fn client_leaves_after_its_last_packet() {
    let moss = with_left();
    let mut master = moss.master("1");
    let (mut client, id) = moss.client_of(&mut master);
    for number in 0..100 {
        client.send(&format!(r#"{{"type":"x","payload":{number}}}"#));
    }
    client.close();
    for number in 0..100 {
        master.expect(&format!(r#"{{"type":"x","payload":{number},"id":"{id}"}}"#));
    }
    assert_eq!(id_in(&master.receive(), "left"), id);
}

#[test]
fn guest_that_leaves_is_not_reported() {
    let moss = with_left();
    let mut master = moss.master("1");
    moss.guest().close();
    moss.guest().hang_up();
    master.expect_nothing();
}

#[test]
fn client_that_becomes_master_has_not_left() {
    let moss = with_left();
    let mut old = moss.master("1");
    let (mut client, _) = moss.client_of(&mut old);
    client.set_master("2");
    old.expect_error("replaced");
    old.expect_nothing();
    client.expect_nothing();
}

#[test]
fn new_master_hears_only_of_clients_that_leave_from_now_on() {
    let moss = with_left();
    let mut clients: Vec<_> = (0..3).map(|_| moss.client()).collect();
    clients.pop().expect("a client").close();
    let mut master = moss.master("1");
    clients.pop().expect("a client").close();
    id_in(&master.receive(), "left");
    master.expect_nothing();
}

#[test]
fn every_client_is_told_that_the_master_closed() {
    let moss = with_master_left();
    let mut clients: Vec<_> = (0..5).map(|_| moss.client()).collect();
    moss.master("1").close();
    for client in &mut clients {
        client.expect(OFFER_1);
        client.expect(r#"{"type":"master-left","payload":""}"#);
        client.expect_nothing();
    }
}

#[test]
fn every_client_is_told_that_the_master_disconnected() {
    let moss = with_master_left();
    let mut client = moss.client();
    moss.master("1").hang_up();
    client.expect(OFFER_1);
    client.expect(r#"{"type":"master-left","payload":""}"#);
}

#[test]
fn every_client_is_told_that_the_master_was_reset() {
    let moss = with_master_left();
    let mut client = moss.client();
    moss.master("1").reset();
    client.expect(OFFER_1);
    client.expect(r#"{"type":"master-left","payload":""}"#);
    client.send(r#"{"type":"login"}"#);
    client.expect_nothing();
}

#[test]
fn guest_does_not_hear_that_the_master_left() {
    let moss = with_master_left();
    let mut guest = moss.guest();
    moss.master("1").close();
    guest.expect_nothing();
}

#[test]
fn takeover_is_not_reported_as_the_master_leaving() {
    let moss = with_master_left();
    let mut client = moss.client();
    let old = moss.master("1");
    let _new = moss.master("2");
    old.close();
    client.expect(OFFER_1);
    client.expect(r#"{"type":"connection-offer","payload":2}"#);
    client.expect_nothing();
}

#[test]
fn kick_closes_the_client_with_the_reason() {
    let moss = with_kick();
    let mut master = moss.master("1");
    let (mut client, id) = moss.client_of(&mut master);
    let (mut other, _) = moss.client_of(&mut master);
    kick(&mut master, &id, r#""cheating \u00e9""#);
    assert_eq!(client.expect_close(1008), "cheating é");
    other.expect_nothing();
}

#[test]
fn kicked_client_has_left() {
    let moss = with_kick();
    let mut master = moss.master("1");
    let (_client, id) = moss.client_of(&mut master);
    kick(&mut master, &id, "\"\"");
    assert_eq!(id_in(&master.receive(), "left"), id);
    kick(&mut master, &id, "\"\"");
    assert_eq!(master.expect_error("unknown-client")["id"], id);
    master.expect_nothing();
}

#[test]
fn kicked_client_first_gets_what_was_sent_before() {
    let moss = with_kick();
    let mut master = moss.master("1");
    let (mut client, id) = moss.client_of(&mut master);
    master.send(&format!(r#"{{"type":"x","payload":1,"id":"{id}"}}"#));
    kick(&mut master, &id, "\"why\"");
    client.expect(r#"{"type":"x","payload":1}"#);
    client.expect_close(1008);
}

#[test]
fn packets_of_a_kicked_client_are_not_passed_on() {
    let moss = with_kick();
    let mut master = moss.master("1");
    let (mut client, id) = moss.client_of(&mut master);
    kick(&mut master, &id, "\"\"");
    id_in(&master.receive(), "left");
    client.send(r#"{"type":"x"}"#);
    client.expect_close(1008);
    master.expect_nothing();
}

#[test]
fn reason_of_a_kick_is_cut_on_a_character_boundary() {
    let moss = with_kick();
    let mut master = moss.master("1");
    for (reason, cut) in [
        ("x".repeat(123), "x".repeat(123)),
        ("x".repeat(124), "x".repeat(123)),
        ("é".repeat(62), "é".repeat(61)),
        (format!("x{}", "é".repeat(62)), format!("x{}", "é".repeat(61))),
        ("😀".repeat(31), "😀".repeat(30)),
        ("€".repeat(10_000), "€".repeat(41)),
    ] {
        let (mut client, id) = moss.client_of(&mut master);
        kick(&mut master, &id, &format!("\"{reason}\""));
        assert_eq!(client.expect_close(1008), cut);
        id_in(&master.receive(), "left");
    }
}

#[test]
fn kick_without_a_text_is_a_kick_without_a_reason() {
    let moss = with_kick();
    let mut master = moss.master("1");
    for payload in ["\"\"", "null", "{\"why\":1}", "17"] {
        let (mut client, id) = moss.client_of(&mut master);
        kick(&mut master, &id, payload);
        client.expect_close(1008);
        id_in(&master.receive(), "left");
    }
}

#[test]
fn kick_needs_a_client() {
    let moss = with_kick();
    let mut master = moss.master("1");
    master.send(r#"{"type":"kick","payload":"why"}"#);
    master.expect_error("missing-id");
    master.send(r#"{"type":"kick","payload":"why","id":"1"}"#);
    master.expect_error("unknown-client");
}

#[test]
fn only_the_master_can_kick() {
    let moss = with_kick();
    let mut master = moss.master("1");
    let (mut victim, victims) = moss.client_of(&mut master);
    let (mut client, id) = moss.client_of(&mut master);
    kick(&mut client, &victims, "\"why\"");
    master.expect(&format!(r#"{{"type":"kick","payload":"why","id":"{id}"}}"#));
    let mut guest = moss.guest();
    kick(&mut guest, &victims, "\"why\"");
    guest.expect_error("not-logged-in");
    victim.expect_nothing();
}

#[test]
fn kick_without_its_setting_is_an_ordinary_packet() {
    let moss = Moss::start();
    let mut master = moss.master("1");
    let (mut client, id) = moss.client_of(&mut master);
    kick(&mut master, &id, "\"why\"");
    client.expect(r#"{"type":"kick","payload":"why"}"#);
    client.expect_nothing();
}
