//! WebSocket frames (RFC 6455 section 5.2), as far as the benches need them: no fragments, and
//! nothing is checked.

pub(crate) const TEXT: u8 = 1;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;

const FINAL: u8 = 0x80;
const MASKED: u8 = 0x80;
/// A client should draw a new key for each frame; a load generator need not.
const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

pub(crate) struct Head {
    pub(crate) opcode: u8,
    pub(crate) mask: [u8; 4],
    /// Bytes of the head itself, the mask included.
    pub(crate) bytes: usize,
    /// Bytes of the payload.
    pub(crate) payload: usize,
}

/// The head of the frame that begins here; `None` while it is incomplete.
pub(crate) fn head(bytes: &[u8]) -> Option<Head> {
    let [first, second, rest @ ..] = bytes else {
        return None;
    };
    let (extended, payload) = match second & 0x7f {
        126 => (2, u16::from_be_bytes(*rest.first_chunk()?).into()),
        127 => (8, u64::from_be_bytes(*rest.first_chunk()?) as usize),
        short => (0, short.into()),
    };
    let (mask, mask_bytes) =
        if second & MASKED == 0 { ([0; 4], 0) } else { (*rest.get(extended..)?.first_chunk()?, 4) };
    Some(Head { opcode: first & 0x0f, mask, bytes: 2 + extended + mask_bytes, payload })
}

/// Appends a frame as a server sends it.
pub(crate) fn append(queue: &mut Vec<u8>, opcode: u8, parts: &[&[u8]]) {
    let length = parts.iter().map(|part| part.len()).sum::<usize>();
    queue.reserve(length + 10);
    append_head(queue, opcode, 0, length);
    for part in parts {
        queue.extend_from_slice(part);
    }
}

/// A frame as a client sends it.
pub(crate) fn masked(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(payload.len() + 14);
    append_head(&mut frame, opcode, MASKED, payload.len());
    frame.extend_from_slice(&KEY);
    let start = frame.len();
    frame.extend_from_slice(payload);
    mask(&mut frame[start..], KEY);
    frame
}

pub(crate) fn mask(payload: &mut [u8], key: [u8; 4]) {
    let word = u32::from_ne_bytes(key);
    let (words, rest) = payload.as_chunks_mut::<4>();
    for chunk in words {
        *chunk = (u32::from_ne_bytes(*chunk) ^ word).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(key) {
        *byte ^= key;
    }
}

fn append_head(queue: &mut Vec<u8>, opcode: u8, masked: u8, length: usize) {
    let first = FINAL | opcode;
    match length {
        0..126 => queue.extend_from_slice(&[first, masked | length as u8]),
        126..0x1_0000 => {
            let [high, low] = (length as u16).to_be_bytes();
            queue.extend_from_slice(&[first, masked | 126, high, low]);
        }
        _ => {
            queue.extend_from_slice(&[first, masked | 127]);
            queue.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
}
