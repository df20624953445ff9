//! The reasons why connections end. Each has one word, which the log, the metrics and the
//! docs use.

use log::Level;

use crate::http::answer::Refusal;

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The peer closed it, with a Close or without.
    Left,
    /// One or more requests were answered, and the connection was closed after that.
    Answered,
    /// A request in plain HTTP to the TLS port was redirected to `https://`.
    Redirected,
    /// A request was refused.
    Refused(Refusal),
    /// moss is stopping.
    Stopping,
    /// The peer broke a rule of RFC 6455.
    ProtocolError,
    /// The peer sent a text message that is not UTF-8.
    NotUtf8,
    /// The peer sent a message over the packet limit.
    TooLong,
    /// The master closed it.
    Kicked,
    /// The peer sent too many wrong secrets.
    WrongSecrets,
    /// The peer gave no sign of life.
    Silent,
    /// The peer read too slowly; or it was still reading a page that had been replaced a while
    /// ago.
    SlowReader,
    /// The master did not keep up with its clients.
    SlowMaster,
    /// The memory limit was reached, and this peer held part of it.
    Memory,
    /// The peer had a place that is reserved for the next master, and did not become master.
    NotMaster,
    /// Its TLS handshake failed or took too long, or it broke the TLS protocol.
    Tls,
    /// It spoke TLS to the plain port.
    TlsOnPlain,
    /// Its place was needed for another connection while its request was not read yet, or its
    /// answer not taken.
    Displaced,
    /// It was closed without an answer when it was accepted, or when a trusted proxy named its
    /// address: that address had too many connections, or the system had no room.
    Dropped,
}

impl Ending {
    /// All of them.
    pub const ALL: [Self; 30] = all![
        Left,
        Answered,
        Redirected,
        Refused(Refusal::BadRequest),
        Refused(Refusal::Origin),
        Refused(Refusal::NotFound),
        Refused(Refusal::Method),
        Refused(Refusal::Timeout),
        Refused(Refusal::PlainHttp),
        Refused(Refusal::NoUpgrade),
        Refused(Refusal::Range),
        Refused(Refusal::PerAddress),
        Refused(Refusal::HeadTooLarge),
        Refused(Refusal::Full),
        Refused(Refusal::Busy),
        Stopping,
        ProtocolError,
        NotUtf8,
        TooLong,
        Kicked,
        WrongSecrets,
        Silent,
        SlowReader,
        SlowMaster,
        Memory,
        NotMaster,
        Tls,
        TlsOnPlain,
        Displaced,
        Dropped,
    ];

    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Left => "left",
            Self::Answered => "answered",
            Self::Redirected => "redirected",
            Self::Refused(refusal) => refusal.word(),
            Self::Stopping => "stopping",
            Self::ProtocolError => "protocol_error",
            Self::NotUtf8 => "not_utf8",
            Self::TooLong => "too_long",
            Self::Kicked => "kicked",
            Self::WrongSecrets => "wrong_secrets",
            Self::Silent => "silent",
            Self::SlowReader => "slow_reader",
            Self::SlowMaster => "slow_master",
            Self::Memory => "memory",
            Self::NotMaster => "not_master",
            Self::Tls => "tls",
            Self::TlsOnPlain => "tls_on_plain",
            Self::Displaced => "displaced",
            Self::Dropped => "dropped",
        }
    }

    /// The code of the Close frame (RFC 6455, section 7.4.1) or the status of the HTTP
    /// answer with which moss ends the connection; 0 if it sends neither.
    pub fn code(self) -> u16 {
        match self {
            Self::Left | Self::Tls | Self::TlsOnPlain | Self::Displaced | Self::Dropped => 0,
            Self::Answered => 200,
            Self::Redirected => 307,
            Self::Refused(refusal) => refusal.status(),
            Self::Stopping => 1001,
            Self::ProtocolError => 1002,
            Self::NotUtf8 => 1007,
            Self::Kicked | Self::WrongSecrets => 1008,
            Self::TooLong => 1009,
            Self::Silent => 1011,
            Self::SlowReader | Self::SlowMaster | Self::Memory | Self::NotMaster => 1013,
        }
    }

    /// The reason in the Close frame, for people.
    pub fn text(self) -> &'static str {
        match self {
            Self::Left
            | Self::Answered
            | Self::Redirected
            | Self::Refused(_)
            | Self::Tls
            | Self::TlsOnPlain
            | Self::Displaced
            | Self::Dropped
            | Self::Kicked => "",
            Self::Stopping => "moss is stopping",
            Self::ProtocolError => "protocol error",
            Self::NotUtf8 => "text is not UTF-8",
            Self::TooLong => "packet too long",
            Self::WrongSecrets => "too many wrong secrets",
            Self::Silent => "no sign of life",
            Self::SlowReader | Self::SlowMaster => "reads too slowly",
            Self::Memory => "too much is held for it",
            Self::NotMaster => "moss is full",
        }
    }

    /// Whether moss rejected the connection: it refused the request, or never read one.
    pub fn is_rejection(self) -> bool {
        matches!(self, Self::Refused(_) | Self::Tls | Self::TlsOnPlain | Self::Dropped)
    }

    /// The level of its line in the log: a warning if an operator should look into it, debug if
    /// it is what peers normally do.
    pub fn level(self) -> Level {
        match self {
            Self::Left
            | Self::Answered
            | Self::Redirected
            | Self::Stopping
            | Self::TlsOnPlain
            | Self::Dropped => Level::Debug,
            Self::Refused(
                Refusal::NotFound | Refusal::Method | Refusal::Range | Refusal::NoUpgrade,
            ) => Level::Debug,
            Self::WrongSecrets | Self::SlowMaster | Self::Memory | Self::NotMaster => Level::Warn,
            Self::Refused(Refusal::Full) => Level::Warn,
            _ => Level::Info,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn each_ending_has_a_word_of_its_own() {
        let words: HashSet<&str> = Ending::ALL.iter().map(|ending| ending.word()).collect();
        assert_eq!(words.len(), Ending::ALL.len());
    }
}
