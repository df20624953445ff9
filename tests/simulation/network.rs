//! The simulated kernel and network, by a seed: connections, their buffers and delays,
//! edge-triggered readiness as with epoll, and every fault that moss may meet.
//!
//! A connection ([`Link`]) is two pipes. Bytes that one side sent are *in flight* until the pipe
//! carries them to the other side's kernel, where they have *arrived*. Buffers have a size, so a
//! side that does not read eventually blocks the other.
//!
//! A poll reports only changes (edges), all since the last poll at once, with the present flags.
//! A system call that takes only a part of a buffer acts as if the rest had come a moment later,
//! with another edge. This module does not know what the bytes mean; for TLS, the peer tells it
//! where its records end and how many bytes of plain text they hold.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::io::{self, ErrorKind};
use std::net::IpAddr;

use moss::server::world::{Endpoint, Readiness, Ready, Signals};

use crate::random::Random;

/// A microsecond of simulated time, and multiples.
pub(crate) const MICROSECOND: u64 = 1;
pub(crate) const MILLISECOND: u64 = 1_000;
pub(crate) const SECOND: u64 = 1_000_000;

/// The quality of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line {
    /// In one direction, in microseconds.
    pub(crate) delay: u64,
    /// Bytes a second, in each direction.
    pub(crate) bandwidth: u64,
    /// The most bytes that arrive at once.
    pub(crate) piece: usize,
    /// The size of each of the four kernel buffers.
    pub(crate) buffer: usize,
}

/// How often a call meets a fault: once in this number of calls, or never for 0.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Odds {
    /// A receive or a send takes only a part, or nothing.
    pub(crate) partial: usize,
    /// A call is interrupted by a signal.
    pub(crate) interrupted: usize,
    /// A poll reports false events: wrong flags, old tokens.
    pub(crate) spurious: usize,
    /// A connection is gone when it is accepted.
    pub(crate) aborted: usize,
    /// A poll comes back late, by up to a fifth of a second.
    pub(crate) late: usize,
}

/// An event at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Event {
    /// A connection is complete.
    Connected(usize),
    /// A pipe carries what it can, to moss or from it.
    Carry(usize, bool),
    /// A reset by the peer arrives.
    Reset(usize),
    /// A peer runs.
    Wake(usize),
    /// A fault of the plan begins.
    Fault(usize),
    /// The next part of the simulation begins.
    Stage,
}

/// One direction of a connection.
#[derive(Debug, Default)]
struct Pipe {
    /// Bytes that have arrived, then those in flight. Bytes from moss are only counted.
    data: VecDeque<u8>,
    in_flight: usize,
    arrived: usize,
    ended: bool,
    end_arrived: bool,
    scheduled: bool,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Link {
    line: Line,
    /// The port at which it arrives.
    pub(crate) endpoint: Endpoint,
    pub(crate) address: IpAddr,
    /// The client that is named, if it comes from a trusted proxy.
    pub(crate) named: Option<IpAddr>,
    /// To moss, and from it.
    up: Pipe,
    down: Pipe,
    token: Option<usize>,
    /// The size of the send buffer in moss's kernel.
    send_buffer: usize,
    /// It has an event for the next poll.
    woken: bool,
    /// moss met a full buffer, and must get an event when there is room.
    wants_room: bool,
    /// A reset has arrived at moss; whether moss has already got the error. Later calls get the
    /// end.
    error: Option<bool>,
    shut_down: bool,
    /// Each side's socket is closed.
    pub(crate) closed_by_moss: bool,
    pub(crate) closed_by_peer: bool,
    /// The peer's kernel got a reset, or the connection was refused.
    pub(crate) broken: bool,
    /// The peer's host has vanished: nothing is carried in either direction.
    pub(crate) away: bool,
    pub(crate) stalled_until: u64,
    noticed: bool,
    /// Bytes that the peer has read.
    pub(crate) read: u64,
    /// Bytes that moss has sent, and received.
    pub(crate) sent: u64,
    pub(crate) received: u64,
    /// With TLS: the ends of the peer's records that moss has not received yet, in bytes of records
    /// and of plain text. `None` without TLS.
    pub(crate) records: Option<VecDeque<(u64, u64)>>,
    /// Bytes of complete records that moss has received, and of their plain text.
    opened: u64,
    pub(crate) plain: u64,
    /// Without a handshake moss can send nothing: it is over when moss has received this much.
    pub(crate) can_be_told_at: u64,
    /// The end of the peer's `close_notify`.
    pub(crate) close_notify_at: u64,
    /// When moss accepted it, and last received from it.
    pub(crate) accepted: u64,
    pub(crate) heard: u64,
    /// Since when there are bytes that moss could receive.
    pub(crate) waits_since: u64,
    /// The ends of the peer's messages that moss has not received yet, in bytes of plain text.
    pub(crate) messages: VecDeque<u64>,
    /// The end of the last message that moss has received.
    whole: u64,
    /// When moss received the first byte after it.
    pub(crate) half_since: u64,
}

/// The system calls of moss in one turn.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Turn {
    pub(crate) accepts: usize,
    pub(crate) accepted: usize,
    pub(crate) receives: usize,
    pub(crate) bytes: usize,
    /// Connections that began a TLS handshake.
    pub(crate) handshakes: usize,
    pub(crate) sends: usize,
    /// Bytes of pages that were sent from the shared copy, without TLS.
    pub(crate) page_bytes: usize,
    pub(crate) ready: usize,
    pub(crate) others: usize,
}

