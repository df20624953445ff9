//! An echo server made of moss's own session and socket, for the Autobahn test suite.
//!
//! Text comes back as text and binary as binary, whatever is in it: no packets and no
//! relay, so that what the suite judges is the WebSocket alone. The packet limit is
//! raised to what the suite's longest message needs.

use std::io;
use std::time::{Duration, Instant};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use moss::connection::backlog::{Opcode, Spares};
use moss::connection::ending::Ending;
use moss::connection::session::{Event, Phase, Session};
use moss::server::socket::{Received, Socket};
use moss::server::system::System;
use moss::server::table::Table;
use moss::settings::config::Config;

/// The suite's longest message, in group 9, has 16 MiB.
const MAX_PACKET_BYTES: usize = 16 << 20;

/// Longer than any silence of the suite.
const KEEPALIVE: Duration = Duration::from_secs(600);

const LISTENER: Token = Token(usize::MAX - 1);

struct Peer {
    socket: Socket<System>,
    session: Session,
}

fn main() -> io::Result<()> {
    let mut config = Config::new("not asked for", "offer");
    config.limits.max_packet_bytes = MAX_PACKET_BYTES;

    let mut poll = Poll::new()?;
    let mut listener = TcpListener::bind(config.listen)?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    println!("listening on {}", listener.local_addr()?);

    let mut peers: Table<Peer> = Table::new(0);
    let mut events = Events::with_capacity(64);
    let mut buffer = vec![0; 64 << 10];
    loop {
        poll.poll(&mut events, Some(Duration::from_secs(1)))?;
        let now = Instant::now();
        for event in &events {
            if event.token() == LISTENER {
                while let Ok((stream, _)) = listener.accept() {
                    add(&mut peers, stream, &poll, now)?;
                }
            } else if let Some(id) = peers.id_of_token(event.token().0)
                && let Some(peer) = peers.get_mut(id)
            {
                peer.socket.note(event.into());
                receive(peer, &mut buffer, &config, now);
                send(peer, now);
            }
        }
        let mut over = Vec::new();
        for (id, peer) in peers.iter_mut() {
            peer.session.tick(KEEPALIVE, now);
            send(peer, now);
            if peer.session.is_over(now) {
                over.push(id);
            }
        }
        for id in over {
            peers.remove(id);
        }
    }
}

fn add(
    peers: &mut Table<Peer>,
    mut stream: TcpStream,
    poll: &Poll,
    now: Instant,
) -> io::Result<()> {
    peers.insert_with(|id| {
        let interest = Interest::READABLE | Interest::WRITABLE;
        poll.registry().register(&mut stream, Token(id as usize), interest)?;
        Ok::<_, io::Error>(Peer { socket: Socket::new(stream), session: Session::new(now) })
    })?;
    Ok(())
}

fn receive(peer: &mut Peer, buffer: &mut [u8], config: &Config, now: Instant) {
    let Peer { socket, session } = peer;
    loop {
        let count = match socket.receive(buffer) {
            Received::Bytes(count) => count,
            Received::Blocked => return,
            Received::End => return session.peer_ended(now),
            Received::Broken => return session.broken(now),
        };
        let mut input = session.take_in(&mut buffer[..count], now);
        while let Some(event) = session.next(&mut input, config, now) {
            match event {
                Event::Upgrade(response) => session.open(&response),
                Event::Health => {
                    session.answer(b"HTTP/1.1 204 No Content\r\n\r\n", Ending::Answered, now)
                }
                Event::Text(text) => {
                    session.queue(Opcode::Text, text.len()).extend_from_slice(text.as_bytes());
                }
                Event::Binary(bytes) => {
                    session.queue(Opcode::Binary, bytes.len()).extend_from_slice(&bytes);
                }
                Event::Handled => {}
            }
        }
        session.put_back(input);
    }
}

fn send(peer: &mut Peer, now: Instant) {
    let Peer { socket, session } = peer;
    while !session.unsent().is_empty() && socket.is_writable() {
        match socket.send(session.unsent()) {
            Ok(count) => session.advance(count, &mut Spares::default()),
            Err(_) => return session.broken(now),
        }
    }
    if session.phase() == Phase::Ending && session.unsent().is_empty() {
        socket.shut_down();
    }
}
