//! The JSON envelope of moss's packets: parse it, write it, and nothing more.
//!
//! A packet is one JSON object with `type`, `payload` and `id`, each at most once;
//! other keys are ignored and not passed on. The payload is never interpreted: it is
//! passed on as the very bytes that came, so white space, the order of keys, the spelling of
//! numbers, escapes and duplicate keys in it are kept.
//!
//! Nothing here knows the sender or the receiver. What a packet causes is decided in
//! [`relay`](crate::protocol::relay).

use std::borrow::Cow;

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::protocol::envelope::{self, Envelope};

/// The empty string: stands for a payload that is absent, and is the payload of moss's own
/// packets that have none.
pub const EMPTY_PAYLOAD: &str = "\"\"";

/// A packet as it was received. Everything borrows from the message.
#[derive(Debug)]
pub struct Packet<'a> {
    /// The type, unescaped, for comparing.
    pub kind: Cow<'a, str>,
    /// The type as its sender spelled it: a JSON string, quotes included.
    pub kind_json: &'a str,
    /// The payload: any JSON value, verbatim.
    pub payload: &'a str,
    /// The value of `id`, verbatim, if there was one.
    pub id: Option<&'a str>,
}

/// A packet to be sent. All parts are JSON already.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    /// A JSON string, quotes included.
    pub kind: &'a str,
    /// Any JSON value.
    pub payload: &'a str,
    /// The id of the client that a packet to the master came from.
    pub sender: Option<&'a str>,
}

/// The payload of `set-master`.
#[derive(Debug)]
pub struct Claim<'a> {
    /// The offer for every client, verbatim JSON; `{}` if absent.
    pub sdp: &'a str,
    /// The secret that the sender gives, right or wrong, unescaped.
    pub secret: Cow<'a, str>,
}

/// The payload of `login`, where a login needs a secret.
#[derive(Debug)]
pub struct Login<'a> {
    /// The secret that the sender gives, right or wrong, unescaped.
    pub secret: Cow<'a, str>,
}

/// The error codes that moss sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorCode {
    /// Not a JSON object, no `type`, or a key that has the wrong kind of value or occurs
    /// twice.
    InvalidPacket,
    /// The payload of `set-master` is not an object with a `secret` string.
    InvalidSetMaster,
    /// The secret does not match, or a `login` that needs one has none.
    WrongSecret,
    /// A guest sent a packet for the master.
    NotLoggedIn,
    /// A client sent a packet for the master while there is none.
    NoMaster,
    /// A packet of the master has no `id`.
    MissingId,
    /// The `id` in a packet of the master is not that of a client.
    UnknownClient,
    /// The master sent `login`.
    MasterCannotLogin,
    /// Another connection has become master.
    Replaced,
}

/// The text is not a packet. The reason is not kept: an error message of serde_json may quote
/// the text, and a payload must never reach the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Invalid;

impl<'a> Packet<'a> {
    /// Reads a message.
    ///
    /// # Errors
    /// [`Invalid`] if it is not a JSON object, has no `type`, or has one of the three keys
    /// twice or with a value of the wrong kind. Whether `id` is a string is left to the
    /// caller, since only the master's matters.
    pub fn parse(text: &'a str) -> Result<Self, Invalid> {
        if let Some(Envelope { kind: Some(kind), payload, id }) = envelope::find(text) {
            return Ok(Self {
                kind: Cow::Borrowed(&kind[1..kind.len() - 1]),
                kind_json: kind,
                payload: payload.unwrap_or(EMPTY_PAYLOAD),
                id,
            });
        }
        Self::parse_thoroughly(text)
    }

    /// Like [`parse`](Self::parse), but by serde_json alone; tests compare the two.
    ///
    /// # Errors
    /// Those of [`parse`](Self::parse).
    pub fn parse_thoroughly(text: &'a str) -> Result<Self, Invalid> {
        let envelope: RawEnvelope<'a> = parse_object(text)?;
        let kind_json = envelope.kind.get();
        Ok(Self {
            kind: unquote(kind_json).ok_or(Invalid)?,
            kind_json,
            payload: envelope.payload.map_or(EMPTY_PAYLOAD, RawValue::get),
            id: envelope.id.map(RawValue::get),
        })
    }
}

impl Outgoing<'_> {
    /// The packet's length in bytes, exactly as [`write`](Self::write) writes it.
    pub fn encoded_len(&self) -> usize {
        let id = self.sender.map_or(0, |id| ID.len() + id.len() + 1);
        TYPE.len() + self.kind.len() + PAYLOAD.len() + self.payload.len() + id + 1
    }

    /// Appends the packet's text.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(TYPE);
        out.extend_from_slice(self.kind.as_bytes());
        out.extend_from_slice(PAYLOAD);
        out.extend_from_slice(self.payload.as_bytes());
        if let Some(id) = self.sender {
            out.extend_from_slice(ID);
            out.extend_from_slice(id.as_bytes());
            out.push(b'"');
        }
        out.push(b'}');
    }
}

