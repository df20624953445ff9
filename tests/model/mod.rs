//! A model of the relay: the tables of docs/protocol.md, written as plainly as possible. Its
//! input is what a packet *means*, not how it is spelled, and its output is what moss has to
//! send. The simulation and the fuzzer compare the relay with it.

use std::collections::{BTreeMap, BTreeSet};

use moss::protocol::packet::{ErrorCode, Outgoing};
use moss::protocol::relay::{Delivery, Expulsion, Role};
use moss::settings::config::{Config, Types};

/// The roles of all connections.
pub(crate) struct Model {
    types: Types,
    login_needs_secret: bool,
    /// The master and its offer.
    pub(crate) master: Option<(u64, String)>,
    pub(crate) clients: BTreeSet<u64>,
    /// Clients that were not told yet that a master came, or left.
    uninformed: BTreeSet<u64>,
    /// Guests that may not log in.
    restricted: BTreeSet<u64>,
    wrong_secrets: BTreeMap<u64, u32>,
}

/// An action of a peer, or of moss. Payloads and ids are verbatim JSON.
#[derive(Debug)]
pub(crate) enum Action {
    Rubbish,
    Ping,
    Login(Proof),
    SetMaster(Claim),
    /// A packet of any other type.
    Other {
        /// The type, as text and as spelled in the packet.
        kind: String,
        kind_json: String,
        payload: String,
        id: Named,
    },
    Leave,
    /// moss goes on with an announcement, to this number of clients.
    Announce(usize),
    /// moss accepts a guest that may not log in: a full server does so for the next master.
    Restrict,
}

/// The payload of a `login`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Proof {
    RightSecret,
    Anything,
}

/// The payload of a `set-master`.
#[derive(Debug)]
pub(crate) enum Claim {
    NoObject,
    WrongSecret,
    RightSecret { sdp: Option<String> },
}

/// The `id` of a packet.
#[derive(Debug)]
pub(crate) enum Named {
    Absent,
    Null,
    Number,
    /// The id of a connection that is or was here, as moss writes it.
    Exactly(u64),
    /// Another string.
    Text(String),
}

/// A delivery of the relay, with packets as text.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Told {
    Role(u64, Role),
    Packet(u64, String),
    Broadcast(u64, String),
    WrongSecret(u64),
    Close(u64, String),
}

/// Lists of deliveries: the lists come in order, the deliveries within one in any order.
pub(crate) type Expected = Vec<Vec<Told>>;