impl Turn {
    /// Whether moss got no event and made no call.
    pub(crate) fn is_idle(&self) -> bool {
        self.accepts + self.receives + self.sends + self.ready + self.others == 0
    }
}

/// The network, with all connections.
pub(crate) struct Network {
    /// Simulated time, in microseconds.
    pub(crate) now: u64,
    random: Random,
    pub(crate) odds: Odds,
    pub(crate) links: Vec<Link>,
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    serial: u64,
    /// Complete connections that moss has not accepted, by port.
    queues: [VecDeque<usize>; 2],
    pub(crate) listening: bool,
    listeners_woken: [bool; 2],
    pub(crate) signals: Signals,
    woken: Vec<usize>,
    gone: Vec<usize>,
    ready: Vec<Ready>,
    /// Links with something new for their peer.
    pub(crate) notices: Vec<usize>,
    /// The number of moss's sockets, and its limit.
    sockets: usize,
    pub(crate) most_sockets: usize,
    pub(crate) no_sockets_until: u64,
    /// A poll does not return before this time.
    pub(crate) busy_until: u64,
    pub(crate) turn: Turn,
    /// When moss's last poll returned, which moss uses as the time.
    turn_began: u64,
    late_again: u64,
    /// A hash of all that moss received and sent.
    pub(crate) trail: u64,
}

impl Network {
    pub(crate) fn new(seed: u64, odds: Odds, most_sockets: usize) -> Self {
        Self {
            now: 0,
            random: Random::new(seed),
            odds,
            links: Vec::new(),
            events: BinaryHeap::new(),
            serial: 0,
            queues: Default::default(),
            listening: true,
            listeners_woken: [false; 2],
            signals: Signals::default(),
            woken: Vec::new(),
            gone: Vec::new(),
            ready: Vec::new(),
            notices: Vec::new(),
            sockets: 0,
            most_sockets,
            no_sockets_until: 0,
            busy_until: 0,
            turn: Turn::default(),
            turn_began: 0,
            late_again: 0,
            trail: 0,
        }
    }

    // Called by the simulation.

    pub(crate) fn at(&mut self, time: u64, event: Event) {
        self.serial += 1;
        self.events.push(Reverse((time.max(self.now), self.serial, event)));
    }

    /// The time of the next event.
    pub(crate) fn next_time(&self) -> Option<u64> {
        self.events.peek().map(|Reverse((time, ..))| *time)
    }

