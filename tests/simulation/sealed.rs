//! TLS on the peers' side: a peer's bytes are encrypted (*sealed*) before its kernel takes them,
//! and moss's bytes are decrypted (*opened*) as soon as they are sent.
//!
//! So the network carries TLS, and cuts, delays and loses it anywhere, while peers and judge see
//! only plain text. A peer's TLS gets moss's bytes at once, but its answers wait until the peer
//! has read those bytes.
//!
//! The keys are random, but lengths must not be: otherwise a seed would not give the same run
//! again. So all signatures have the same length (the key is Ed25519), and sessions are resumed
//! only with tickets of this run.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::sync::Arc;

use moss::server::certificate::Certificate;
use moss::tls::Files;
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, ClientConnection, Error, ProtocolVersion, RootCertStore, SupportedProtocolVersion,
};

use crate::judge::Judge;
use crate::network::Network;
use crate::random::Random;
use crate::wire;

/// The most plain text in one record, and the most bytes that a record adds to it
/// (RFC 8446, section 5.2).
const MOST_PLAIN_BYTES: usize = 1 << 14;
const RECORD_BYTES: usize = 256;

/// A record's header: type, version, length.
const HEADER_BYTES: usize = 5;

/// The length to which some peers cut the records of their handshake.
const FRAGMENT_BYTES: usize = 64;

/// How a peer violates TLS, if it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trick {
    /// Does not violate it.
    None,
    /// Never sends a byte.
    Silence,
    /// Stops or slows down before its first message, a long one if possible, is complete.
    HalfHello,
    /// Sends nothing after its first message.
    HalfHandshake,
    /// Begins like TLS, but is not TLS.
    Rubbish,
    /// Requires a protocol (ALPN) or a version of TLS that moss does not support.
    OtherProtocol,
    OldVersion,
    /// Does not trust the certificate, and sends an alert.
    Distrust,
    /// Damages its last message of the handshake, or one of its first records.
    DamagedHandshake,
    DamagedRecord,
    /// After the handshake: a record that is too long, bytes that are no record, half a record.
    TooLong,
    NoRecord,
    HalfRecord,
    /// Sends only `close_notify`.
    Goodbye,
}

/// All violations.
pub(crate) const TRICKS: [Trick; 13] = [
    Trick::Silence,
    Trick::HalfHello,
    Trick::HalfHandshake,
    Trick::Rubbish,
    Trick::OtherProtocol,
    Trick::OldVersion,
    Trick::Distrust,
    Trick::DamagedHandshake,
    Trick::DamagedRecord,
    Trick::TooLong,
    Trick::NoRecord,
    Trick::HalfRecord,
    Trick::Goodbye,
];

/// How a peer uses TLS.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manners {
    pub(crate) trick: Trick,
    /// It sends much, so it does not use short records.
    pub(crate) much: bool,
    /// Its first message may be long. With little memory, moss may drop a guest for that.
    pub(crate) long: bool,
}

/// What the peers of one run share.
pub(crate) struct Clients {
    /// Configurations for TLS 1.3, for short fragments, for a long first message, and for TLS 1.2.
    usual: [Arc<ClientConfig>; 4],
    other_protocol: Arc<ClientConfig>,
    distrusts: Arc<ClientConfig>,
}

/// The peer's TLS on one connection.
pub(crate) struct Sealed {
    client: ClientConnection,
    trick: Trick,
    random: Random,
    /// The most plain text in one of its records.
    piece: usize,
    /// Sealed bytes that the peer's kernel has not taken; and the rest of a record that it holds
    /// back, after which nothing is sealed.
    pending: Vec<u8>,
    kept: Vec<u8>,
    /// The number of sealed bytes so far, and of their plain text.
    sealed: u64,
    plain: u64,
    records: usize,
    /// Answers of TLS that wait until the peer has read this much, and whether they end the
    /// handshake.
    answers: VecDeque<(u64, Vec<u8>, bool)>,
    /// The peer may seal when it has read this much.
    opens_at: u64,
    /// It holds back a part of the next record after this many bytes.
    keeps_back: Option<usize>,
    /// It sends `close_notify` after all unsent bytes.
    leaves: bool,
    /// It sends nothing more.
    silent: bool,
    /// The received part of moss's next record.
    record: Vec<u8>,
    /// moss has sent `close_notify`, or another alert.
    pub(crate) closed: bool,
    pub(crate) alerted: bool,
}

