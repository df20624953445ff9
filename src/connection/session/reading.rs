//! Reads events from received bytes: request heads, then frames.

use std::time::Instant;

use tungstenite::Error;
use tungstenite::protocol::frame::coding::Data;

use super::{Event, Proxied, Session};
use crate::connection::ending::Ending;
use crate::connection::frames::{Fragments, Header, Progress, is_control, unmask};
use crate::connection::input::Input;
use crate::http::answer::Refusal;
use crate::http::forwarded::read_requester;
use crate::http::head::{self, Head};
use crate::http::pages::Pages;
use crate::http::redirect;
use crate::settings::config::Config;
use crate::tls;

/// The longest payload of a control frame (RFC 6455, section 5.5).
const MOST_CONTROL_BYTES: usize = 125;

impl Session {
    /// The next event of a request head. Never inlined: it needs a large stack frame, and
    /// packets take the same path.
    #[cold]
    #[inline(never)]
    pub(super) fn next_head<'i>(
        &mut self,
        input: &mut Input<'_>,
        config: &Config,
        pages: Option<&Pages>,
        now: Instant,
    ) -> Option<Event<'i>> {
        if self.is_busy() {
            return None;
        }
        if self.proxied == Proxied::Due {
            let requester = read_requester(input.rest(), &config.trusted_proxies)?;
            self.proxied = Proxied::Told;
            return Some(Event::Requester(requester));
        }
        let head = if tls::AVAILABLE && self.lacks_tls {
            redirect::read_head(input.rest())
        } else {
            head::read_head(input.rest(), config, pages)
        };
        match head {
            Head::Incomplete => None,
            Head::Redirect(answer) => {
                self.answer(&answer, Ending::Redirected, now);
                Some(Event::Handled)
            }
            Head::Tls if self.is_kept() => {
                self.refuse(Refusal::BadRequest, now);
                Some(Event::Handled)
            }
            Head::Tls => {
                self.drop_now(Ending::TlsOnPlain, now);
                Some(Event::Handled)
            }
            Head::Upgrade { len, response } => {
                input.take(len);
                Some(Event::Upgrade(response))
            }
            Head::Report { report, len, is_head, after } => {
                input.take(len);
                Some(Event::Report { report, is_head, after })
            }
            Head::Answered { len, answer } => {
                input.take(len);
                Some(Event::Answered(Box::new(answer)))
            }
            Head::Refused { refusal, answer } => {
                self.answer(&answer, Ending::Refused(refusal), now);
                Some(Event::Handled)
            }
        }
    }

    /// The next event of a frame.
    pub(super) fn next_frame<'i>(
        &mut self,
        input: &'i mut Input<'_>,
        max_bytes: usize,
        now: Instant,
    ) -> Option<Event<'i>> {
        let rest = input.rest();
        let header = match Header::parse(rest) {
            Ok(Some(header)) => header,
            Ok(None) => return None,
            Err(error) => return Some(self.violation(&error, now)),
        };
        let (most, otherwise) = match header.whole {
            None if is_control(rest[0]) => (MOST_CONTROL_BYTES, Ending::ProtocolError),
            _ => (max_bytes - self.fragments_len(), Ending::TooLong),
        };
        let payload_len = match usize::try_from(header.payload_len) {
            Ok(len) if len <= most => len,
            // Decided from the header alone: the payload may never come.
            _ => {
                self.close(otherwise, now);
                return Some(Event::Handled);
            }
        };
        if rest.len() - header.len < payload_len {
            return None;
        }
        let frame = input.take(header.len + payload_len);
        match header.whole {
            Some((data, mask)) if self.fragments_held() == 0 => {
                self.since = now;
                let payload = &mut frame[header.len..];
                unmask(payload, mask);
                let payload = &*payload;
                if data == Data::Binary {
                    return Some(Event::Binary(payload.into()));
                }
                match str::from_utf8(payload) {
                    Ok(text) => Some(Event::Text(text.into())),
                    Err(_) => {
                        self.close(Ending::NotUtf8, now);
                        Some(Event::Handled)
                    }
                }
            }
            // Control frames, fragments, and whatever breaks a rule.
            _ => Some(self.other_frame(frame, header.len, max_bytes, now)),
        }
    }

    /// Reads a control frame, a fragment, or what breaks a rule.
    fn other_frame<'i>(
        &mut self,
        frame: &mut [u8],
        header_len: usize,
        max_bytes: usize,
        now: Instant,
    ) -> Event<'i> {
        let earlier = self.partial.as_mut().and_then(|partial| partial.fragments.take());
        let begun = earlier.is_some();
        let mut fragments = earlier.unwrap_or_else(|| Fragments::new(max_bytes));
        let progress = fragments.read(frame, header_len, &mut self.backlog);
        if matches!(progress, Ok(Progress::Fragment))
            || (begun && matches!(progress, Ok(Progress::Control)))
        {
            self.partial.get_or_insert_default().fragments = Some(fragments);
        } else {
            self.since = now;
        }
        match progress {
            Ok(Progress::Text(text)) => return Event::Text(text.into()),
            Ok(Progress::Binary(bytes)) => return Event::Binary(bytes.into()),
            Ok(Progress::Fragment | Progress::Control) => {}
            Ok(Progress::Closed) => self.end(Ending::Left, now),
            Err(error) => return self.violation(&error, now),
        }
        Event::Handled
    }

    /// The peer broke a rule of RFC 6455: fail the connection (section 7.1.7).
    fn violation<'i>(&mut self, error: &Error, now: Instant) -> Event<'i> {
        match error {
            Error::Utf8(_) => self.close(Ending::NotUtf8, now),
            Error::Capacity(_) => self.close(Ending::TooLong, now),
            _ => self.close(Ending::ProtocolError, now),
        }
        Event::Handled
    }
}