    /// The next event whose time has come.
    pub(crate) fn next_due(&mut self) -> Option<Event> {
        if self.next_time()? > self.now {
            return None;
        }
        self.events.pop().map(|Reverse((.., event))| event)
    }

    /// Runs an event of the network itself.
    pub(crate) fn happen(&mut self, event: Event) {
        match event {
            Event::Connected(link) => self.connected(link),
            Event::Carry(link, up) => self.carry(link, up),
            Event::Reset(link) => self.reset_arrives(link),
            Event::Wake(_) | Event::Fault(_) | Event::Stage => {}
        }
    }

    /// Sends moss a signal to stop.
    pub(crate) fn stop(&mut self) {
        self.signals.stop += 1;
    }

    /// Sends moss a signal to read its files again.
    pub(crate) fn reload(&mut self) {
        self.signals.reload += 1;
    }

    /// Ends all faults.
    pub(crate) fn calm(&mut self) {
        self.odds = Odds::default();
        self.no_sockets_until = 0;
        for link in 0..self.links.len() {
            self.links[link].stalled_until = 0;
            self.schedule(link, true, 0);
            self.schedule(link, false, 0);
        }
    }

    pub(crate) fn stall(&mut self, link: usize, until: u64) {
        self.links[link].stalled_until = until;
    }

    // Called by peers.

    pub(crate) fn connect(&mut self, line: Line, address: IpAddr, endpoint: Endpoint) -> usize {
        self.links.push(Link {
            line,
            endpoint,
            address,
            named: None,
            up: Pipe::default(),
            down: Pipe::default(),
            token: None,
            send_buffer: line.buffer,
            woken: false,
            wants_room: false,
            error: None,
            shut_down: false,
            closed_by_moss: false,
            closed_by_peer: false,
            broken: false,
            away: false,
            stalled_until: 0,
            noticed: false,
            read: 0,
            sent: 0,
            received: 0,
            records: None,
            opened: 0,
            plain: 0,
            can_be_told_at: 0,
            close_notify_at: u64::MAX,
            accepted: u64::MAX,
            heard: 0,
            waits_since: u64::MAX,
            messages: VecDeque::new(),
            half_since: 0,
            whole: 0,
        });
        let link = self.links.len() - 1;
        self.at(self.now + 2 * line.delay, Event::Connected(link));
        link
    }

    /// How many bytes the peer's kernel takes now.
    pub(crate) fn room(&self, link: usize) -> usize {
        let link = &self.links[link];
        if link.broken || link.up.ended { 0 } else { link.line.buffer - link.up.in_flight }
    }

    /// The peer sends; the bytes must fit.
    pub(crate) fn write(&mut self, number: usize, bytes: &[u8]) {
        assert!(bytes.len() <= self.room(number), "the simulation overfills a buffer");
        let link = &mut self.links[number];
        link.up.data.extend(bytes);
        link.up.in_flight += bytes.len();
        let delay = link.line.delay;
        self.schedule(number, true, delay);
    }

    /// Bytes that have arrived at the peer.
    pub(crate) fn arrived(&self, link: usize) -> usize {
        self.links[link].down.arrived
    }

    /// The peer reads at most this number of bytes.
    pub(crate) fn read(&mut self, number: usize, most: usize) -> usize {
        let link = &mut self.links[number];
        let count = link.down.arrived.min(most);
        link.down.arrived -= count;
        link.read += count as u64;
        self.schedule(number, false, 0);
        count
    }

    /// Whether the peer has read all that will ever come.
    pub(crate) fn has_ended(&self, link: usize) -> bool {
        let link = &self.links[link];
        link.broken || (link.down.end_arrived && link.down.arrived == 0)
    }

    /// The peer sends nothing more.
    pub(crate) fn end(&mut self, number: usize) {
        let link = &mut self.links[number];
        link.up.ended = true;
        let delay = link.line.delay;
        self.schedule(number, true, delay);
    }