/// moss's certificate.
pub(crate) fn certificate() -> Certificate {
    Certificate::load(Files { certificate: file("own.pem"), key: file("own-key.pem") })
        .unwrap_or_else(|problem| panic!("{problem:?}"))
}

fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/tls").join(name)
}

impl Clients {
    pub(crate) fn new() -> Self {
        let mut roots = RootCertStore::empty();
        let own = CertificateDer::from_pem_file(file("own.pem")).expect("a certificate");
        roots.add(own).expect("one that can be trusted");
        let roots = Arc::new(roots);
        let new = |version: &'static SupportedProtocolVersion, roots: &Arc<RootCertStore>| {
            ClientConfig::builder_with_provider(ring::default_provider().into())
                .with_protocol_versions(&[version])
                .expect("a version that ring knows")
                .with_root_certificates(Arc::clone(roots))
                .with_no_client_auth()
        };
        let with = |change: &dyn Fn(&mut ClientConfig)| {
            let mut config = new(&TLS13, &roots);
            change(&mut config);
            Arc::new(config)
        };
        let long = |config: &mut ClientConfig| {
            let names = (0..56_u8).map(|number| vec![b'a' + number; 250]);
            config.alpn_protocols = names.chain([b"http/1.1".to_vec()]).collect();
        };
        Self {
            usual: [
                with(&|_| {}),
                with(&|config| config.max_fragment_size = Some(FRAGMENT_BYTES)),
                with(&long),
                Arc::new(new(&TLS12, &roots)),
            ],
            other_protocol: with(&|config| config.alpn_protocols = vec![b"h2".to_vec()]),
            distrusts: Arc::new(new(&TLS13, &Arc::new(RootCertStore::empty()))),
        }
    }

    fn connect(config: &Arc<ClientConfig>) -> ClientConnection {
        let name = "localhost".try_into().expect("a name");
        ClientConnection::new(Arc::clone(config), name).expect("a client")
    }
}

impl Sealed {
    /// A peer's TLS on this link, before its first byte.
    pub(crate) fn new(
        link: usize,
        clients: &Clients,
        manners: Manners,
        mut random: Random,
        network: &mut Network,
        judge: &mut Judge,
    ) -> Self {
        let Manners { trick, much, long } = manners;
        let piece = if much {
            random.pick(&[4_096, MOST_PLAIN_BYTES])
        } else {
            random.pick(&[1, 7, 50, 1_400, MOST_PLAIN_BYTES, MOST_PLAIN_BYTES])
        };
        let usual = random.pick(&[0, 0, 1, 2, 3, 3]);
        let config = match trick {
            Trick::OtherProtocol => &clients.other_protocol,
            Trick::Distrust => &clients.distrusts,
            Trick::HalfHello => &clients.usual[2],
            // Each record is made by the test.
            _ if usual == 1 && piece > 50 => &clients.usual[0],
            _ if usual == 2 && !long => &clients.usual[0],
            _ => &clients.usual[usual],
        };
        let mut sealed = Self {
            client: Clients::connect(config),
            trick,
            random,
            piece,
            pending: Vec::new(),
            kept: Vec::new(),
            sealed: 0,
            plain: 0,
            records: 0,
            answers: VecDeque::new(),
            opens_at: u64::MAX,
            keeps_back: None,
            leaves: false,
            silent: false,
            record: Vec::new(),
            closed: false,
            alerted: false,
        };
        network.links[link].records = Some(VecDeque::new());
        network.links[link].can_be_told_at = u64::MAX;
        let mut hello = sealed.written();
        match trick {
            Trick::Silence => hello.clear(),
            Trick::HalfHello => {
                let most = hello.len() - 1;
                let most = sealed.random.pick(&[HEADER_BYTES, 300, most, most]);
                sealed.kept = hello.split_off(1 + sealed.random.below(most));
            }
            Trick::Rubbish => {
                let long = sealed.random.is_one_in(2);
                hello = match long {
                    true => b"\x16\x03\x01\xff\xff\x01\x00".to_vec(),
                    false => [&b"\x16\x03\x01\x00\x20"[..], &[0xff; 32]].concat(),
                };
            }
            Trick::OldVersion => {
                // TLS 1.0, a random number, no session, one cipher, no compression.
                hello = b"\x16\x03\x01\x00\x2d\x01\x00\x00\x29\x03\x01".to_vec();
                hello.extend_from_slice(&[7; 32]);
                hello.extend_from_slice(b"\x00\x00\x02\x00\x2f\x01\x00");
            }
            _ => {}
        }
        match trick {
            Trick::Rubbish | Trick::OtherProtocol | Trick::OldVersion => {
                judge.breaks_tls(link, true)
            }
            Trick::Distrust => judge.breaks_tls(link, false),
            _ => {}
        }
        sealed.push(link, &hello, 0, network);
        sealed
    }

