//! An echo server made of moss's own session, TLS and socket, for the Autobahn test suite.
//!
//!     autobahn-echo <certificate> <key>
//!
//! It listens on two ports, without and with TLS. It sends each message back, text as text and
//! binary as binary, without packets and relay, so that the suite tests only the WebSocket. The
//! packet limit is raised for the suite's longest message.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
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
use moss::tls::{Credentials, Files, Tls};

/// The suite's longest message, in group 9, has 16 MiB.
const MAX_PACKET_BYTES: usize = 16 << 20;

/// Longer than any pause of the suite.
const KEEPALIVE: Duration = Duration::from_secs(600);

const PLAIN: Token = Token(usize::MAX - 1);
const TLS: Token = Token(usize::MAX - 2);

struct Peer {
    socket: Socket<System>,
    tls: Option<Tls>,
    session: Session,
}

fn main() -> io::Result<()> {
    let mut config = Config::new("not asked for", "offer");
    config.limits.max_packet_bytes = MAX_PACKET_BYTES;

    let mut files = std::env::args_os().skip(1).map(Into::into);
    let (Some(certificate), Some(key)) = (files.next(), files.next()) else {
        return Err(io::Error::other("give a certificate and its key"));
    };
    let credentials = Credentials::load(&Files { certificate, key })
        .map_err(|problem| io::Error::other(problem.why))?;

    let mut poll = Poll::new()?;
    let listen = |token| {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let mut listener = TcpListener::bind(address)?;
        poll.registry().register(&mut listener, token, Interest::READABLE)?;
        Ok::<_, io::Error>(listener)
    };
    let (plain, tls) = (listen(PLAIN)?, listen(TLS)?);
    println!("ws://{}/ wss://{}/", plain.local_addr()?, tls.local_addr()?);

    let mut peers: Table<Peer> = Table::new(0);
    let mut events = Events::with_capacity(64);
    let mut buffers = (vec![0; 64 << 10], Vec::new());
    loop {
        poll.poll(&mut events, Some(Duration::from_secs(1)))?;
        let now = Instant::now();
        for event in &events {
            match event.token() {
                PLAIN => {
                    while let Ok((stream, _)) = plain.accept() {
                        add(&mut peers, stream, None, &poll, now)?;
                    }
                }
                TLS => {
                    while let Ok((stream, _)) = tls.accept() {
                        add(&mut peers, stream, credentials.accept(), &poll, now)?;
                    }
                }
                Token(token) => {
                    let peer = peers.id_of_token(token).and_then(|id| peers.get_mut(id));
                    if let Some(peer) = peer {
                        peer.socket.note(event.into());
                        receive(peer, &mut buffers, &config, now);
                        send(peer, now);
                    }
                }
            }
        }
        let mut over = Vec::new();
        for (id, peer) in peers.iter_mut() {
            peer.session.tick(KEEPALIVE, now);
            send(peer, now);
            if peer.session.is_over(now)
                && peer.tls.as_ref().is_none_or(|tls| tls.unsent().is_empty())
            {
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
    tls: Option<Tls>,
    poll: &Poll,
    now: Instant,
) -> io::Result<()> {
    peers.insert_with(|id| {
        let interest = Interest::READABLE | Interest::WRITABLE;
        poll.registry().register(&mut stream, Token(id as usize), interest)?;
        Ok::<_, io::Error>(Peer {
            socket: Socket::new(stream.into()),
            tls,
            session: Session::new(now),
        })
    })?;
    Ok(())
}

fn receive(
    peer: &mut Peer,
    (buffer, plain): &mut (Vec<u8>, Vec<u8>),
    config: &Config,
    now: Instant,
) {
    let Peer { socket, tls, session } = peer;
    loop {
        let received = match socket.receive(buffer) {
            Received::Bytes(count) => &mut buffer[..count],
            Received::Blocked => return,
            Received::End => return session.peer_ended(now),
            Received::Broken => return session.broken(now),
        };
        let said = match tls {
            None => received,
            Some(tls) => {
                plain.clear();
                tls.receive(received, plain);
                &mut plain[..]
            }
        };
        let mut input = session.take_in(said, now);
        while let Some(event) = session.next(&mut input, config, None, now) {
            match event {
                Event::Upgrade(response) => session.open(&response),
                Event::Report { .. } | Event::Answered(_) => {
                    session.answer(b"HTTP/1.1 204 No Content\r\n\r\n", Ending::Answered, now)
                }
                Event::Text(text) => {
                    session.queue(Opcode::Text, text.len()).extend_from_slice(text.as_bytes());
                }
                Event::Binary(bytes) => {
                    session.queue(Opcode::Binary, bytes.len()).extend_from_slice(&bytes);
                }
                Event::Requester(_) | Event::Handled => {}
            }
        }
        session.put_back(input);
        if tls.as_ref().is_some_and(Tls::has_ended) {
            return session.peer_ended(now);
        }
    }
}

fn send(peer: &mut Peer, now: Instant) {
    let Peer { socket, tls, session } = peer;
    let ends = session.phase() == Phase::Ending;
    while socket.is_writable() {
        let bytes = match tls {
            None => session.unsent(),
            Some(tls) => {
                if tls.unsent().is_empty() && !tls.is_handshaking() {
                    if !session.unsent().is_empty() {
                        let count = tls.seal(session.unsent());
                        session.advance(count, &mut Spares::default(), now);
                    } else if ends {
                        tls.close();
                    }
                }
                tls.unsent()
            }
        };
        if bytes.is_empty() {
            break;
        }
        match (socket.send(bytes), &mut *tls) {
            (Ok(count), None) => session.advance(count, &mut Spares::default(), now),
            (Ok(count), Some(tls)) => tls.advance(count),
            (Err(_), _) => return session.broken(now),
        }
    }
    let said_all =
        session.unsent().is_empty() && tls.as_ref().is_none_or(|tls| tls.unsent().is_empty());
    if ends && said_all {
        socket.shut_down();
    }
}
