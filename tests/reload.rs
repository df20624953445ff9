//! SIGHUP: secrets are read again from their files, and all connections stay.

mod support;

use std::fs;
use std::time::Instant;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::Signal;
use support::{Client, Moss, OFFER, PATIENCE, SECRET, Setup, assert_remedy};

const OLD: &str = "what proved it until now";
const NEW: &str = "what proves it from now on";
// No digits alone: they could be part of an id in the log.
const OLD_CODE: &str = "old-house-code";
const NEW_CODE: &str = "new-house-code";

const CONNECTION: &str = "MOSS_CONNECTION_SECRET_FILE";
const LOGIN: &str = "MOSS_LOGIN_SECRET_FILE";

/// A moss with both secrets in files.
fn moss() -> Moss {
    Setup::new()
        .unset("MOSS_CONNECTION_SECRET")
        .set(CONNECTION, "connection")
        .set(LOGIN, "login")
        .file("connection", OLD)
        .file("login", format!("{OLD_CODE}\n"))
        .start()
}

/// Replaces the content of one of the files.
fn write(moss: &Moss, name: &str, text: impl AsRef<[u8]>) {
    fs::write(moss.folder().join(name), text).expect("a file in the test's folder");
}

/// Sends SIGHUP, and returns the log lines about the secrets.
#[track_caller]
fn reload(moss: &Moss) -> [String; 2] {
    let said = || {
        let log = moss.log();
        let lines = log.lines().filter(|line| {
            line.contains(" secret was read again, ") || line.contains(" secret stays: ")
        });
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let before = said().len();
    moss.signal(Signal::HUP);
    let start = Instant::now();
    while said().len() < before + 2 {
        assert!(start.elapsed() < PATIENCE, "{}", moss.log());
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    said().split_off(before).try_into().expect("one line each")
}

#[track_caller]
fn assert_taken(line: &str, kind: &str, change: &str) {
    assert!(line.contains("INFO"), "{line}");
    assert!(line.ends_with(&format!("the {kind} secret was read again, and {change}")), "{line}");
}

/// The old secret must stay, and the line must name the variable.
#[track_caller]
fn assert_stays(line: &str, kind: &str, variable: &str) {
    assert!(line.contains("WARN"), "{line}");
    assert!(line.contains(&format!("the old {kind} secret stays: {variable}: ")), "{line}");
    assert_remedy(line);
    assert_no_secret(line);
}

#[track_caller]
fn assert_no_secret(text: &str) {
    for secret in [OLD, NEW, OLD_CODE, NEW_CODE, SECRET] {
        assert!(!text.contains(secret), "{text}");
    }
}

fn claim(peer: &mut Client, secret: &str) {
    let payload = serde_json::json!({ "secret": secret, "sdp": 1 });
    peer.send(&format!(r#"{{"type":"set-master","payload":{payload}}}"#));
}

fn login(peer: &mut Client, code: &str) {
    peer.send(&format!(r#"{{"type":"login","payload":{{"secret":"{code}"}}}}"#));
}

/// A new connection that sends set-master with this secret.
fn is_master(moss: &Moss, secret: &str) -> bool {
    let mut guest = moss.guest();
    claim(&mut guest, secret);
    let confirmed = guest.json()["type"] == "master-confirmation";
    // Else the next one may still find a master.
    guest.close();
    confirmed
}

/// A new connection that logs in with this code, while there is no master.
fn is_client(moss: &Moss, code: &str) -> bool {
    let mut guest = moss.guest();
    login(&mut guest, code);
    guest.send(r#"{"type":"x"}"#);
    match guest.json()["payload"]["code"].as_str() {
        Some("no-master") => true,
        Some("wrong-secret") => false,
        other => panic!("{other:?}"),
    }
}

#[test]
fn new_secrets_count_and_nobody_leaves() {
    let moss = moss();
    let mut master = moss.guest();
    claim(&mut master, OLD);
    master.expect(r#"{"type":"master-confirmation","payload":""}"#);
    let mut client = moss.guest();
    login(&mut client, OLD_CODE);
    client.expect(&format!(r#"{{"type":"{OFFER}","payload":1}}"#));
    let id = client.introduce(&mut master);

    write(&moss, "connection", format!("{NEW}\n"));
    write(&moss, "login", NEW_CODE);
    let [connection, code] = reload(&moss);
    assert_taken(&connection, "connection", "has changed");
    assert_taken(&code, "login", "has changed");

    // Master and client keep their roles, also for each other.
    client.send(r#"{"type":"to the master"}"#);
    assert_eq!(master.json()["id"], id.as_str());
    master.send(&format!(r#"{{"type":"to the client","id":"{id}"}}"#));
    client.expect(r#"{"type":"to the client","payload":""}"#);

    // From now on only the new secrets count.
    login(&mut client, OLD_CODE);
    client.expect_error("wrong-secret");
    client.send(r#"{"type":"still a client"}"#);
    assert_eq!(master.json()["type"], "still a client");
    login(&mut client, NEW_CODE);
    client.expect(&format!(r#"{{"type":"{OFFER}","payload":1}}"#));
    claim(&mut master, OLD);
    master.expect_error("wrong-secret");
    client.send(r#"{"type":"still the master"}"#);
    assert_eq!(master.json()["type"], "still the master");
    assert!(!is_master(&moss, OLD));
    let mut next = moss.guest();
    claim(&mut next, NEW);
    next.expect(r#"{"type":"master-confirmation","payload":""}"#);
    master.expect_error("replaced");
    assert_no_secret(&moss.log());
}

#[test]
fn unchanged_file_is_logged_as_the_same() {
    let moss = moss();
    write(&moss, "connection", format!("{OLD}\r\n"));
    write(&moss, "login", NEW_CODE);
    let [connection, code] = reload(&moss);
    assert_taken(&connection, "connection", "is the same");
    assert_taken(&code, "login", "has changed");
    assert!(is_master(&moss, OLD));
    assert!(is_client(&moss, NEW_CODE) && !is_client(&moss, OLD_CODE));
}

#[test]
fn unusable_file_leaves_the_old_secret() {
    let moss = moss();
    write(&moss, "login", NEW_CODE);
    let file = moss.folder().join("connection");
    let spoil: [&dyn Fn(); 6] = [
        &|| fs::remove_file(&file).expect("a file"),
        &|| fs::write(&file, "\n").expect("an empty file"),
        &|| fs::write(&file, b"\xff\xff").expect("no text"),
        &|| fs::write(&file, vec![b'x'; 65_537]).expect("a long file"),
        &|| {
            fs::remove_file(&file).expect("a file");
            fs::create_dir(&file).expect("a folder");
        },
        // A pipe without a writer: moss must not wait for one.
        &|| {
            fs::remove_dir(&file).expect("a folder");
            mknodat(CWD, &file, FileType::Fifo, Mode::RWXU, 0).expect("a pipe");
        },
    ];
    for (at, spoil) in spoil.iter().enumerate() {
        spoil();
        let [connection, code] = reload(&moss);
        assert_stays(&connection, "connection", CONNECTION);
        // The other secret is still read.
        assert_taken(&code, "login", if at == 0 { "has changed" } else { "is the same" });
        assert!(is_master(&moss, OLD));
    }
    assert!(is_client(&moss, NEW_CODE));
    fs::remove_file(&file).expect("a pipe");
    fs::write(&file, NEW).expect("a file");
    assert_taken(&reload(&moss)[0], "connection", "has changed");
    assert!(is_master(&moss, NEW) && !is_master(&moss, OLD));
}

/// Otherwise every client could become master.
#[test]
fn equal_secrets_leave_the_old_ones() {
    let moss = moss();
    write(&moss, "login", OLD);
    let [connection, code] = reload(&moss);
    assert_taken(&connection, "connection", "is the same");
    assert_stays(&code, "login", LOGIN);
    write(&moss, "login", OLD_CODE);
    write(&moss, "connection", OLD_CODE);
    let [connection, code] = reload(&moss);
    assert_stays(&connection, "connection", CONNECTION);
    assert_taken(&code, "login", "is the same");
    // The secret in force is no longer in a file.
    fs::remove_file(moss.folder().join("login")).expect("a file");
    let [connection, code] = reload(&moss);
    assert_stays(&connection, "connection", CONNECTION);
    assert_stays(&code, "login", LOGIN);
    write(&moss, "connection", NEW);
    write(&moss, "login", NEW);
    let [connection, code] = reload(&moss);
    assert_stays(&connection, "connection", CONNECTION);
    assert_stays(&code, "login", LOGIN);
    assert!(is_master(&moss, OLD) && !is_master(&moss, NEW) && is_client(&moss, OLD_CODE));
    // Swapping both secrets is allowed.
    write(&moss, "connection", OLD_CODE);
    write(&moss, "login", OLD);
    reload(&moss);
    assert!(is_master(&moss, OLD_CODE) && is_client(&moss, OLD));
}

#[test]
fn short_new_secret_is_warned_of() {
    let moss = moss();
    write(&moss, "connection", "short");
    assert_taken(&reload(&moss)[0], "connection", "has changed");
    let warning = moss.wait_for_log("the connection secret is under 16 characters");
    assert!(warning.contains("WARN"), "{warning}");
}

#[test]
fn secrets_of_variables_stay() {
    let moss = Setup::new().set("MOSS_LOGIN_SECRET", OLD_CODE).start();
    moss.signal(Signal::HUP);
    moss.wait_for_log("SIGHUP: there are no files to read again");
    assert!(is_master(&moss, SECRET) && is_client(&moss, OLD_CODE));
    assert!(!moss.log().contains("secret was read again"), "{}", moss.log());

    let setup = Setup::new().set(LOGIN, "login").file("login", OLD_CODE);
    let moss = setup.start();
    write(&moss, "login", SECRET);
    moss.signal(Signal::HUP);
    let line = moss.wait_for_log("secret stays");
    assert_stays(&line, "login", LOGIN);
    assert!(is_master(&moss, SECRET) && is_client(&moss, OLD_CODE));
}