impl<'a> Claim<'a> {
    /// Reads the payload of a `set-master`.
    ///
    /// # Errors
    /// [`Invalid`] unless it is an object with a `secret` string.
    pub fn parse(payload: &'a str) -> Result<Self, Invalid> {
        let claim: RawClaim<'a> = parse_object(payload)?;
        Ok(Self { sdp: claim.sdp.map_or("{}", RawValue::get), secret: claim.secret })
    }
}

impl<'a> Login<'a> {
    /// Reads the payload of a `login`.
    ///
    /// # Errors
    /// [`Invalid`] unless it is an object with a `secret` string.
    pub fn parse(payload: &'a str) -> Result<Self, Invalid> {
        let login: RawLogin<'a> = parse_object(payload)?;
        Ok(Self { secret: login.secret })
    }
}

impl ErrorCode {
    /// Every code, in the order in which they are declared.
    pub const ALL: [Self; 9] = all![
        InvalidPacket,
        InvalidSetMaster,
        WrongSecret,
        NotLoggedIn,
        NoMaster,
        MissingId,
        UnknownClient,
        MasterCannotLogin,
        Replaced,
    ];

    /// The stable name that programs compare.
    pub fn code(self) -> &'static str {
        match self {
            Self::InvalidPacket => "invalid-packet",
            Self::InvalidSetMaster => "invalid-set-master",
            Self::WrongSecret => "wrong-secret",
            Self::NotLoggedIn => "not-logged-in",
            Self::NoMaster => "no-master",
            Self::MissingId => "missing-id",
            Self::UnknownClient => "unknown-client",
            Self::MasterCannotLogin => "master-cannot-login",
            Self::Replaced => "replaced",
        }
    }

    /// A message for people, without characters that JSON has to escape.
    fn message(self) -> &'static str {
        match self {
            Self::InvalidPacket => {
                "not a packet: one JSON object with a string 'type', 'payload' and 'id' at most once each"
            }
            Self::InvalidSetMaster => {
                "the payload of set-master must be an object with a 'secret' string"
            }
            Self::WrongSecret => "the secret does not match",
            Self::NotLoggedIn => "send a packet of type 'login' first",
            Self::NoMaster => "there is no master now; its offer will come when there is one",
            Self::MissingId => "a packet from the master must name its client in 'id'",
            Self::UnknownClient => "no client with this id is here",
            Self::MasterCannotLogin => "the master can't log in as a client",
            Self::Replaced => "another master has taken over; do not reconnect",
        }
    }

    /// The payload of the error packet; `about` is the id that the failed packet named, as
    /// JSON.
    pub fn payload(self, about: Option<&str>) -> String {
        let id = about.map_or(String::new(), |id| format!(",\"id\":{id}"));
        format!("{{\"code\":\"{}\",\"message\":\"{}\"{id}}}", self.code(), self.message())
    }
}

/// The client id in a verbatim `id`. Only the exact spelling that moss writes is accepted: a
/// string without sign, leading zero or escape.
pub fn parse_id(json: &str) -> Option<u64> {
    let digits = json.strip_prefix('"')?.strip_suffix('"')?;
    if digits.is_empty() || (digits.starts_with('0') && digits != "0") {
        return None;
    }
    digits.bytes().try_fold(0_u64, |id, byte| {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        id.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

/// The text of a JSON string. `None` if `json` is another kind of value, or has an escape that
/// is not a character, such as a lone surrogate.
pub fn unquote(json: &str) -> Option<Cow<'_, str>> {
    let inner = json.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') {
        serde_json::from_str(json).ok().map(Cow::Owned)
    } else {
        Some(Cow::Borrowed(inner))
    }
}

const TYPE: &[u8] = b"{\"type\":";
const PAYLOAD: &[u8] = b",\"payload\":";
const ID: &[u8] = b",\"id\":\"";

#[derive(Deserialize)]
struct RawEnvelope<'a> {
    #[serde(borrow, rename = "type")]
    kind: &'a RawValue,
    #[serde(borrow, default, deserialize_with = "present")]
    payload: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    id: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct RawClaim<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    sdp: Option<&'a RawValue>,
    #[serde(borrow)]
    secret: Cow<'a, str>,
}

#[derive(Deserialize)]
struct RawLogin<'a> {
    #[serde(borrow)]
    secret: Cow<'a, str>,
}

/// Tells a value of `null` from a missing key: serde's own `Option` would make `None` of both,
/// and a payload of `null` would be lost.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// serde_json also accepts an array for a struct, with its elements as the fields in order;
/// the protocol demands an object.
fn parse_object<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, Invalid> {
    if !text.trim_ascii_start().starts_with('{') {
        return Err(Invalid);
    }
    serde_json::from_str(text).map_err(|_| Invalid)
}
