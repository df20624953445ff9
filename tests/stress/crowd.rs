//! Crowds of connections, kept as plain streams.

use std::io::{ErrorKind, Read, Write};

use crate::sockets::REQUEST;
use crate::support::{Moss, Stream};

/// Guests, kept as plain streams.
pub(crate) fn guests(moss: &Moss, count: usize) -> Vec<Stream> {
    let open = |_| {
        let mut stream = moss.connect();
        stream.write_all(REQUEST.as_bytes()).expect("moss reads");
        let mut head = [0; 1024];
        let mut len = 0;
        while !head[..len].ends_with(b"\r\n\r\n") {
            let count = match stream.read(&mut head[len..]) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                result => result.expect("an answer"),
            };
            assert!(count > 0, "the connection ended");
            len += count;
        }
        assert!(head.starts_with(b"HTTP/1.1 101 "), "no upgrade");
        stream.set_nonblocking(true).expect("an open connection");
        stream
    };
    (0..count).map(open).collect()
}

/// Reads all that is there now, and returns its length.
pub(crate) fn drain(mut stream: &Stream) -> usize {
    let mut buffer = vec![0; 64 << 10];
    let mut drained = 0;
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return drained,
            Ok(count) => drained += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // Nothing more to read, or a reset by a moss that has ended.
            Err(_) => return drained,
        }
    }
}
