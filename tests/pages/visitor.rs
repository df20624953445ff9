//! A visitor of pages: one HTTP connection. It reads exactly the bytes of each answer, so surplus
//! bytes are noticed.

use std::io::{ErrorKind, Read, Write};

use crate::support::{Client, Moss, Stream};

/// An upgrade request, without the empty line at its end.
pub(crate) const UPGRADE: &str = "GET / HTTP/1.1\r\nHost: box\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// A connection on which requests are made.
pub(crate) struct Visitor(Stream);

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Its header lines, in order.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

/// A minimal request. Each of `lines` ends with CR LF.
pub(crate) fn request(method: &str, target: &str, lines: &str) -> String {
    format!("{method} {target} HTTP/1.1\r\nHost: box\r\n{lines}\r\n")
}

/// A GET without further header lines.
pub(crate) fn get(target: &str) -> String {
    request("GET", target, "")
}

/// The answer to a request on a new connection.
#[track_caller]
pub(crate) fn ask(moss: &Moss, request: impl AsRef<[u8]>) -> Answer {
    let mut visitor = Visitor::of(moss);
    visitor.send(&request);
    if request.as_ref().starts_with(b"HEAD ") { visitor.head() } else { visitor.answer() }
}

impl Visitor {
    /// A visitor on a new connection.
    pub(crate) fn of(moss: &Moss) -> Self {
        Self(moss.connect())
    }

    /// A visitor on this connection.
    pub(crate) fn on(stream: Stream) -> Self {
        Self(stream)
    }

    /// The connection.
    pub(crate) fn stream(&self) -> &Stream {
        &self.0
    }

    /// Sends these bytes.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).expect("moss reads");
    }

    /// The answer to a GET.
    #[track_caller]
    pub(crate) fn get(&mut self, target: &str) -> Answer {
        self.get_with(target, "")
    }

    /// The answer to a GET with these lines, each with its CR LF.
    #[track_caller]
    pub(crate) fn get_with(&mut self, target: &str, lines: &str) -> Answer {
        self.send(request("GET", target, lines));
        self.answer()
    }

    /// The next answer, whole.
    #[track_caller]
    pub(crate) fn answer(&mut self) -> Answer {
        let mut answer = self.head();
        answer.body = vec![0; answer.body_len()];
        self.0.read_exact(&mut answer.body).expect("the whole body");
        answer
    }

    /// The next answer without reading a body: for HEAD, or when the test reads the body itself.
    #[track_caller]
    pub(crate) fn head(&mut self) -> Answer {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            if let Err(error) = self.0.read_exact(&mut byte) {
                panic!("{error} instead of an answer, after {:?}", String::from_utf8_lossy(&head));
            }
            head.extend(byte);
        }
        Answer::parse(std::str::from_utf8(&head).expect("UTF-8"))
    }

    /// Reads this number of bytes.
    #[track_caller]
    pub(crate) fn read(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.0.read_exact(&mut bytes).expect("this much of the body");
        bytes
    }

    /// Reads up to the end of the connection, which may be a reset.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        if let Err(error) = self.0.read_to_end(&mut rest) {
            let kind = error.kind();
            let is_time_out = matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut);
            assert!(!is_time_out, "no end of the connection");
        }
        rest
    }

    /// Moss must close the connection without a reset and without a further byte.
    #[track_caller]
    pub(crate) fn expect_end(&mut self) {
        let mut rest = Vec::new();
        self.0.read_to_end(&mut rest).expect("the end of the connection");
        assert!(rest.is_empty(), "{:?} instead of the end", String::from_utf8_lossy(&rest));
    }

    /// Sends an upgrade request, and continues as a WebSocket.
    #[track_caller]
    pub(crate) fn upgrade(mut self) -> Client {
        self.send(format!("{UPGRADE}\r\n"));
        Client::upgraded(self.0).expect("an upgrade")
    }

    /// Continues as the WebSocket that was requested.
    #[track_caller]
    pub(crate) fn upgraded(self) -> Client {
        Client::upgraded(self.0).expect("an upgrade")
    }
}

impl Answer {
    #[track_caller]
    fn parse(head: &str) -> Self {
        let mut lines = head.split_terminator("\r\n");
        let status = lines.next().expect("a status line");
        let code = status.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.split_once(' '));
        let (code, reason) = code.unwrap_or_else(|| panic!("no status line: {status:?}"));
        assert!(code.len() == 3 && !reason.is_empty(), "{status:?}");
        let header = |line: &str| {
            let (name, value) = line.split_once(": ").unwrap_or_else(|| panic!("{line:?}"));
            (name.to_owned(), value.to_owned())
        };
        let headers = lines.take_while(|line| !line.is_empty()).map(header).collect();
        let answer = Self { status: code.parse().expect("a number"), headers, body: Vec::new() };
        for (name, _) in &answer.headers {
            let is_token = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
            assert!(is_token && answer.values(name).count() == 1, "{head}");
        }
        // RFC 9110, section 8.6: without a Content-Length the body would end with the connection.
        assert_eq!(answer.header("Content-Length").is_none(), code == "304", "{head}");
        answer
    }

    /// The value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.values(name).next()
    }

    fn values(&self, name: &str) -> impl Iterator<Item = &str> {
        let named = move |(known, _): &&(String, String)| known.eq_ignore_ascii_case(name);
        self.headers.iter().filter(named).map(|(_, value)| value.as_str())
    }

    /// Its entity tag.
    #[track_caller]
    pub(crate) fn tag(&self) -> String {
        self.header("ETag").expect("an entity tag").to_owned()
    }

    /// Whether it has `Connection: close`.
    pub(crate) fn is_last(&self) -> bool {
        self.header("Connection") == Some("close")
    }

    /// The announced length of the body.
    pub(crate) fn body_len(&self) -> usize {
        self.header("Content-Length").map_or(0, |len| len.parse().expect("a number"))
    }
}