impl Model {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            types: config.types.clone(),
            login_needs_secret: config.login_secret.is_some(),
            master: None,
            clients: BTreeSet::new(),
            uninformed: BTreeSet::new(),
            restricted: BTreeSet::new(),
            wrong_secrets: BTreeMap::new(),
        }
    }

    pub(crate) fn is_master(&self, id: u64) -> bool {
        self.master.as_ref().is_some_and(|(master, _)| *master == id)
    }

    /// What moss has to send after this action of `who`.
    pub(crate) fn act(&mut self, who: u64, action: &Action) -> Expected {
        let owed = match action {
            Action::Leave | Action::Announce(_) | Action::Restrict => Vec::new(),
            _ => self.pay(who),
        };
        owed.into_iter().chain(self.answer(who, action)).collect()
    }

    fn answer(&mut self, who: u64, action: &Action) -> Expected {
        match action {
            Action::Announce(most) => self.announce(*most),
            Action::Restrict => {
                self.restricted.insert(who);
                Vec::new()
            }
            Action::Rubbish => self.error(who, ErrorCode::InvalidPacket, None),
            Action::Ping => vec![vec![self.to(who, "pong", "\"\"")]],
            Action::Leave => self.leave(who),
            Action::Login(_) if self.is_master(who) => {
                self.error(who, ErrorCode::MasterCannotLogin, None)
            }
            Action::Login(proof) => self.login(who, proof),
            Action::SetMaster(Claim::NoObject) => {
                self.error(who, ErrorCode::InvalidSetMaster, None)
            }
            Action::SetMaster(Claim::WrongSecret) => self.wrong_secret(who),
            Action::SetMaster(Claim::RightSecret { sdp }) => {
                self.right_secret(who, sdp.as_deref().unwrap_or("{}"))
            }
            // Errors that are answered by errors could go back and forth for ever.
            Action::Other { kind, kind_json, payload, id } => {
                let is_error = self.types.error.as_ref() == Some(kind);
                let expected = if self.is_master(who) {
                    self.master_packet(who, kind, kind_json, payload, id)
                } else {
                    self.client_packet(who, kind_json, payload)
                };
                match expected {
                    Ok(expected) => expected,
                    Err(_) if is_error => Vec::new(),
                    Err((code, about)) => self.error(who, code, about),
                }
            }
        }
    }

    /// A client's part of an announcement, if it is still owed: it comes before anything else.
    fn pay(&mut self, who: u64) -> Expected {
        if !self.uninformed.remove(&who) {
            return Vec::new();
        }
        let text = match (&self.master, &self.types.master_left) {
            (Some((_, offer)), _) => packet(&json(&self.types.offer), offer),
            (None, kind) => packet(&json(kind.as_ref().expect("a type of what is owed")), "\"\""),
        };
        vec![vec![Told::Broadcast(who, text)]]
    }

    fn announce(&mut self, most: usize) -> Expected {
        let next: Vec<u64> = self.uninformed.iter().copied().take(most).collect();
        next.into_iter().flat_map(|who| self.pay(who)).collect()
    }

    fn login(&mut self, who: u64, proof: &Proof) -> Expected {
        if self.restricted.contains(&who) {
            let mut expected = vec![vec![Told::Close(who, "no place".to_owned())]];
            expected.extend(self.leave(who));
            return expected;
        }
        if self.login_needs_secret && *proof != Proof::RightSecret {
            return self.wrong_secret(who);
        }
        let is_new = self.clients.insert(who);
        let mut expected = Vec::new();
        if is_new {
            expected.push(vec![Told::Role(who, Role::Client)]);
        }
        if let Some((_, offer)) = &self.master {
            expected.push(vec![self.to(who, &self.types.offer, offer)]);
        }
        if is_new {
            expected.push(self.notice(self.types.client_joined.as_ref(), [who]));
        }
        expected
    }

    fn wrong_secret(&mut self, who: u64) -> Expected {
        let mut expected = vec![vec![Told::WrongSecret(who)]];
        expected.extend(self.error(who, ErrorCode::WrongSecret, None));
        let count = self.wrong_secrets.entry(who).or_default();
        *count += 1;
        if *count == 5 {
            expected.push(vec![Told::Close(who, "too many wrong secrets".to_owned())]);
            expected.extend(self.leave(who));
        }
        expected
    }

    fn right_secret(&mut self, who: u64, sdp: &str) -> Expected {
        let mut expected = self.announce(usize::MAX);
        let before = self.master.replace((who, sdp.to_owned())).map(|(id, _)| id);
        self.clients.remove(&who);
        self.restricted.remove(&who);
        if before != Some(who) {
            expected.push(vec![Told::Role(who, Role::Master)]);
        }
        if let Some(old) = before.filter(|&old| old != who) {
            expected.push(vec![Told::Role(old, Role::Guest)]);
            expected.extend(self.error(old, ErrorCode::Replaced, None));
        }
        self.uninformed = self.clients.clone();
        expected.push(vec![self.to(who, "master-confirmation", "\"\"")]);
        if before != Some(who) {
            let clients = self.clients.iter().copied();
            expected.push(self.notice(self.types.client_joined.as_ref(), clients));
        }
        expected
    }

    fn client_packet(&self, who: u64, kind_json: &str, payload: &str) -> Result<Expected, Refusal> {
        if !self.clients.contains(&who) {
            return Err((ErrorCode::NotLoggedIn, None));
        }
        let Some((master, _)) = self.master else { return Err((ErrorCode::NoMaster, None)) };
        let text = format!(r#"{{"type":{kind_json},"payload":{payload},"id":"{who}"}}"#);
        Ok(vec![vec![Told::Packet(master, text)]])
    }

    fn master_packet(
        &mut self,
        who: u64,
        kind: &str,
        kind_json: &str,
        payload: &str,
        id: &Named,
    ) -> Result<Expected, Refusal> {
        let (client, spelled) = match id {
            Named::Absent | Named::Null => return Err((ErrorCode::MissingId, None)),
            Named::Number => return Err((ErrorCode::InvalidPacket, None)),
            Named::Text(text) => (None, text.clone()),
            Named::Exactly(id) => (Some(*id), format!("\"{id}\"")),
        };
        let Some(client) = client.filter(|id| self.clients.contains(id)) else {
            return Err((ErrorCode::UnknownClient, Some(spelled)));
        };
        if self.types.kick.as_deref() == Some(kind) {
            let reason = serde_json::from_str(payload).unwrap_or_default();
            let mut expected = vec![vec![Told::Close(client, reason)]];
            expected.extend(self.leave(client));
            return Ok(expected);
        }
        assert!(client != who);
        let mut expected = self.pay(client);
        expected.push(vec![Told::Packet(client, packet(kind_json, payload))]);
        Ok(expected)
    }

    fn leave(&mut self, who: u64) -> Expected {
        self.wrong_secrets.remove(&who);
        self.restricted.remove(&who);
        if self.clients.remove(&who) {
            self.uninformed.remove(&who);
            return vec![self.notice(self.types.client_left.as_ref(), [who])];
        }
        if !self.is_master(who) {
            return Vec::new();
        }
        let expected = self.announce(usize::MAX);
        self.master = None;
        if self.types.master_left.is_some() {
            self.uninformed = self.clients.clone();
        }
        expected
    }

    fn error(&self, to: u64, code: ErrorCode, about: Option<String>) -> Expected {
        let payload = code.payload(about.as_deref());
        self.types.error.iter().map(|kind| vec![self.to(to, kind, &payload)]).collect()
    }

    /// A notice about a client to the master, if there is a master and the notice has a type.
    fn notice(&self, kind: Option<&String>, clients: impl IntoIterator<Item = u64>) -> Vec<Told> {
        let (Some(kind), Some((master, _))) = (kind, &self.master) else { return Vec::new() };
        let told = |id| self.to(*master, kind, &format!(r#"{{"id":"{id}"}}"#));
        clients.into_iter().map(told).collect()
    }

    fn to(&self, to: u64, kind: &str, payload: &str) -> Told {
        let text = packet(&json(kind), payload);
        Told::Packet(to, text)
    }
}

/// An error, and the addressee that it names.
type Refusal = (ErrorCode, Option<String>);

impl Told {
    /// Who gets it.
    pub(crate) fn to(&self) -> u64 {
        match self {
            Self::Packet(to, _) | Self::Broadcast(to, _) => *to,
            Self::Role(id, _) | Self::Close(id, _) | Self::WrongSecret(id) => *id,
        }
    }
}

impl From<Delivery<'_>> for Told {
    fn from(delivery: Delivery<'_>) -> Self {
        let written = |packet: Outgoing<'_>| {
            let mut text = Vec::new();
            packet.write(&mut text);
            String::from_utf8(text).expect("packets are text")
        };
        match delivery {
            Delivery::Role { id, role } => Self::Role(id, role),
            Delivery::Packet { to, packet } => Self::Packet(to, written(packet)),
            Delivery::Broadcast { to, packet } => Self::Broadcast(to, written(packet)),
            Delivery::WrongSecret { id } => Self::WrongSecret(id),
            Delivery::Close { id, why } => {
                let why = match why {
                    Expulsion::Kicked(reason) => reason,
                    Expulsion::WrongSecrets => "too many wrong secrets",
                    Expulsion::NoPlace => "no place",
                };
                Self::Close(id, why.to_owned())
            }
        }
    }
}

fn packet(kind_json: &str, payload: &str) -> String {
    format!(r#"{{"type":{kind_json},"payload":{payload}}}"#)
}

fn json(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