    /// The bytes that TLS wants to send.
    fn written(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        while self.client.wants_write() {
            self.client.write_tls(&mut bytes).expect("a vector takes it");
        }
        bytes
    }

    /// Adds complete records to the unsent bytes; `plain` is the length of their plain text.
    fn push(&mut self, link: usize, bytes: &[u8], plain: usize, network: &mut Network) {
        self.pending.extend_from_slice(bytes);
        self.sealed += bytes.len() as u64;
        self.plain += plain as u64;
        let records = network.links[link].records.as_mut().expect("a link with TLS");
        records.push_back((self.sealed + self.kept.len() as u64, self.plain));
    }

    /// The peer sends `close_notify` after its unsent bytes.
    pub(crate) fn leaves(&mut self) {
        self.leaves = true;
    }

    /// Holds back a part of the next record after this number of sealed bytes: no later record is
    /// complete.
    pub(crate) fn keeps_back(&mut self, after: usize) {
        self.keeps_back = Some(after);
    }

    /// Releases a byte that was held back, but never the last one.
    pub(crate) fn drips(&mut self) {
        if self.kept.len() > 1 {
            self.pending.push(self.kept.remove(0));
            self.sealed += 1;
        }
    }

    /// Passes to the peer's kernel as much as it takes. Returns how much of `out` was sealed.
    pub(crate) fn flush(
        &mut self,
        link: usize,
        out: &[u8],
        network: &mut Network,
        judge: &mut Judge,
    ) -> usize {
        let read = network.links[link].read;
        while self.answers.front().is_some_and(|(at, ..)| *at <= read)
            && let Some((_, answer, last)) = self.answers.pop_front()
        {
            self.answer(link, answer, last, network, judge);
        }
        let room = network.room(link);
        let is_open = read >= self.opens_at && self.answers.is_empty() && self.kept.is_empty();
        let mut taken = 0;
        if is_open && self.trick == Trick::Goodbye {
            self.leaves = true;
            judge.leaves(link);
        }
        while is_open && !self.silent && self.pending.len() < room && taken < out.len() {
            let len = self.piece.min(out.len() - taken);
            self.seal(link, &out[taken..taken + len], network, judge);
            taken += len;
            if !self.kept.is_empty() {
                break;
            }
        }
        if self.silent {
            taken = out.len();
        }
        if is_open
            && self.leaves
            && !self.silent
            && (taken == out.len() || self.trick == Trick::Goodbye)
        {
            self.silent = true;
            self.client.send_close_notify();
            let goodbye = self.written();
            self.push(link, &goodbye, 0, network);
            network.links[link].close_notify_at = self.sealed;
        }
        let count = room.min(self.pending.len());
        if count > 0 {
            network.write(link, &self.pending[..count]);
            self.pending.drain(..count);
        }
        taken
    }

    /// The peer has read what TLS answers.
    fn answer(
        &mut self,
        link: usize,
        mut answer: Vec<u8>,
        last: bool,
        network: &mut Network,
        judge: &mut Judge,
    ) {
        match self.trick {
            Trick::HalfHandshake
            | Trick::Silence
            | Trick::HalfHello
            | Trick::Rubbish
            | Trick::OldVersion => {
                self.silent = true;
                return;
            }
            Trick::DamagedHandshake if last => {
                *answer.last_mut().expect("an answer") ^= 1;
                self.silent = true;
                judge.breaks_tls(link, true);
            }
            _ => {}
        }
        self.push(link, &answer, 0, network);
        if last && self.trick != Trick::DamagedHandshake {
            network.links[link].can_be_told_at = self.sealed;
        }
    }

