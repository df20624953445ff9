//! Who is master, who is logged in, what the offer is; *(sender, packet) → deliveries*.
//!
//! A plain value: no socket, no clock, no slab, no log. A unit test, a simulation and
//! a fuzzer drive it as the server does. It knows connections by their id alone and
//! calls everyone a guest who is neither client nor master, so it need not be told of
//! a connection before its first packet.
//!
//! Deliveries leave through a sink, one by one, rather than as a list. What all clients
//! are told, of a master that came or left, is owed to them and leaves by
//! [`Relay::announce`], as many at a time as the caller likes: a takeover among 10,000
//! clients neither exists as 10,000 packets at once nor stops everybody else. A client
//! gets what it is owed before anything else.
//!
//! The caller keeps three promises: an id is never used for two connections; packets
//! of one connection come in the order they were received; [`Relay::leave`] is called
//! once a connection can no longer receive, before anything else is handled.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};

pub use crate::protocol::delivery::{Delivery, Expulsion, Role};
use crate::protocol::packet::{
    Claim, EMPTY_PAYLOAD, ErrorCode, Login, Outgoing, Packet, parse_id, unquote,
};
use crate::protocol::tally::Tally;
use crate::settings::config::{Config, Secret};

/// Wrong secrets that one connection may send; the last of them closes it. This stops
/// a loop, not an attacker, who just connects anew: the secret must be long.
pub const WRONG_SECRETS: u8 = 5;

/// The protocol's state. See the module's page.
#[derive(Debug)]
pub struct Relay {
    secret: Secret,
    /// What a client has to know.
    login_secret: Option<Secret>,
    types: Types,
    master: Option<Master>,
    clients: HashSet<u64, BuildHasherDefault<IdHasher>>,
    /// Clients that have not been told yet that the master left or, if there is one, have
    /// not been sent its offer yet.
    uninformed: BTreeSet<u64>,
    /// Guests that may not log in: nearly always none, and a few at most.
    restricted: Vec<u64>,
    /// Connections that sent wrong secrets, and how many: nearly always empty.
    wrong_secrets: HashMap<u64, u8>,
    tally: Tally,
}

impl Relay {
    /// A relay in which nobody is.
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

    /// Takes the secrets of this configuration from now on. Nobody's role changes: a secret is
    /// looked at when somebody says it.
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

    /// What was done since the start.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Handles one message from `sender`: whatever it has to cause goes to `sink`, in
    /// the order in which it must be sent.
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

    /// Lets a new connection only ping and claim to be master, until it is. If it logs in,
    /// it is closed: its place is for the next master.
    pub fn restrict(&mut self, id: u64) {
        self.restricted.push(id);
    }

    /// Whether clients are still owed what all of them are told.
    pub fn has_announcements(&self) -> bool {
        !self.uninformed.is_empty()
    }

    /// Tells at most `most` clients what they are owed, in the order in which they were
    /// accepted. Their sessions and the kernel's sockets lie in memory in that order: a
    /// takeover among 10,000 takes a quarter less time than in the set's own order.
    pub fn announce(&mut self, most: usize, sink: &mut impl FnMut(Delivery<'_>)) {
        for _ in 0..most {
            let Some(&next) = self.uninformed.first() else { return };
            self.inform(next, sink);
        }
    }

    /// Tells a client what it is owed, before it is told anything else.
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
            // Nobody misses the news before.
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
        // Nobody misses the news before.
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
            // A reason of another kind than a string is none; the kick still counts.
            let reason = unquote(packet.payload).unwrap_or(Cow::Borrowed(""));
            sink(Delivery::Close { id: client, why: Expulsion::Kicked(&reason) });
            return self.leave(client, sink);
        }
        self.inform(client, sink);
        let packet = Outgoing { kind: packet.kind_json, payload: packet.payload, sender: None };
        self.tally.to_client.count(packet.encoded_len());
        sink(Delivery::Packet { to: client, packet });
    }

    /// Tells the master that a client came or went, if that packet exists. The id is in
    /// the payload: a top-level `id` would claim that the client itself had sent it.
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

    /// Answers what can't be done. `kind` is the type of the packet that it answers.
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
        // An error answered by an error could go round for ever.
        if kind != Some(&error.name) {
            self.tally.errors[code as usize] += 1;
            send(to, &error.json, &code.payload(about), sink);
        }
    }
}

/// A packet from moss itself.
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

/// A configured type, as it is compared and as it is written.
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

/// Hashes ids, of which one is looked up for every packet. No peer chooses its id, so
/// nobody can make them collide, and the standard hasher's armour would cost more than
/// the look-up.
#[derive(Default)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(u64::from(byte));
        }
    }

    fn write_u64(&mut self, id: u64) {
        // Fibonacci hashing: an odd factor keeps what differs in the low bits apart.
        self.0 = (self.0 ^ id).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
