//! Who is master, who is logged in, what the offer is; *(sender, packet) → deliveries*.
//!
//! A plain value: no socket, no clock, no slab, no log. Unit tests, a simulation and a
//! fuzzer drive it as the server does. It knows connections by their id alone. Any id that is
//! neither a client's nor the master's is a guest's, so the relay need not be told of a
//! connection before its first packet.
//!
//! Deliveries are passed to a sink one by one, not as a list. Announcements that all clients
//! get (a new master's offer, or that the master left) are sent by [`Relay::announce`], as
//! many at a time as the caller likes. So a takeover among 10,000 clients neither makes
//! 10,000 packets at once nor stops everything else. A client gets a pending announcement
//! before anything else.
//!
//! The caller guarantees three things: an id is never used for two connections; packets of
//! one connection come in the order in which they were received; [`Relay::leave`] is called
//! as soon as a connection can no longer receive, before anything else is handled.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};

pub use crate::protocol::delivery::{Delivery, Expulsion, Role};
use crate::protocol::packet::{
    Claim, EMPTY_PAYLOAD, ErrorCode, Login, Outgoing, Packet, parse_id, unquote,
};
use crate::protocol::tally::Tally;
use crate::settings::config::{Config, Secret};

/// Wrong secrets that one connection may send; the last of them closes it. This stops a
/// program in a loop, not an attacker, who simply reconnects: the secret must be long.
pub const WRONG_SECRETS: u8 = 5;

/// The protocol's state; see the module's documentation.
#[derive(Debug)]
pub struct Relay {
    secret: Secret,
    /// What a client needs to log in, if anything.
    login_secret: Option<Secret>,
    types: Types,
    master: Option<Master>,
    clients: HashSet<u64, BuildHasherDefault<IdHasher>>,
    /// Clients with a pending announcement: the offer if there is a master, else that the
    /// master left.
    uninformed: BTreeSet<u64>,
    /// Guests that may not log in; nearly always none, at most a few.
    restricted: Vec<u64>,
    /// Connections that sent wrong secrets, and how many; nearly always empty.
    wrong_secrets: HashMap<u64, u8>,
    tally: Tally,
}

impl Relay {
    /// A relay without clients and without a master.
    pub fn new(config: &Config) -> Self {
        let types = &config.types;
        Self {
            secret: config.secret.clone(),
            login_secret: config.login_secret.clone(),
            types: Types {
                offer: Type::new(&types.offer),
                error: types.error.as_deref().map(Type::new),
                client_joined: types.client_joined.as_deref().map(Type::new),
                client_left: types.client_left.as_deref().map(Type::new),
                master_left: types.master_left.as_deref().map(Type::new),
                kick: types.kick.as_deref().map(Type::new),
            },
            master: None,
            clients: HashSet::default(),
            uninformed: BTreeSet::new(),
            restricted: Vec::new(),
            wrong_secrets: HashMap::new(),
            tally: Tally::default(),
        }
    }

    /// Uses the secrets of this configuration from now on. No role changes: a secret is checked
    /// only when a connection sends one.
    pub fn replace_secrets(&mut self, config: &Config) {
        self.secret = config.secret.clone();
        self.login_secret = config.login_secret.clone();
    }

    /// The connection that is master now.
    pub fn master(&self) -> Option<u64> {
        self.master.as_ref().map(|master| master.id)
    }

    /// Whether this connection is a client: logged in, and not the master.
    pub fn is_client(&self, id: u64) -> bool {
        self.clients.contains(&id)
    }

