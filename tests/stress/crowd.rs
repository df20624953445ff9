//! Crowds of connections, as large as the limit on open files lets them be.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::sockets::REQUEST;
use crate::support::Moss;

/// Descriptors for all that is not in the crowd, other tests included.
const OTHERS: u64 = 300;

static ALONE: Mutex<()> = Mutex::new(());

/// One crowd at a time: all tests share one limit.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How many of so many connections may be opened; says so if that is fewer.
pub(crate) fn crowd(wanted: usize) -> usize {
    let limit = getrlimit(Resource::Nofile);
    // Without a maximum there still is a current one.
    let most = limit.maximum.or(limit.current).unwrap_or(u64::MAX);
    setrlimit(Resource::Nofile, Rlimit { current: Some(most), maximum: limit.maximum })
        .expect("the soft limit may be raised");
    let fits = usize::try_from(most.saturating_sub(OTHERS)).unwrap_or(usize::MAX);
    if fits < wanted {
        println!("{fits} connections instead of {wanted}: {most} files may be open");
    }
    wanted.min(fits)
}

/// Guests of which nothing but the stream is kept.
pub(crate) fn guests(moss: &Moss, count: usize) -> Vec<TcpStream> {
    let open = |_| {
        let mut stream = moss.connect();
        stream.write_all(REQUEST.as_bytes()).expect("moss reads");
        let mut head = [0; 1024];
        let mut len = 0;
        while !head[..len].ends_with(b"\r\n\r\n") {
            let count = stream.read(&mut head[len..]).expect("an answer");
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
pub(crate) fn drain(mut stream: &TcpStream) -> usize {
    let mut buffer = vec![0; 64 << 10];
    let mut drained = 0;
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return drained,
            Ok(count) => drained += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // Blocked, or reset by a moss that has ended.
            Err(_) => return drained,
        }
    }
}