    /// The peer closes its socket.
    pub(crate) fn close(&mut self, number: usize) {
        let link = &mut self.links[number];
        link.closed_by_peer = true;
        if link.down.arrived > 0 || link.down.in_flight > 0 {
            return self.reset(number);
        }
        self.end(number);
    }

    /// The peer resets the connection.
    pub(crate) fn reset(&mut self, number: usize) {
        let link = &mut self.links[number];
        link.closed_by_peer = true;
        link.broken = true;
        let at = self.now + link.line.delay;
        self.at(at, Event::Reset(number));
    }

    // Called by moss.

    /// Whether a poll has something to report.
    pub(crate) fn has_news(&self) -> bool {
        !self.woken.is_empty() || self.listeners_woken.contains(&true) || self.is_signalled()
    }

    fn is_signalled(&self) -> bool {
        self.signals.stop + self.signals.reload > 0
    }

    /// The events of a poll: some or all changes, in any order.
    pub(crate) fn poll(&mut self) {
        self.turn_began = self.now;
        self.ready.clear();
        for endpoint in Endpoint::ALL {
            if std::mem::take(&mut self.listeners_woken[endpoint as usize]) {
                self.ready.push(Ready::Listener(endpoint));
            }
        }
        if self.is_signalled() {
            self.ready.push(Ready::Signal);
        }
        for at in (1..self.woken.len()).rev() {
            let other = self.random.below(at + 1);
            self.woken.swap(at, other);
        }
        let batch = 1 + self.random.below(1_024);
        let rest = self.woken.split_off(self.woken.len().min(batch));
        for number in std::mem::replace(&mut self.woken, rest) {
            let link = &mut self.links[number];
            link.woken = false;
            let Some(token) = link.token else { continue };
            let mut readiness = link.readiness();
            if self.random.is_one_in(self.odds.spurious) {
                readiness.read_closed = true;
            }
            self.ready.push(Ready::Stream { token, readiness });
        }
        if self.random.is_one_in(self.odds.spurious) {
            self.add_false_events();
        }
        self.turn.ready = self.ready.len();
    }

    fn add_false_events(&mut self) {
        let open = self.links.iter().filter_map(|link| link.token);
        let tokens: Vec<usize> = open.chain(self.gone.drain(..)).collect();
        for _ in 0..tokens.len().min(3) {
            let token = tokens[self.random.below(tokens.len())];
            let bits = self.random.next();
            let readiness = Readiness {
                readable: bits & 1 > 0,
                writable: bits & 2 > 0,
                read_closed: bits & 4 > 0,
                write_closed: bits & 8 > 0,
                error: bits & 16 > 0,
            };
            let at = self.random.below(self.ready.len() + 1);
            self.ready.insert(at, Ready::Stream { token, readiness });
        }
    }

    pub(crate) fn ready(&self) -> Vec<Ready> {
        self.ready.clone()
    }

    /// Whether a call is interrupted.
    pub(crate) fn is_interrupted(&mut self) -> bool {
        self.random.is_one_in(self.odds.interrupted)
    }

    /// How late a poll returns.
    pub(crate) fn lateness(&mut self) -> u64 {
        if self.now < self.busy_until {
            return self.busy_until - self.now;
        }
        if self.now < self.late_again || !self.random.is_one_in(self.odds.late) {
            return self.random.below(50) as u64;
        }
        let late = self.random.below(SECOND as usize / 5) as u64;
        self.late_again = self.now + 4 * late;
        late
    }

    /// moss accepts a connection. Returns the link's number.
    pub(crate) fn accept(&mut self, endpoint: Endpoint) -> io::Result<(usize, IpAddr)> {
        self.turn.accepts += 1;
        self.now += 20 * MICROSECOND;
        if self.is_interrupted() {
            return Err(ErrorKind::Interrupted.into());
        }
        if self.sockets >= self.most_sockets || self.now < self.no_sockets_until {
            return Err(io::Error::from_raw_os_error(24));
        }
        let Some(number) = self.queues[endpoint as usize].pop_front() else {
            return Err(ErrorKind::WouldBlock.into());
        };
        if self.random.is_one_in(self.odds.aborted) {
            self.break_peer(number);
            self.links[number].closed_by_moss = true;
            return Err(ErrorKind::ConnectionAborted.into());
        }
        self.sockets += 1;
        self.turn.accepted += 1;
        let link = &mut self.links[number];
        link.accepted = self.turn_began;
        link.heard = self.turn_began;
        Ok((number, link.address))
    }

