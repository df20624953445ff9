//! Connections that fetch one file again and again, each with one request at a time.
//!
//! Each answer has to be the file, byte for byte. If the server ends a connection, as it may
//! after a number of requests, a new one replaces it.

use std::io;
use std::mem;
use std::net::SocketAddrV4;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::epoll;

use super::link::{self, Link, RECEIVE_BUFFER_BYTES, WIRE_BUFFER_BYTES};
use super::tls;

const MOST_HEADERS: usize = 32;
/// A server that sends nothing for this long has lost something.
const SILENCE: Duration = Duration::from_secs(20);

pub(crate) struct Fetched {
    pub(crate) files: u64,
    /// Including the heads of answers and the received part of an incomplete file.
    pub(crate) bytes: u64,
    pub(crate) elapsed: Duration,
}

pub(crate) struct Downloads<'a> {
    server: SocketAddrV4,
    tls: Option<tls::Client>,
    request: Vec<u8>,
    file: &'a [u8],
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
    readers: Vec<Reader>,
    /// Connections so far, including those that were replaced.
    connected: usize,
    received: Vec<u8>,
    wire: Vec<u8>,
}

struct Reader {
    link: Link,
    /// The received part of an incomplete answer.
    head: Vec<u8>,
    body: Option<Body>,
}

/// What follows a head.
struct Body {
    received: usize,
    /// Nothing follows it.
    last: bool,
}

impl<'a> Downloads<'a> {
    /// Opens this many connections to fetch `file` from `path`; over TLS if there is a client for
    /// it.
    pub(crate) fn new(
        server: SocketAddrV4,
        tls: Option<tls::Client>,
        connections: usize,
        path: &str,
        file: &'a [u8],
    ) -> io::Result<Self> {
        let mut downloads = Self {
            server,
            tls,
            request: format!("GET {path} HTTP/1.1\r\nHost: {server}\r\n\r\n").into_bytes(),
            file,
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            events: Vec::with_capacity(1024),
            readers: Vec::new(),
            connected: 0,
            received: vec![0; RECEIVE_BUFFER_BYTES],
            wire: vec![0; WIRE_BUFFER_BYTES],
        };
        for number in 0..connections {
            let reader = downloads.connect(number)?;
            downloads.readers.push(reader);
        }
        Ok(downloads)
    }

    /// Fetches for `duration`, then waits for the answers in flight.
    pub(crate) fn run(&mut self, duration: Duration) -> io::Result<Fetched> {
        let started = Instant::now();
        let (mut files, mut bytes) = (0, 0);
        let mut on_their_way = self.readers.len();
        self.ask_all()?;
        while on_their_way > 0 {
            bytes += self.turn(|| {
                files += 1;
                let again = started.elapsed() < duration;
                if !again {
                    on_their_way -= 1;
                }
                again
            })?;
        }
        Ok(Fetched { files, bytes, elapsed: started.elapsed() })
    }

    /// Fetches while `wanted`; then drops answers in flight, with their connections.
    pub(crate) fn run_while(mut self, wanted: impl Fn() -> bool) -> io::Result<Fetched> {
        let started = Instant::now();
        let (mut files, mut bytes) = (0, 0);
        self.ask_all()?;
        while wanted() {
            bytes += self.turn(|| {
                files += 1;
                true
            })?;
        }
        Ok(Fetched { files, bytes, elapsed: started.elapsed() })
    }

    fn ask_all(&mut self) -> io::Result<()> {
        self.readers.iter_mut().try_for_each(|reader| reader.link.send(&self.request))
    }

    fn connect(&mut self, number: usize) -> io::Result<Reader> {
        let link = Link::connect(self.server, self.connected, false, self.tls.as_ref())?;
        self.connected += 1;
        // Level-triggered: otherwise a fast server would keep one connection busy all the time.
        link.watch(&self.epoll, number, epoll::EventFlags::IN)?;
        Ok(Reader { link, head: Vec::new(), body: None })
    }

    /// Receives, and returns how many bytes that were. `again` is called for each complete file,
    /// and says whether to request another.
    fn turn(&mut self, mut again: impl FnMut() -> bool) -> io::Result<u64> {
        let mut bytes = 0;
        let mut events = mem::take(&mut self.events);
        link::wait(&self.epoll, &mut events, SILENCE)?;
        if events.is_empty() {
            return Err(io::Error::other("the server is silent"));
        }
        for event in &events {
            let number = event.data.u64() as usize;
            let reader = &mut self.readers[number];
            let received = reader.link.receive(&mut self.received, &mut self.wire)?;
            bytes += received.bytes as u64;
            let Some(last) = reader.take(&self.received[..received.bytes], self.file)? else {
                continue;
            };
            if last {
                self.readers[number] = self.connect(number)?;
            }
            if again() {
                self.readers[number].link.send(&self.request)?;
            }
        }
        self.events = events;
        Ok(bytes)
    }
}

impl Drop for Downloads<'_> {
    /// Resets the connections: otherwise their ports could not be used for a minute.
    fn drop(&mut self) {
        self.readers.drain(..).for_each(|reader| reader.link.reset());
    }
}

impl Reader {
    /// Compares `bytes` with the expected answer. At its end, returns whether the connection ends
    /// as well.
    fn take(&mut self, bytes: &[u8], file: &[u8]) -> io::Result<Option<bool>> {
        let mut rest = bytes;
        if self.body.is_none() {
            let kept = self.head.len();
            self.head.extend_from_slice(bytes);
            let Some((length, last)) = read_head(&self.head, file.len())? else {
                return Ok(None);
            };
            rest = &bytes[length - kept..];
            self.head.clear();
            self.body = Some(Body { received: 0, last });
        }
        let Some(body) = &mut self.body else { return Ok(None) };
        let end = body.received + rest.len();
        if file.get(body.received..end) != Some(rest) {
            return Err(io::Error::other("a file arrived changed"));
        }
        body.received = end;
        if end < file.len() {
            return Ok(None);
        }
        let last = body.last;
        self.body = None;
        Ok(Some(last))
    }
}

/// The length of the head that begins here and whether the server ends the connection
/// afterwards; `None` while the head is incomplete. It has to announce `body` bytes.
fn read_head(bytes: &[u8], body: usize) -> io::Result<Option<(usize, bool)>> {
    let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let mut head = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(length) = head.parse(bytes).map_err(io::Error::other)? else {
        return Ok(None);
    };
    let value = |name: &str| {
        let mut headers = head.headers.iter();
        headers.find(|header| header.name.eq_ignore_ascii_case(name)).map(|header| header.value)
    };
    if head.code != Some(200) || value("content-length") != Some(body.to_string().as_bytes()) {
        let head = String::from_utf8_lossy(&bytes[..length]);
        return Err(io::Error::other(format!("got no file, but\n{head}")));
    }
    let last = value("connection").is_some_and(|value| value.eq_ignore_ascii_case(b"close"));
    Ok(Some((length, last)))
}