    fn seal(&mut self, link: usize, plain: &[u8], network: &mut Network, judge: &mut Judge) {
        self.records += 1;
        let is_newer = self.client.protocol_version() == Some(ProtocolVersion::TLSv1_3);
        if is_newer && self.random.is_one_in(200) {
            self.client.refresh_traffic_keys().expect("the handshake is over");
        }
        self.client.writer().write_all(plain).expect("it takes a record");
        let mut record = self.written();
        let before = self.keeps_back.map(|rest| rest.saturating_sub(plain.len()));
        let mut kept = Vec::new();
        match self.trick {
            Trick::DamagedRecord if self.records > 1 && self.random.is_one_in(2) => {
                *record.last_mut().expect("a record") ^= 1;
                self.silent = self.random.is_one_in(2);
                judge.breaks_tls(link, true);
            }
            Trick::TooLong => {
                record = b"\x17\x03\x03\xff\xff\x01".to_vec();
                self.silent = self.random.is_one_in(2);
                judge.breaks_tls(link, true);
            }
            Trick::NoRecord => {
                record = wire::UPGRADE.as_bytes().to_vec();
                self.silent = self.random.is_one_in(2);
                judge.breaks_tls(link, true);
            }
            Trick::HalfRecord => kept = record.split_off(1 + self.random.below(record.len() - 1)),
            _ if before == Some(0) => {
                kept = record.split_off(1 + self.random.below(record.len() - 1));
            }
            _ => {}
        }
        self.keeps_back = before;
        self.kept = kept;
        self.push(link, &record, plain.len(), network);
    }

    /// Opens moss's bytes, of which `sent` were sent in all. Returns the content of each record
    /// that is complete now.
    pub(crate) fn opens(&mut self, bytes: &[u8], sent: u64) -> Vec<Vec<u8>> {
        self.record.extend_from_slice(bytes);
        let mut opened = Vec::new();
        while let Some(len) = self.next_record() {
            let record: Vec<u8> = self.record.drain(..len).collect();
            let trick = self.trick;
            assert!(
                !self.closed && !self.alerted,
                "moss sends a record after close_notify or an alert"
            );
            let mut rest = &record[..];
            while !rest.is_empty() {
                self.client.read_tls(&mut rest).expect("it takes a record");
            }
            match self.client.process_new_packets() {
                Ok(state) => self.closed |= state.peer_has_closed(),
                Err(Error::AlertReceived(_)) => (self.alerted, self.silent) = (true, true),
                // The client sends its alert only once.
                Err(_) if self.trick == Trick::Distrust => {}
                Err(error) => panic!("{trick:?}: what moss sends can't be opened: {error}"),
            }
            let mut plain = Vec::new();
            // Before close_notify this ends with `WouldBlock`.
            let _ = self.client.reader().read_to_end(&mut plain);
            if !plain.is_empty() {
                opened.push(plain);
            }
            let at = sent - self.record.len() as u64;
            let is_over = !self.client.is_handshaking();
            if is_over {
                self.opens_at = self.opens_at.min(at);
            }
            let answer = self.written();
            if !answer.is_empty() && !self.alerted {
                let is_older = self.client.protocol_version() == Some(ProtocolVersion::TLSv1_2);
                self.answers.push_back((at, answer, is_over || is_older));
            }
        }
        opened
    }

    /// The length of the next record, if it was sent completely.
    fn next_record(&self) -> Option<usize> {
        let header: &[u8; HEADER_BYTES] = self.record.first_chunk()?;
        assert!((20..=23).contains(&header[0]), "moss sends bytes that are not TLS: {header:?}");
        let len = usize::from(u16::from_be_bytes([header[3], header[4]]));
        assert!(len <= MOST_PLAIN_BYTES + RECORD_BYTES, "moss sends a record of {len} bytes");
        (self.record.len() >= HEADER_BYTES + len).then_some(HEADER_BYTES + len)
    }

    /// Whether moss's last record is complete.
    pub(crate) fn is_whole(&self) -> bool {
        self.record.is_empty()
    }
}

/// The first bytes of a TLS connection, for a peer at the wrong port.
pub(crate) fn hello(clients: &Clients) -> Vec<u8> {
    let mut client = Clients::connect(&clients.usual[0]);
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).expect("a vector takes it");
    bytes
}