    pub(crate) fn register(&mut self, number: usize, token: usize) {
        self.turn.others += 1;
        self.links[number].token = Some(token);
        self.wake_moss(number);
    }

    pub(crate) fn stop_listening(&mut self) {
        self.listening = false;
        for number in std::mem::take(&mut self.queues).into_iter().flatten() {
            self.break_peer(number);
        }
    }

    pub(crate) fn receive(&mut self, number: usize, buffer: &mut [u8]) -> io::Result<usize> {
        self.now += 2 * MICROSECOND;
        if self.is_interrupted() {
            return Err(ErrorKind::Interrupted.into());
        }
        self.turn.receives += 1;
        let part = self.random.is_one_in(self.odds.partial);
        let link = &mut self.links[number];
        if link.up.arrived == 0 {
            link.waits_since = u64::MAX;
            return match link.error.as_mut() {
                Some(told) if !*told => {
                    *told = true;
                    Err(ErrorKind::ConnectionReset.into())
                }
                Some(_) => Ok(0),
                None if link.up.end_arrived => Ok(0),
                None => Err(ErrorKind::WouldBlock.into()),
            };
        }
        let mut count = link.up.arrived.min(buffer.len());
        if part {
            // The rest has arrived a moment later.
            count = 1 + self.random.below(count);
            self.wake_moss(number);
        }
        let link = &mut self.links[number];
        let (front, back) = link.up.data.as_slices();
        let first = count.min(front.len());
        buffer[..first].copy_from_slice(&front[..first]);
        buffer[first..count].copy_from_slice(&back[..count - first]);
        link.up.data.drain(..count);
        link.up.arrived -= count;
        if link.half() == 0 {
            link.half_since = self.turn_began;
        }
        self.turn.handshakes += usize::from(link.records.is_some() && link.received == 0);
        link.received += count as u64;
        match &mut link.records {
            None => (link.opened, link.plain) = (link.received, link.received),
            Some(records) => {
                while let Some(&(end, plain)) = records.front()
                    && end <= link.received
                {
                    (link.opened, link.plain) = (end, plain);
                    records.pop_front();
                }
            }
        }
        while let Some(&end) = link.messages.front()
            && end <= link.plain
        {
            link.whole = end;
            link.half_since = self.turn_began;
            link.messages.pop_front();
        }
        link.heard = self.turn_began;
        let more = link.up.arrived > 0 || link.up.end_arrived;
        link.waits_since = if more { self.now } else { u64::MAX };
        self.turn.bytes += count;
        self.leave_trail(number, count);
        self.now += count as u64 / 1_000;
        let delay = self.links[number].line.delay;
        self.schedule(number, true, delay);
        Ok(count)
    }

    pub(crate) fn send(&mut self, number: usize, len: usize) -> io::Result<usize> {
        self.turn.sends += 1;
        self.now += 4 * MICROSECOND;
        if self.is_interrupted() {
            return Err(ErrorKind::Interrupted.into());
        }
        let part = self.random.is_one_in(self.odds.partial);
        let link = &mut self.links[number];
        assert!(!link.shut_down, "moss sends after it has shut down");
        if let Some(told) = &mut link.error {
            let kind = if *told { ErrorKind::BrokenPipe } else { ErrorKind::ConnectionReset };
            *told = true;
            return Err(kind.into());
        }
        let most = link.send_buffer.saturating_sub(link.down.in_flight).min(len);
        let count = if part { self.random.below(most + 1) } else { most };
        if count < most {
            // There is room again a moment later.
            self.wake_moss(number);
        } else if count < len {
            link.wants_room = true;
        }
        let link = &mut self.links[number];
        if count == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        link.sent += count as u64;
        link.down.in_flight += count;
        self.leave_trail(number, count);
        self.now += count as u64 / 1_000;
        let delay = self.links[number].line.delay;
        self.schedule(number, false, delay);
        Ok(count)
    }

