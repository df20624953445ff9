//! Packets whose text follows from their number, so that they can be compared without being kept.

/// A client's packet.
pub(crate) fn to_master(link: usize, number: u64, padding: usize) -> String {
    format!("{{\"c\":{link},\"n\":{number},\"x\":{}}}", pad(link as u64, number, padding))
}

/// A master's packet.
pub(crate) fn to_client(claim: u64, client: usize, number: u64, padding: usize) -> String {
    format!(
        "{{\"k\":{claim},\"to\":{client},\"n\":{number},\"x\":{}}}",
        pad(claim ^ (client as u64) << 32, number, padding)
    )
}

/// An offer.
pub(crate) fn offer(claim: u64, padding: usize) -> String {
    format!("{{\"k\":{claim},\"x\":{}}}", pad(claim, 0, padding))
}

/// A JSON value of a length and spelling that follow from these numbers.
fn pad(one: u64, other: u64, most: usize) -> String {
    let mixed =
        (one.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ other).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = mixed ^ mixed >> 29;
    let len = if most < 8 { 0 } else { (mixed % (most as u64 - 7)) as usize };
    match mixed >> 61 {
        0 => format!("[ 2e0 ,{}]", "1".repeat(len.max(9) - 8)),
        1 => format!("\"\\u0041{}\"", "é".repeat(len / 2)),
        _ => format!("\"{}\"", "a".repeat(len)),
    }
}

/// The number after a key.
pub(super) fn field(text: &str, key: &str) -> u64 {
    let at = text.find(key).unwrap_or_else(|| panic!("no {key} in {text}")) + key.len();
    let digits = text[at..].bytes().take_while(u8::is_ascii_digit).count();
    text[at..at + digits].parse().expect("a number")
}
