//! Memory is bounded, for each peer and for all together, whatever they send or leave unread.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::sockets::{
    REQUEST, claim, expect_last_close, health, narrow, narrow_guest, narrow_master,
    wait_for_clients, wait_for_connections,
};
use crate::support::process::{MIB, Memory, wait_until_idle};
use crate::support::{Client, Moss, OVER_TLS, Stream, TEXT, crowd, frame};

const PING: u8 = 0x89;
const PING_PACKET: &[u8] = br#"{"type":"ping"}"#;

/// The bytes of this offer as a client gets it.
fn offer_packet(offer: &str) -> String {
    format!(r#"{{"type":"connection-offer","payload":{offer}}}"#)
}

/// Sends `total` bytes of these frames on a connection that is never read, and then
/// reads up to the Close: the peer must have been dropped.
#[track_caller]
fn flood_unread(moss: &Moss, frames: &[u8], total: usize, growth: usize) {
    let memory = Memory::watch(moss);
    let mut guest = narrow_guest(moss);
    let burst = frames.repeat(1 + (64 << 10) / frames.len());
    for _ in 0..=total / burst.len() {
        guest.sender().send_raw(&burst);
    }
    expect_last_close(&mut guest, 1013);
    memory.assert_peak_below(growth);
    moss.guest().expect_nothing();
}

#[test]
fn unread_pongs_are_bounded() {
    flood_unread(&Moss::start(), &frame(PING, &[b'p'; 125]), 8 * MIB, 6 * MIB);
}

#[test]
fn unread_pong_packets_are_bounded() {
    flood_unread(&Moss::start(), &frame(TEXT, PING_PACKET), 4 * MIB, 4 * MIB);
}

#[test]
fn unread_errors_are_bounded() {
    flood_unread(&Moss::start(), &frame(TEXT, b"xxxxxxxx"), 2 * MIB, 4 * MIB);
}

#[test]
fn unread_answers_to_the_master_are_bounded() {
    const GROWTH: usize = 6 * MIB;

    let moss = Moss::start();
    let mut master = narrow_master(&moss, "1");
    let memory = Memory::watch(&moss);
    // A master above its limit has until the end of the pause; above twice the limit it is dropped.
    let burst = frame(TEXT, PING_PACKET).repeat(1_000);
    for _ in 0..600 {
        master.sender().send_raw(&burst);
    }
    expect_last_close(&mut master, 1013);
    memory.assert_peak_below(GROWTH);
    assert_eq!(health(&moss)["master"], false);
}

#[test]
fn dropped_peers_hold_no_memory() {
    const PEERS: usize = 24;
    /// A few times what one peer may hold. If it were kept for each, it would be over 24 MiB.
    const GROWTH: usize = 8 * MIB;

    let moss = Moss::start();
    let memory = Memory::watch(&moss);
    let rubbish = frame(TEXT, b"x").repeat(40_000);
    let mut guests: Vec<_> = (0..PEERS).map(|_| narrow_guest(&moss)).collect();
    for guest in &mut guests {
        guest.sender().send_raw(&rubbish);
    }
    wait_for_connections(&moss, 0);
    memory.assert_peak_below(GROWTH);
    drop(guests);
}

#[test]
fn tiny_fragments_cost_what_is_in_them() {
    const CONNECTIONS: usize = 8;
    const FRAGMENTS: usize = 50_000;
    /// A message's buffer is copied as it grows.
    const GROWTH: usize = CONNECTIONS * FRAGMENTS * 2 + MIB;

    let moss = Moss::start();
    let mut guests: Vec<_> = (0..CONNECTIONS).map(|_| moss.guest()).collect();
    let memory = Memory::watch(&moss);
    for guest in &mut guests {
        guest.sender().send_frame(0x01, b"x");
        guest.sender().send_raw(&frame(0x00, b"x").repeat(FRAGMENTS - 1));
        guest.sender().send_frame(PING, b"");
        assert_eq!(guest.frame().first, 0x8a, "moss has received all fragments");
    }
    memory.assert_peak_below(GROWTH);
    // A message above the limit, in fragments below it.
    let [guest, ..] = &mut guests[..] else { unreachable!("there are several") };
    guest.sender().send_raw(&frame(0x00, &[b'x'; 1000]).repeat(263));
    expect_last_close(guest, 1009);
}

#[test]
fn empty_continuations_cost_nothing() {
    const GROWTH: usize = MIB;

    let moss = Moss::start();
    let mut guest = moss.guest();
    guest.expect_nothing();
    let memory = Memory::watch(&moss);
    let (start, end) = PING_PACKET.split_at(5);
    guest.sender().send_frame(0x01, start);
    guest.sender().send_raw(&frame(0x00, b"").repeat(200_000));
    guest.sender().send_frame(0x80, end);
    guest.expect(r#"{"type":"pong","payload":""}"#);
    memory.assert_peak_below(GROWTH);
}

#[test]
fn length_field_alone_reserves_no_memory() {
    /// A few hundred bytes of a session, and the allocator's overhead. With TLS 4 KiB more.
    const GROWTH_EACH: usize = if OVER_TLS { 6 << 10 } else { 2 << 10 };

    let crowd = crowd(1_000);
    let moss = Moss::start();
    let memory = Memory::watch(&moss);
    // A header that announces the longest packet, and one byte of it.
    let mut half = vec![TEXT, 0x80 | 127];
    half.extend(262_144_u64.to_be_bytes());
    half.extend([0, 0, 0, 0, b'x']);
    let mut guests: Vec<_> = (0..crowd.size).map(|_| moss.guest()).collect();
    for guest in &mut guests {
        guest.sender().send_raw(&half);
    }
    moss.guest().expect_nothing();
    memory.assert_peak_below(crowd.size * GROWTH_EACH);
    // A longer one is refused at its header.
    for len in [262_145, u64::from(u32::MAX), u64::MAX >> 1, u64::MAX] {
        let mut guest = moss.guest();
        let mut huge = vec![TEXT, 0x80 | 127];
        huge.extend(len.to_be_bytes());
        huge.extend([0; 4]);
        guest.sender().send_raw(&huge);
        expect_last_close(&mut guest, 1009);
    }
}

#[test]
fn half_packets_of_many_peers_stay_below_the_limit_of_all() {
    const LIMIT: usize = 8 * MIB;
    /// Growing buffers cause fragmentation.
    const GROWTH: usize = 2 * LIMIT;

    let crowd = crowd(200);
    let moss = Moss::with(&[("MOSS_MAX_MEMORY_BYTES", &LIMIT.to_string())]);
    let mut master = moss.master("1");
    let mut guests: Vec<_> = (0..crowd.size).map(|_| moss.guest()).collect();
    let memory = Memory::watch(&moss);
    let half = &frame(TEXT, &vec![b' '; 250_000])[..240_000];
    for guest in &mut guests {
        // It may have been dropped meanwhile.
        let _ = guest.stream().write_all(half);
    }
    moss.guest().expect_nothing();
    memory.assert_peak_below(GROWTH);
    // A peer that holds little is not affected.
    master.expect_nothing();
}

#[test]
fn unread_offers_of_hundreds_are_bounded() {
    const LIMIT: usize = 16 * MIB;
    /// Growing buffers cause fragmentation, as large as the buffers. It is no more with 1,200
    /// clients. Without the limit, 300 clients would hold 300 MiB.
    const GROWTH: usize = 3 * LIMIT;
    const LOGIN: &str = r#"{"type":"login"}"#;

    // Fewer through TLS: each of them fetches as much, but more slowly.
    let crowd = crowd(if OVER_TLS { 100 } else { 300 });
    let moss = Moss::with(&[("MOSS_MAX_MEMORY_BYTES", &LIMIT.to_string())]);
    let offer = format!("\"{}\"", "o".repeat(200_000));
    let mut master = moss.master(&offer);
    let (mut reader, id) = moss.client_of(&mut master);
    let mut request = REQUEST.as_bytes().to_vec();
    request.extend(frame(TEXT, LOGIN.as_bytes()).repeat(20));
    let memory = Memory::watch(&moss);
    let all_are_here = AtomicBool::new(false);
    let clients: Vec<Stream> = thread::scope(|scope| {
        // A client that reads fetches offers meanwhile, and some more.
        scope.spawn(|| {
            let mut more = 20;
            while more > 0 {
                more -= usize::from(all_are_here.load(Ordering::Relaxed));
                reader.send(LOGIN);
                reader.expect(&offer_packet(&offer));
            }
        });
        let connect = |_| {
            let mut client = narrow(moss.address());
            client.write_all(&request).expect("moss reads");
            client
        };
        let clients = (0..crowd.size).map(connect).collect();
        all_are_here.store(true, Ordering::Relaxed);
        clients
    });
    // A newcomer's head waits behind those of the crowd, and that may time out.
    wait_until_idle(&moss);
    moss.guest().expect_nothing();
    memory.assert_peak_below(GROWTH);
    // A client that reads is not affected by those that do not.
    reader.expect_nothing();
    assert_eq!(reader.introduce(&mut master), id);
    drop(clients);
}

#[test]
fn takeovers_among_clients_that_do_not_read() {
    const LIMIT: usize = 2 * MIB;
    const GROWTH: usize = LIMIT + 4 * MIB;
    const CLIENTS: usize = 40;
    /// Enough to fill the kernel's buffers for each client.
    const TAKEOVERS: usize = 24;

    let moss = Moss::with(&[("MOSS_MAX_MEMORY_BYTES", &LIMIT.to_string())]);
    let silent = || {
        let mut client = narrow_guest(&moss);
        client.send(r#"{"type":"login"}"#);
        client.expect_nothing();
        client
    };
    let mut clients: Vec<Client> = (0..CLIENTS / 2).map(|_| silent()).collect();
    let mut reader = moss.client();
    clients.extend((0..CLIENTS / 2).map(|_| silent()));
    let mut masters = [moss.guest(), moss.guest()];
    let offer = format!("\"{}\"", "o".repeat(250_000));
    masters[0].set_master(&offer);
    reader.expect(&offer_packet(&offer));
    let memory = Memory::watch(&moss);
    for _ in 0..TAKEOVERS / 2 {
        for master in &mut masters {
            master.send(&claim(&offer));
            while !master.receive().contains("master-confirmation") {}
            reader.expect(&offer_packet(&offer));
        }
    }
    memory.assert_peak_below(GROWTH);
    // A client that reads is not affected by those that do not.
    reader.expect_nothing();
    reader.introduce(&mut masters[1]);
    drop(clients);
}

#[test]
fn takeovers_among_ten_thousand_clients() {
    /// The offers of 2 kB for all clients together would be ten times as much.
    const GROWTH: usize = 2 * MIB;

    let crowd = crowd(10_000);
    let moss = Moss::start();
    let mut request = REQUEST.as_bytes().to_vec();
    request.extend(frame(TEXT, br#"{"type":"login"}"#));
    let clients: Vec<Stream> = (0..crowd.size)
        .map(|_| {
            let mut stream = moss.connect();
            stream.write_all(&request).expect("moss reads");
            stream
        })
        .collect();
    wait_for_clients(&moss, crowd.size);
    // A larger offer for a smaller crowd: the sum must exceed the limit.
    let offer = format!("\"{}\"", "o".repeat(10 * GROWTH / crowd.size));
    let mut masters = [moss.guest(), moss.guest()];
    masters[0].set_master("0");
    let memory = Memory::watch(&moss);
    for _ in 0..3 {
        for master in &mut masters {
            master.send(&claim(&offer));
            while !master.receive().contains("master-confirmation") {}
        }
    }
    memory.assert_peak_below(GROWTH);
    for stream in clients.into_iter().step_by(crowd.size / 10) {
        let mut client = Client::upgraded(stream).expect("an upgrade");
        client.expect(r#"{"type":"connection-offer","payload":0}"#);
        for _ in 0..6 {
            client.expect(&offer_packet(&offer));
        }
    }
}

#[test]
fn large_packet_gives_its_memory_back() {
    const PEERS: usize = 40;
    const LEN: usize = 250_000;
    /// What the allocator may keep for the next packet. A leak would be 10 MB.
    const LEFT: usize = 2 * MIB;

    let moss = Moss::start();
    let mut master = moss.master("1");
    let mut clients: Vec<_> = (0..PEERS).map(|_| moss.client_of(&mut master)).collect();
    let memory = Memory::watch(&moss);
    let payload = "p".repeat(LEN);
    for (client, id) in &mut clients {
        client.send(&format!(r#"{{"type":"up","payload":"{payload}"}}"#));
        assert!(master.receive().len() > LEN);
        master.send(&format!(r#"{{"type":"down","payload":"{payload}","id":"{id}"}}"#));
        assert!(client.receive().len() > LEN);
        // The same in fragments.
        client.sender().send_frame(0x01, br#"{"type":"up","payload":""#);
        client.sender().send_frame(0x00, payload.as_bytes());
        client.sender().send_frame(0x80, br#""}"#);
        assert!(master.receive().len() > LEN);
    }
    master.expect_nothing();
    assert!(memory.rise() < LEFT, "{} bytes are left", memory.rise());
}
