//! The packets that the benches send, and those that they expect.
//!
//! Their texts are compact, in moss's key order, and carry their client's
//! number at a fixed place, so that neither the load generator nor the bare
//! relay has to parse them.

pub(crate) const SECRET: &str = "sixteen-or-more-characters";
pub(crate) const OFFER_TYPE: &str = "offer";

pub(crate) const OFFER_HEAD: &[u8] = b"{\"type\":\"offer\",\"payload\":";
pub(crate) const SET_MASTER_HEAD: &[u8] = b"{\"type\":\"set-master\",\"payload\":{\"sdp\":";
pub(crate) const CONFIRMATION: &[u8] = b"{\"type\":\"master-confirmation\",\"payload\":\"\"}";
pub(crate) const LOGIN: &[u8] = b"{\"type\":\"login\"}";
pub(crate) const PONG: &[u8] = b"{\"type\":\"pong\",\"payload\":\"\"}";

const CANDIDATE_HEAD: &str = "{\"type\":\"candidate\",\"payload\":{\"candidate\":\"candidate:";
/// A candidate's foundation may be any number; ours are all of one length.
const FOUNDATION: usize = 1_000_000_000;
const FOUNDATION_DIGITS: usize = 10;

/// The number of bytes after the session description in a `set-master`.
pub(crate) const fn set_master_tail() -> usize {
    b",\"secret\":\"\"}}".len() + SECRET.len()
}

/// A candidate of `client`, `bytes` long as it leaves the client.
pub(crate) fn candidate(client: usize, bytes: usize) -> Vec<u8> {
    let mut text = format!(
        "{CANDIDATE_HEAD}{} 1 udp 1677729535 203.0.113.7 51234 typ srflx\",\"sdpMid\":\"0\",\"pad\":\"",
        FOUNDATION + client
    )
    .into_bytes();
    fill(&mut text, bytes.saturating_sub(b"\"}}".len()));
    text.extend_from_slice(b"\"}}");
    text
}

/// `text`, a packet without an id, with one.
pub(crate) fn with_id(text: &[u8], id: &[u8]) -> Vec<u8> {
    [&text[..text.len() - 1], b",\"id\":\"", id, b"\"}"].concat()
}

/// The client that a candidate, with or without an id, belongs to.
pub(crate) fn client_of(candidate: &[u8]) -> Option<usize> {
    candidate
        .get(CANDIDATE_HEAD.len()..CANDIDATE_HEAD.len() + FOUNDATION_DIGITS)?
        .iter()
        .fold(0, |number, digit| number * 10 + usize::from(digit.wrapping_sub(b'0')))
        .checked_sub(FOUNDATION)
}

/// The id at the end of a packet to the master.
pub(crate) fn id_of(text: &[u8]) -> Option<&[u8]> {
    let text = text.strip_suffix(b"\"}")?;
    let digits = text.iter().rev().take_while(|byte| byte.is_ascii_digit());
    Some(&text[text.len() - digits.count()..])
}

/// A session description of `bytes`, as JSON.
pub(crate) fn description(bytes: usize) -> Vec<u8> {
    let mut json = b"{\"type\":\"offer\",\"sdp\":\"v=0\\r\\n".to_vec();
    fill(&mut json, bytes.saturating_sub(b"\"}".len()));
    json.extend_from_slice(b"\"}");
    json
}

pub(crate) fn set_master(description: &[u8]) -> Vec<u8> {
    [SET_MASTER_HEAD, description, b",\"secret\":\"", SECRET.as_bytes(), b"\"}}"].concat()
}

pub(crate) fn offer(description: &[u8]) -> Vec<u8> {
    [OFFER_HEAD, description, b"}"].concat()
}

/// Lines like those of a session description, escapes and all, up to `bytes`.
fn fill(text: &mut Vec<u8>, bytes: usize) {
    const LINE: &[u8] = b"a=rtpmap:96 VP8/90000\\r\\n";
    while text.len() + LINE.len() <= bytes {
        text.extend_from_slice(LINE);
    }
    text.resize(text.len().max(bytes), b'-');
}