    /// Every client, in no particular order.
    pub fn clients(&self) -> impl ExactSizeIterator<Item = u64> + '_ {
        self.clients.iter().copied()
    }

    /// The counters since the start.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Handles one message from `sender`: passes all deliveries that follow from it to `sink`,
    /// in the order in which they must be sent.
    pub fn handle(&mut self, sender: u64, text: &str, sink: &mut impl FnMut(Delivery<'_>)) {
        self.inform(sender, sink);
        let Ok(packet) = Packet::parse(text) else {
            return self.refuse(sender, ErrorCode::InvalidPacket, None, sink);
        };
        match packet.kind.as_ref() {
            "ping" => send(sender, "\"pong\"", EMPTY_PAYLOAD, sink),
            "set-master" => self.set_master(sender, &packet, sink),
            "login" => self.login(sender, &packet, sink),
            _ if self.master() == Some(sender) => self.forward_to_client(sender, &packet, sink),
            _ => self.forward_to_master(sender, &packet, sink),
        }
    }

    /// Restricts a new connection, until it is master, to `ping` and `set-master`. If it logs
    /// in it is closed: its place is reserved for the next master.
    pub fn restrict(&mut self, id: u64) {
        self.restricted.push(id);
    }

    /// Whether announcements are pending.
    pub fn has_announcements(&self) -> bool {
        !self.uninformed.is_empty()
    }

    /// Sends at most `most` pending announcements, in the order in which clients were
    /// accepted. Sessions and the kernel's sockets lie in memory in that order: a takeover
    /// among 10,000 clients takes a quarter less time than in the order of a hash set.
    pub fn announce(&mut self, most: usize, sink: &mut impl FnMut(Delivery<'_>)) {
        for _ in 0..most {
            let Some(&next) = self.uninformed.first() else { return };
            self.inform(next, sink);
        }
    }

    /// Sends a client its pending announcement, if it has one.
    fn inform(&mut self, client: u64, sink: &mut impl FnMut(Delivery<'_>)) {
        if self.uninformed.is_empty() || !self.uninformed.remove(&client) {
            return;
        }
        let (kind, payload) = match (&self.master, &self.types.master_left) {
            (Some(master), _) => (&self.types.offer, master.offer.as_str()),
            (None, Some(kind)) => (kind, EMPTY_PAYLOAD),
            (None, None) => return,
        };
        let packet = Outgoing { kind: &kind.json, payload, sender: None };
        sink(Delivery::Broadcast { to: client, packet });
    }

    /// The connection has ended, or can no longer receive.
    pub fn leave(&mut self, id: u64, sink: &mut impl FnMut(Delivery<'_>)) {
        self.wrong_secrets.remove(&id);
        self.restricted.retain(|&restricted| restricted != id);
        if self.clients.remove(&id) {
            self.uninformed.remove(&id);
            self.tell_master_of(self.types.client_left.as_ref(), id, sink);
        } else if self.master() == Some(id) {
            // What is pending comes first: no client misses an announcement.
            self.announce(usize::MAX, sink);
            self.master = None;
            if self.types.master_left.is_some() {
                self.uninformed = self.clients.iter().copied().collect();
            }
        }
    }

    fn set_master(
        &mut self,
        sender: u64,
        packet: &Packet<'_>,
        sink: &mut impl FnMut(Delivery<'_>),
    ) {
        let Ok(claim) = Claim::parse(packet.payload) else {
            return self.refuse(sender, ErrorCode::InvalidSetMaster, Some(&packet.kind), sink);
        };
        if !self.secret.is(&claim.secret) {
            return self.wrong_secret(sender, packet, sink);
        }
        // What is pending comes first: no client misses an announcement.
        self.announce(usize::MAX, sink);
        let before = self.master.replace(Master { id: sender, offer: claim.sdp.to_owned() });
        self.clients.remove(&sender);
        self.restricted.retain(|&restricted| restricted != sender);
        let renewed = before.as_ref().is_some_and(|master| master.id == sender);
        if !renewed {
            self.tally.masters += 1;
            sink(Delivery::Role { id: sender, role: Role::Master });
        }
        if let (Some(old), false) = (&before, renewed) {
            sink(Delivery::Role { id: old.id, role: Role::Guest });
            self.refuse(old.id, ErrorCode::Replaced, None, sink);
        }
        self.uninformed = self.clients.iter().copied().collect();
        send(sender, "\"master-confirmation\"", EMPTY_PAYLOAD, sink);
        if !renewed && self.types.client_joined.is_some() {
            for client in self.clients_in_order() {
                self.tell_master_of(self.types.client_joined.as_ref(), client, sink);
            }
        }
    }

    fn wrong_secret(
        &mut self,
        sender: u64,
        packet: &Packet<'_>,
        sink: &mut impl FnMut(Delivery<'_>),
    ) {
        self.tally.wrong_secrets += 1;
        sink(Delivery::WrongSecret { id: sender });
        self.refuse(sender, ErrorCode::WrongSecret, Some(&packet.kind), sink);
        let count = self.wrong_secrets.entry(sender).or_default();
        *count += 1;
        if *count >= WRONG_SECRETS {
            sink(Delivery::Close { id: sender, why: Expulsion::WrongSecrets });
            self.leave(sender, sink);
        }
    }

    fn login(&mut self, sender: u64, packet: &Packet<'_>, sink: &mut impl FnMut(Delivery<'_>)) {
        if self.master() == Some(sender) {
            return self.refuse(sender, ErrorCode::MasterCannotLogin, Some(&packet.kind), sink);
        }
        if self.restricted.contains(&sender) {
            sink(Delivery::Close { id: sender, why: Expulsion::NoPlace });
            return self.leave(sender, sink);
        }
        if let Some(secret) = &self.login_secret
            && !Login::parse(packet.payload).is_ok_and(|login| secret.is(&login.secret))
        {
            return self.wrong_secret(sender, packet, sink);
        }
        let joined = self.clients.insert(sender);
        if joined {
            self.tally.logins += 1;
            sink(Delivery::Role { id: sender, role: Role::Client });
        }
        if let Some(master) = &self.master {
            send(sender, &self.types.offer.json, &master.offer, sink);
        }
        if joined {
            self.tell_master_of(self.types.client_joined.as_ref(), sender, sink);
        }
    }

    fn forward_to_master(
        &mut self,
        sender: u64,
        packet: &Packet<'_>,
        sink: &mut impl FnMut(Delivery<'_>),
    ) {
        if !self.is_client(sender) {
            return self.refuse(sender, ErrorCode::NotLoggedIn, Some(&packet.kind), sink);
        }
        let Some(master) = &self.master else {
            return self.refuse(sender, ErrorCode::NoMaster, Some(&packet.kind), sink);
        };
        let mut id = itoa::Buffer::new();
        let sender = Some(id.format(sender));
        let packet = Outgoing { kind: packet.kind_json, payload: packet.payload, sender };
        self.tally.to_master.count(packet.encoded_len());
        sink(Delivery::Packet { to: master.id, packet });
    }

    fn forward_to_client(
        &mut self,
        master: u64,
        packet: &Packet<'_>,
        sink: &mut impl FnMut(Delivery<'_>),
    ) {
        let kind = Some(packet.kind.as_ref());
        let id = match packet.id {
            None | Some("null") => return self.refuse(master, ErrorCode::MissingId, kind, sink),
            Some(id) if !id.starts_with('"') => {
                return self.refuse(master, ErrorCode::InvalidPacket, kind, sink);
            }
            Some(id) => id,
        };
        let Some(client) = parse_id(id).filter(|&client| self.is_client(client)) else {
            return self.refuse_about(master, ErrorCode::UnknownClient, kind, Some(id), sink);
        };
        if self.types.kick.as_ref().is_some_and(|kick| kick.name == packet.kind) {
            // A reason that is not a string is ignored; the kick still counts.
            let reason = unquote(packet.payload).unwrap_or(Cow::Borrowed(""));
            sink(Delivery::Close { id: client, why: Expulsion::Kicked(&reason) });
            return self.leave(client, sink);
        }
        self.inform(client, sink);
        let packet = Outgoing { kind: packet.kind_json, payload: packet.payload, sender: None };
        self.tally.to_client.count(packet.encoded_len());
        sink(Delivery::Packet { to: client, packet });
    }

    /// Tells the master that a client joined or left, if that packet type is configured. The
    /// id is in the payload: a top-level `id` would mean that the client itself had sent it.
    fn tell_master_of(
        &self,
        kind: Option<&Type>,
        client: u64,
        sink: &mut impl FnMut(Delivery<'_>),
    ) {
        if let (Some(kind), Some(master)) = (kind, &self.master) {
            send(master.id, &kind.json, &format!("{{\"id\":\"{client}\"}}"), sink);
        }
    }

    fn clients_in_order(&self) -> Vec<u64> {
        let mut clients: Vec<u64> = self.clients.iter().copied().collect();
        clients.sort_unstable();
        clients
    }

    /// Sends an error. `kind` is the type of the packet that it answers.
    fn refuse(
        &mut self,
        to: u64,
        code: ErrorCode,
        kind: Option<&str>,
        sink: &mut impl FnMut(Delivery<'_>),
    ) {
        self.refuse_about(to, code, kind, None, sink);
    }

    fn refuse_about(
        &mut self,
        to: u64,
        code: ErrorCode,
        kind: Option<&str>,
        about: Option<&str>,
        sink: &mut impl FnMut(Delivery<'_>),
    ) {
        let Some(error) = &self.types.error else { return };
        // Errors that answer errors could go back and forth for ever.
        if kind != Some(&error.name) {
            self.tally.errors[code as usize] += 1;
            send(to, &error.json, &code.payload(about), sink);
        }
    }
}

/// Sends a packet of moss's own.
fn send(to: u64, kind: &str, payload: &str, sink: &mut impl FnMut(Delivery<'_>)) {
    sink(Delivery::Packet { to, packet: Outgoing { kind, payload, sender: None } });
}

#[derive(Debug)]
struct Master {
    id: u64,
    /// Verbatim JSON.
    offer: String,
}

#[derive(Debug)]
struct Types {
    offer: Type,
    error: Option<Type>,
    client_joined: Option<Type>,
    client_left: Option<Type>,
    master_left: Option<Type>,
    kick: Option<Type>,
}

/// A configured packet type: `name` to compare, `json` to write.
#[derive(Debug)]
struct Type {
    name: String,
    json: String,
}

impl Type {
    fn new(name: &str) -> Self {
        let json = serde_json::to_string(name).expect("every string has a spelling in JSON");
        Self { name: name.to_owned(), json }
    }
}

/// Hashes ids; every packet looks one up. Peers can't choose their ids, so nobody can provoke
/// collisions, and the standard hasher's protection against that would cost more than the
/// look-up itself.
#[derive(Default)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(u64::from(byte));
        }
    }

    fn write_u64(&mut self, id: u64) {
        // Fibonacci hashing: an odd factor spreads ids that differ in their low bits.
        self.0 = (self.0 ^ id).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