    fn leave_trail(&mut self, link: usize, count: usize) {
        let step = self.now ^ (link as u64) << 40 ^ (count as u64) << 20;
        self.trail = (self.trail.rotate_left(5) ^ step).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    pub(crate) fn shut_down(&mut self, number: usize) -> io::Result<()> {
        self.turn.others += 1;
        let link = &mut self.links[number];
        link.shut_down = true;
        if link.error.is_some() {
            return Err(ErrorKind::NotConnected.into());
        }
        link.down.ended = true;
        let delay = link.line.delay;
        self.schedule(number, false, delay);
        Ok(())
    }

    /// moss sets the size of a send buffer.
    pub(crate) fn limit_send_buffer(&mut self, number: usize, bytes: usize) {
        let link = &mut self.links[number];
        link.send_buffer = link.send_buffer.min(bytes);
    }

    /// moss closes its socket. With unread input that causes a reset, which discards sent bytes
    /// that the peer has not read.
    pub(crate) fn drop_stream(&mut self, number: usize) {
        self.turn.others += 1;
        self.sockets -= 1;
        let link = &mut self.links[number];
        self.gone.extend(link.token.take());
        link.closed_by_moss = true;
        if link.up.arrived > 0 {
            self.break_peer(number);
        } else if link.error.is_none() {
            link.down.ended = true;
            let delay = link.line.delay;
            self.schedule(number, false, delay);
        }
        // Bytes that still arrive are answered by a reset.
        if self.links[number].up.in_flight > 0 && !self.links[number].away {
            self.break_peer(number);
        }
    }

    // The kernel.

    fn connected(&mut self, number: usize) {
        let endpoint = self.links[number].endpoint as usize;
        if !self.listening || self.queues[endpoint].len() >= 4_096 {
            return self.break_peer(number);
        }
        self.queues[endpoint].push_back(number);
        self.listeners_woken[endpoint] = true;
        self.notice(number);
    }

    fn schedule(&mut self, number: usize, up: bool, delay: u64) {
        let link = &mut self.links[number];
        let (now, stalled, away) = (self.now, link.stalled_until, link.away);
        let pipe = if up { &mut link.up } else { &mut link.down };
        let due = match pipe.in_flight {
            0 => pipe.ended && !pipe.end_arrived,
            _ => link.line.buffer > pipe.arrived,
        };
        if due && !pipe.scheduled && !away {
            pipe.scheduled = true;
            self.at((now + delay).max(stalled), Event::Carry(number, up));
        }
    }

    /// Carries a piece to the other side.
    fn carry(&mut self, number: usize, up: bool) {
        let link = &mut self.links[number];
        let (line, stalled) = (link.line, link.stalled_until > self.now);
        let (dead, taken) = (link.away, link.broken || link.closed_by_peer);
        let pipe = if up { &mut link.up } else { &mut link.down };
        pipe.scheduled = false;
        if stalled || dead {
            return self.schedule(number, up, 0);
        }
        let most = pipe.in_flight.min(line.buffer - pipe.arrived);
        let count = if most > 1 { most.min(1 + self.random.below(line.piece)) } else { most };
        pipe.in_flight -= count;
        pipe.arrived += count;
        if pipe.in_flight == 0 && pipe.ended && !pipe.end_arrived {
            pipe.end_arrived = true;
        }
        if !up && taken {
            // The peer's socket is closed: its kernel answers by a reset.
            pipe.arrived = 0;
            pipe.in_flight = 0;
            self.at(self.now + line.delay, Event::Reset(number));
        } else if up && link.closed_by_moss {
            link.up = Pipe::default();
            if count > 0 {
                self.break_peer(number);
            }
            return;
        }
        let pause = count as u64 * SECOND / line.bandwidth;
        self.schedule(number, up, pause);
        if up {
            let link = &mut self.links[number];
            if link.up.arrived > 0 || link.up.end_arrived {
                link.waits_since = link.waits_since.min(self.now);
            }
            self.wake_moss(number);
        } else {
            self.tell_room(number);
        }
        self.notice(number);
    }

    /// Reports room to moss once a third of its buffer is free, as Linux does.
    fn tell_room(&mut self, number: usize) {
        let link = &mut self.links[number];
        if link.wants_room && link.down.in_flight <= link.send_buffer * 2 / 3 {
            link.wants_room = false;
            self.wake_moss(number);
        }
    }

    fn reset_arrives(&mut self, number: usize) {
        let keep = self.random.is_one_in(2);
        let link = &mut self.links[number];
        if link.away || link.closed_by_moss || link.error.is_some() {
            return;
        }
        link.error = Some(false);
        link.waits_since = link.waits_since.min(self.now);
        link.down = Pipe::default();
        link.up.data.truncate(if keep { link.up.arrived } else { 0 });
        link.up.arrived = link.up.data.len();
        link.up.in_flight = 0;
        self.wake_moss(number);
    }

    /// The peer's kernel notices that the connection is broken; unread bytes may be lost.
    fn break_peer(&mut self, number: usize) {
        let keep = self.random.is_one_in(2);
        let link = &mut self.links[number];
        link.broken = !keep || link.down.arrived == 0;
        link.down.in_flight = 0;
        link.down.ended = true;
        link.down.end_arrived = true;
        link.up = Pipe { ended: true, end_arrived: true, ..Pipe::default() };
        self.notice(number);
    }

    fn wake_moss(&mut self, number: usize) {
        let link = &mut self.links[number];
        if link.token.is_some() && !link.woken {
            link.woken = true;
            self.woken.push(number);
        }
    }

    fn notice(&mut self, number: usize) {
        let link = &mut self.links[number];
        if !link.noticed {
            link.noticed = true;
            self.notices.push(number);
        }
    }

    /// The next link with something new for its peer.
    pub(crate) fn next_notice(&mut self) -> Option<usize> {
        let link = self.notices.pop()?;
        self.links[link].noticed = false;
        Some(link)
    }
}

impl Link {
    /// The present flags.
    fn readiness(&self) -> Readiness {
        let error = self.error.is_some();
        let free = self.send_buffer.saturating_sub(self.down.in_flight);
        Readiness {
            readable: self.up.arrived > 0 || self.up.end_arrived || error,
            writable: error || (!self.wants_room && free > 0),
            read_closed: self.up.end_arrived || error,
            write_closed: error,
            error,
        }
    }

    /// Whether the peer has sent something that moss has not received.
    pub(crate) fn has_input(&self) -> bool {
        self.up.arrived > 0
    }

    /// How many bytes of an incomplete message moss has received, including an incomplete record.
    pub(crate) fn half(&self) -> u64 {
        self.plain - self.whole + (self.received - self.opened)
    }

    /// How many bytes of an incomplete record moss has received.
    pub(crate) fn unopened(&self) -> usize {
        (self.received - self.opened) as usize
    }

    /// Whether the peer's end has arrived, or the connection is broken.
    pub(crate) fn is_over(&self) -> bool {
        self.is_broken() || self.up.end_arrived || self.received >= self.close_notify_at
    }

    /// Whether a reset has arrived at moss.
    pub(crate) fn is_broken(&self) -> bool {
        self.error.is_some()
    }

    /// Whether moss can send data: always or, with TLS, after the handshake.
    pub(crate) fn can_be_told(&self) -> bool {
        self.received >= self.can_be_told_at
    }

    /// Whether moss has accepted it, and has not closed it.
    pub(crate) fn is_at_moss(&self) -> bool {
        self.accepted != u64::MAX && !self.closed_by_moss
    }
}
