//! Fuzz target: a message is read by moss, and by a plain parser of the grammar of RFC 8259 and
//! the rules of the envelope. Both must agree.
//!
//! (A `serde_json::Value` can't be that parser: it drops duplicate keys, and refuses numbers and
//! depths that moss passes on. If it can parse a text, it must agree, too.)

use moss::protocol::packet::{Claim, EMPTY_PAYLOAD, Outgoing, Packet, parse_id};
use serde_json::Value;

/// Panics if moss reads `data` wrongly.
pub(crate) fn check(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let envelope = envelope(text);
    let packet = Packet::parse(text).ok();
    assert_eq!(
        packet.as_ref().map(|packet| (packet.kind.as_ref(), packet.kind_json, packet.id)),
        envelope.as_ref().map(|read| (read.kind.as_str(), read.kind_json, read.id)),
    );
    let (Some(packet), Some(envelope)) = (packet, envelope) else { return };
    match envelope.payload {
        // Not only equal: the same bytes in memory.
        Some(payload) => assert!(std::ptr::eq(packet.payload, payload)),
        None => assert_eq!(packet.payload, EMPTY_PAYLOAD),
    }
    if let Some(id) = packet.id {
        check_id(id);
    }
    check_claim(packet.payload);
    check_written(&packet);
    if let Ok(value) = serde_json::from_str::<Value>(text) {
        assert_eq!(value["type"], packet.kind.as_ref());
        let payload: Value = serde_json::from_str(packet.payload).expect("part of a value");
        assert_eq!(value.get("payload").unwrap_or(&Value::from("")), &payload);
    }
}

/// An id is valid if and only if moss would write it this way.
fn check_id(id: &str) {
    let number = id.trim_matches('"').parse::<u64>().ok();
    assert_eq!(parse_id(id), number.filter(|number| id == format!("\"{number}\"")));
}

fn check_claim(payload: &str) {
    let expected = members(payload).and_then(|members| {
        let secret = text_of(only(&members, "secret")??)?;
        Some((only(&members, "sdp")?.unwrap_or("{}"), secret))
    });
    let claim = Claim::parse(payload).ok();
    assert_eq!(
        claim.as_ref().map(|claim| (claim.sdp, claim.secret.as_ref())),
        expected.as_ref().map(|(sdp, secret)| (*sdp, secret.as_str())),
    );
}

/// What is passed on has the computed length, and parses as the same packet.
fn check_written(packet: &Packet<'_>) {
    let sent = Outgoing { kind: packet.kind_json, payload: packet.payload, sender: Some("7") };
    let mut text = Vec::new();
    sent.write(&mut text);
    assert_eq!(text.len(), sent.encoded_len());
    let text = String::from_utf8(text).expect("made of text");
    let received = Packet::parse(&text).expect("made of a packet");
    assert_eq!(
        (received.kind_json, received.payload, received.id),
        (packet.kind_json, packet.payload, Some("\"7\"")),
    );
}

struct Envelope<'a> {
    kind: String,
    kind_json: &'a str,
    payload: Option<&'a str>,
    id: Option<&'a str>,
}

fn envelope(text: &str) -> Option<Envelope<'_>> {
    let members = members(text)?;
    let kind_json = only(&members, "type")??;
    Some(Envelope {
        kind: text_of(kind_json)?,
        kind_json,
        payload: only(&members, "payload")?,
        id: only(&members, "id")?,
    })
}

/// The value of a key that may be there once; `None` if it is there twice.
fn only<'a>(members: &[(String, &'a str)], key: &str) -> Option<Option<&'a str>> {
    let mut values = members.iter().filter(|(name, _)| name == key).map(|(_, value)| *value);
    let first = values.next();
    values.next().is_none().then_some(first)
}

/// The text of a JSON string; `None` if it has half a surrogate pair.
fn text_of(json: &str) -> Option<String> {
    serde_json::from_str(json).ok()
}

/// The members of a JSON object, with verbatim values; `None` if `text` is not one.
fn members(text: &str) -> Option<Vec<(String, &str)>> {
    let mut json = Json { rest: text };
    let mut members = Vec::new();
    json.space();
    json.list("{", "}", |json| {
        let (key, value) = json.member()?;
        members.push((text_of(key)?, value));
        Some(())
    })?;
    json.space();
    json.rest.is_empty().then_some(members)
}

/// The grammar of RFC 8259, one function for each rule. Each consumes its part of the input, or
/// returns `None`.
struct Json<'a> {
    rest: &'a str,
}

impl<'a> Json<'a> {
    fn eat(&mut self, token: &str) -> Option<()> {
        self.rest = self.rest.strip_prefix(token)?;
        Some(())
    }

    fn eat_while(&mut self, wanted: impl Fn(char) -> bool) -> usize {
        let rest = self.rest.trim_start_matches(wanted);
        let eaten = self.rest.len() - rest.len();
        self.rest = rest;
        eaten
    }

    fn space(&mut self) {
        self.eat_while(|sign| " \t\n\r".contains(sign));
    }

    fn value(&mut self) -> Option<&'a str> {
        let before = self.rest;
        match before.chars().next()? {
            '{' => self.list("{", "}", |json| json.member().map(drop))?,
            '[' => self.list("[", "]", |json| json.value().map(drop))?,
            '"' => drop(self.string()?),
            't' => self.eat("true")?,
            'f' => self.eat("false")?,
            'n' => self.eat("null")?,
            _ => self.number()?,
        }
        Some(&before[..before.len() - self.rest.len()])
    }

    fn list(
        &mut self,
        open: &str,
        close: &str,
        mut item: impl FnMut(&mut Self) -> Option<()>,
    ) -> Option<()> {
        self.eat(open)?;
        self.space();
        if self.eat(close).is_some() {
            return Some(());
        }
        loop {
            item(self)?;
            self.space();
            if self.eat(close).is_some() {
                return Some(());
            }
            self.eat(",")?;
            self.space();
        }
    }

    fn member(&mut self) -> Option<(&'a str, &'a str)> {
        let key = self.string()?;
        self.space();
        self.eat(":")?;
        self.space();
        Some((key, self.value()?))
    }

    fn string(&mut self) -> Option<&'a str> {
        let before = self.rest;
        self.eat("\"")?;
        loop {
            self.eat_while(|sign| sign >= ' ' && sign != '"' && sign != '\\');
            if self.eat("\"").is_some() {
                return Some(&before[..before.len() - self.rest.len()]);
            }
            self.eat("\\")?;
            if self.eat("u").is_some() {
                let digits = self.rest.get(..4)?;
                digits.bytes().all(|byte| byte.is_ascii_hexdigit()).then_some(())?;
                self.rest = &self.rest[4..];
            } else {
                self.rest = self.rest.strip_prefix(|sign| "\"\\/bfnrt".contains(sign))?;
            }
        }
    }

    fn number(&mut self) -> Option<()> {
        let _ = self.eat("-");
        if self.eat("0").is_none() {
            self.digits()?;
        }
        if self.eat(".").is_some() {
            self.digits()?;
        }
        if self.eat("e").or_else(|| self.eat("E")).is_some() {
            let _ = self.eat("+").or_else(|| self.eat("-"));
            self.digits()?;
        }
        Some(())
    }

    fn digits(&mut self) -> Option<()> {
        (self.eat_while(|sign| sign.is_ascii_digit()) > 0).then_some(())
    }
}
