//! `MOSS_LOGIN_SECRET`: a login without it is refused.

use crate::support::{Client, Moss, OFFER, SECRET, Setup};

const CODE: &str = "4 \u{1f511} 7";

fn moss() -> Moss {
    Moss::with(&[("MOSS_LOGIN_SECRET", CODE), ("MOSS_CLIENT_JOINED_TYPE", "client-joined")])
}

fn login(payload: &str) -> String {
    format!(r#"{{"type":"login","payload":{payload}}}"#)
}

fn right() -> String {
    login(&serde_json::json!({ "secret": CODE, "name": "anybody" }).to_string())
}

#[track_caller]
fn expect_client(moss: &Moss, payload: &str) {
    let mut client = moss.guest();
    client.send(payload);
    client.expect(&format!(r#"{{"type":"{OFFER}","payload":1}}"#));
}

#[test]
fn login_with_the_secret_is_a_login() {
    let moss = moss();
    let mut master = moss.master("1");
    expect_client(&moss, &right());
    assert_eq!(master.json()["type"], "client-joined");
    // The same secret with JSON escapes.
    expect_client(&moss, &login(r#"{"secret":"\u0034 \ud83d\udd11 7"}"#));
}

#[test]
fn login_without_the_secret_is_refused_and_counted() {
    let moss = moss();
    let mut master = moss.master("1");
    for wrong in [
        r#"{"type":"login"}"#.to_owned(),
        login("null"),
        login("\"4 \u{1f511} 7\""),
        login("[\"4 \u{1f511} 7\"]"),
        login("{}"),
        login(r#"{"secret":null}"#),
        login(r#"{"secret":""}"#),
        login("{\"secret\":\"4 \u{1f511} 7 \"}"),
        login(&format!(r#"{{"secret":"{SECRET}"}}"#)),
        login("{\"secret\":\"4 \u{1f511} 7\",\"secret\":\"4 \u{1f511} 7\"}"),
    ] {
        let mut guest = moss.guest();
        for _ in 0..4 {
            guest.send(&wrong);
            guest.expect_error("wrong-secret");
        }
        guest.send(r#"{"type":"x"}"#);
        guest.expect_error("not-logged-in");
        guest.send(&wrong);
        guest.expect_error("wrong-secret");
        assert_eq!(guest.expect_close(1008), "too many wrong secrets");
    }
    master.expect_nothing();
}

#[test]
fn each_login_needs_the_secret() {
    let moss = moss();
    let mut master = moss.master("1");
    let mut client = moss.guest();
    client.send(&right());
    client.receive();
    client.send(r#"{"type":"login"}"#);
    client.expect_error("wrong-secret");
    // But it stays a client.
    assert_eq!(master.json()["type"], "client-joined");
    client.introduce(&mut master);
}

#[test]
fn master_needs_only_its_own_secret() {
    let moss = moss();
    let mut master = moss.master("1");
    master.send(r#"{"type":"login"}"#);
    master.expect_error("master-cannot-login");
    for _ in 0..5 {
        master.send(&right());
        master.expect_error("master-cannot-login");
    }
    master.expect_nothing();
}

#[test]
fn without_the_setting_the_payload_of_a_login_is_ignored() {
    let moss = Moss::start();
    let _master = moss.master("1");
    for payload in ["null", "1", r#"{"secret":"whatever"}"#, r#"{"secret":1,"secret":2}"#] {
        expect_client(&moss, &login(payload));
    }
}

#[test]
fn secret_may_come_from_a_file() {
    let setup = Setup::new().set("MOSS_LOGIN_SECRET_FILE", "code");
    let moss = setup.file("code", format!("{CODE}\n")).start();
    let _master = moss.master("1");
    expect_client(&moss, &right());
    let mut guest: Client = moss.guest();
    guest.send(r#"{"type":"login"}"#);
    guest.expect_error("wrong-secret");
}
