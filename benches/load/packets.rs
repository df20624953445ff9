//! The packets that the benches send and expect.
//!
//! They are compact, have their keys in moss's order and their client's number at a fixed place,
//! so that neither the load generator nor the bare relay has to parse them.

pub(crate) const SECRET: &str = "sixteen-or-more-characters";
pub(crate) const OFFER_TYPE: &str = "offer";

pub(crate) const OFFER_HEAD: &[u8] = b"{\"type\":\"offer\",\"payload\":";
pub(crate) const SET_MASTER_HEAD: &[u8] = b"{\"type\":\"set-master\",\"payload\":{\"sdp\":";
pub(crate) const CONFIRMATION: &[u8] = b"{\"type\":\"master-confirmation\",\"payload\":\"\"}";
pub(crate) const LOGIN: &[u8] = b"{\"type\":\"login\"}";
pub(crate) const PONG: &[u8] = b"{\"type\":\"pong\",\"payload\":\"\"}";

const CANDIDATE_HEAD: &str = "{\"type\":\"candidate\",\"payload\":{\"candidate\":\"candidate:";
/// Makes the shortest candidate 200 bytes long.
const CANDIDATE_TAIL: &str = " 1 udp 2122260223 192.168.123.234 51234 typ host generation 0 \
    ufrag kJ2xZq\",\"sdpMid\":\"0\",\"sdpMLineIndex\":0,\"usernameFragment\":\"kJ2xZq\"";
/// A candidate's foundation is its client's number plus this, so that all have the same length.
const FOUNDATION: usize = 1_000_000_000;
const FOUNDATION_DIGITS: usize = 10;

/// The number of bytes after the session description in a `set-master`.
pub(crate) const fn set_master_tail() -> usize {
    b",\"secret\":\"\"}}".len() + SECRET.len()
}

/// A candidate of `client`, `bytes` long without an id; a session description fills it up.
pub(crate) fn candidate(client: usize, bytes: usize) -> Vec<u8> {
    let foundation = FOUNDATION + client;
    let mut text = format!("{CANDIDATE_HEAD}{foundation}{CANDIDATE_TAIL}").into_bytes();
    if text.len() + b",\"sdp\":\"\"}}".len() <= bytes {
        text.extend_from_slice(b",\"sdp\":\"");
        fill(&mut text, bytes - b"\"}}".len());
        text.push(b'"');
    }
    text.extend_from_slice(b"}}");
    text
}

/// `text`, which is a packet without an id, with `id`.
pub(crate) fn with_id(text: &[u8], id: &[u8]) -> Vec<u8> {
    [&text[..text.len() - 1], b",\"id\":\"", id, b"\"}"].concat()
}

/// The client whose candidate this is, with or without an id.
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

/// Appends lines of a session description, escaped for JSON, until `text` has `bytes`.
fn fill(text: &mut Vec<u8>, bytes: usize) {
    for line in SESSION_DESCRIPTION.lines().cycle() {
        if text.len() + line.len() + ESCAPED_LINE_END.len() > bytes {
            break;
        }
        text.extend_from_slice(line.as_bytes());
        text.extend_from_slice(ESCAPED_LINE_END);
    }
    text.resize(text.len().max(bytes), b'-');
}

const ESCAPED_LINE_END: &[u8] = b"\\r\\n";

/// A browser's offer of audio, video and a data channel, abridged.
const SESSION_DESCRIPTION: &str = "\
o=- 4611731400430051336 2 IN IP4 127.0.0.1
s=-
t=0 0
a=group:BUNDLE 0 1 2
a=extmap-allow-mixed
a=msid-semantic: WMS 6c1f1d0e-7a54-4f0b-9c3f-2b8f5f9f3a11
m=audio 9 UDP/TLS/RTP/SAVPF 111 63 9 0 8 13 110 126
c=IN IP4 0.0.0.0
a=rtcp:9 IN IP4 0.0.0.0
a=ice-ufrag:kJ2x
a=ice-pwd:0cX4nV1s9oP6wQzL3bR8yT5u
a=ice-options:trickle
a=fingerprint:sha-256 4A:AD:B9:B1:3F:82:18:3B:54:02:12:DF:3E:5D:49:6B:19:E5:7C:AB:3C:2A:5F:7D:11:8E:36:9C:0A:E4:77:21
a=setup:actpass
a=mid:0
a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level
a=extmap:2 http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time
a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid
a=sendrecv
a=msid:6c1f1d0e-7a54-4f0b-9c3f-2b8f5f9f3a11 0b3a9d86-52c1-4c38-8f4e-d1e7f0d5b2aa
a=rtcp-mux
a=rtpmap:111 opus/48000/2
a=rtcp-fb:111 transport-cc
a=fmtp:111 minptime=10;useinbandfec=1
m=video 9 UDP/TLS/RTP/SAVPF 96 97 102 103
a=rtcp-rsize
a=rtpmap:96 VP8/90000
a=rtcp-fb:96 goog-remb
a=rtcp-fb:96 ccm fir
a=rtcp-fb:96 nack pli
a=rtpmap:97 rtx/90000
a=fmtp:97 apt=96
a=fmtp:102 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42001f
a=ssrc-group:FID 2231627014 632943048
a=ssrc:2231627014 cname:4TOk42mSjXCkVIa6
m=application 9 UDP/DTLS/SCTP webrtc-datachannel
a=sctp-port:5000
a=max-message-size:262144
";
