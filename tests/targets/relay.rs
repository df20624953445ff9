//! Fuzz target: bytes choose the actions of a few connections. After each action the relay must
//! have delivered exactly what the [`Model`] expects, and be in the same state.

use std::collections::BTreeSet;

use moss::protocol::relay::{Delivery, Relay};
use moss::settings::config::{Config, Secret};
use serde_json::Value;

use crate::model::{Action, Claim, Expected, Model, Named, Proof, Told};

const SECRET: &str = "right \u{e9} secret";
const LOGIN_SECRET: &str = "login \u{1f511}";

/// The most connections at a time.
const MOST_PEERS: usize = 6;

/// Runs until the bytes in `dice` are used up, and returns the number of steps. Panics if the
/// relay and the model differ.
pub(crate) fn play(mut dice: impl Iterator<Item = u8>) -> u64 {
    let Some(mut world) = World::new(&mut dice) else { return 0 };
    let mut steps = 0;
    while world.step(&mut dice, steps).is_some() {
        steps += 1;
    }
    steps
}

/// The relay and the model, with the connections that drive both.
struct World {
    relay: Relay,
    model: Model,
    config: Config,
    here: Vec<u64>,
    gone: Vec<u64>,
    next_id: u64,
}

impl World {
    /// Each optional type exists or not.
    fn new(dice: &mut impl Iterator<Item = u8>) -> Option<Self> {
        let mut config = Config::new(SECRET, "of\"fer");
        let bits = dice.next()?;
        let named = |bit: u8, name: &str| (bits >> bit & 1 == 1).then(|| name.to_owned());
        config.types.error = named(0, "moss-error");
        config.types.client_joined = named(1, "joined");
        config.types.client_left = named(2, "left");
        config.types.master_left = named(3, "master\nleft");
        config.types.kick = named(4, "kick");
        config.login_secret = named(5, LOGIN_SECRET).as_deref().map(Secret::new);
        Some(Self {
            relay: Relay::new(&config),
            model: Model::new(&config),
            config,
            here: Vec::new(),
            gone: Vec::new(),
            next_id: if bits >> 6 == 0 { 0 } else { u64::MAX >> (bits >> 6) },
        })
    }

    /// Performs one action; `None` when the dice are used up.
    fn step(&mut self, dice: &mut impl Iterator<Item = u8>, step: u64) -> Option<()> {
        let known = self.here.len();
        let who = self.pick_peer(dice.next()?);
        let action = match self.pick_action(dice, step)? {
            // Only new connections are restricted.
            Action::Restrict if self.here.len() == known => Action::Ping,
            action => action,
        };
        let was_client = self.model.clients.contains(&who);
        let expected = self.model.act(who, &action);
        let mut actual = Vec::new();
        let mut sink = |delivery: Delivery<'_>| actual.push(Told::from(delivery));
        match action {
            Action::Leave => self.relay.leave(who, &mut sink),
            Action::Announce(most) => self.relay.announce(most, &mut sink),
            Action::Restrict => self.relay.restrict(who),
            _ => self.relay.handle(who, &spell(&action, dice.next()?), &mut sink),
        }
        for told in &actual {
            self.check_receiver(who, was_client, told);
        }
        let closed = actual.iter().find(|told| matches!(told, Told::Close(..))).map(Told::to);
        compare(actual, expected, who, &action);
        self.forget(closed);
        if let Action::Leave = action {
            self.forget(Some(who));
        }
        self.compare_state();
        Some(())
    }

    /// Checks rules that depend only on the present roles.
    fn check_receiver(&self, sender: u64, was_client: bool, told: &Told) {
        let to = told.to();
        assert!(self.here.contains(&to), "{told:?}: to a connection that is gone");
        let (Told::Packet(_, text) | Told::Broadcast(_, text)) = told else {
            return;
        };
        let packet: Value = serde_json::from_str(text).unwrap_or_default();
        if let Some(id) = packet.get("id") {
            assert_eq!(id, &sender.to_string(), "{told:?}: under a wrong id");
            assert!(self.model.is_master(to), "{told:?}: an id that the receiver should not see");
        }
        let is_guest = !self.model.is_master(to) && !self.model.clients.contains(&to);
        // As a client it may have been owed an offer, which comes before the results of its action.
        let is_owed = matches!(told, Told::Broadcast(..)) && to == sender && was_client;
        if is_guest && !is_owed {
            let is_pong = packet["type"] == "pong";
            let is_error = packet["type"].as_str() == self.config.types.error.as_deref();
            let is_replaced = packet["payload"]["code"] == "replaced";
            let is_own = to == sender && (is_pong || is_error);
            assert!(is_own || (is_error && is_replaced), "{told:?}: not for a guest");
        }
    }

    fn forget(&mut self, id: Option<u64>) {
        if let Some(at) = self.here.iter().position(|here| Some(*here) == id) {
            self.gone.push(self.here.swap_remove(at));
        }
    }

    fn compare_state(&self) {
        assert_eq!(self.relay.master(), self.model.master.as_ref().map(|(id, _)| *id));
        assert_eq!(self.relay.clients().collect::<BTreeSet<_>>(), self.model.clients);
        for id in self.here.iter().chain(&self.gone) {
            assert_eq!(self.relay.is_client(*id), self.model.clients.contains(id));
        }
    }

    /// A present connection, or a new one.
    fn pick_peer(&mut self, die: u8) -> u64 {
        let pick = usize::from(die) % MOST_PEERS;
        if let Some(id) = self.here.get(pick) {
            return *id;
        }
        let id = self.next_id;
        self.next_id += 1;
        self.here.push(id);
        id
    }

    fn pick_action(&self, dice: &mut impl Iterator<Item = u8>, step: u64) -> Option<Action> {
        Some(match dice.next()? % 16 {
            0 => Action::Rubbish,
            1 => Action::Ping,
            2..=3 => Action::Login(Proof::RightSecret),
            4 => Action::Login(Proof::Anything),
            5 => Action::SetMaster(Claim::NoObject),
            6 => Action::SetMaster(Claim::WrongSecret),
            7 => Action::SetMaster(Claim::RightSecret { sdp: None }),
            8 => Action::SetMaster(Claim::RightSecret { sdp: Some(payload(dice.next()?, step)) }),
            9 => Action::Leave,
            10 => Action::Announce(usize::from(dice.next()? % 4)),
            11 => Action::Restrict,
            _ => {
                let die = dice.next()?;
                let kind = self.pick_type(die);
                let kind_json = if die & 0x80 == 0 { plain(&kind) } else { escaped(&kind) };
                let id = self.pick_id(dice.next()?);
                Action::Other { kind, kind_json, payload: payload(dice.next()?, step), id }
            }
        })
    }

    /// An ordinary type, or one with a meaning for moss, if only from peers of another role.
    fn pick_type(&self, die: u8) -> String {
        let types = &self.config.types;
        let kinds = [
            &types.error,
            &types.client_joined,
            &types.client_left,
            &types.master_left,
            &types.kick,
        ];
        let name = match usize::from(die % 16) {
            at @ 0..5 => kinds[at].as_deref().unwrap_or("none"),
            5 => "kick",
            6 => &types.offer,
            7 => "pong",
            8 => "master-confirmation",
            9 => "",
            10 => "Login",
            _ => "an\u{1f600}swer",
        };
        name.to_owned()
    }

    fn pick_id(&self, die: u8) -> Named {
        let pick = usize::from(die / 16);
        let one_of = |ids: &[u64]| match ids {
            [] => Named::Absent,
            ids => Named::Exactly(ids[pick % ids.len()]),
        };
        match die % 16 {
            0 => Named::Absent,
            1 => Named::Null,
            2 => Named::Number,
            3 => Named::Text("\"\"".to_owned()),
            // Almost the id of a connection.
            4 => Named::Text(format!("\"0{}\"", self.here[pick % self.here.len()])),
            5 => Named::Text(format!("\"{} \"", self.here[pick % self.here.len()])),
            6 => Named::Text("\"\\ud800\"".to_owned()),
            7 => one_of(&self.gone),
            _ => one_of(&self.here),
        }
    }
}

fn compare(actual: Vec<Told>, expected: Expected, who: u64, action: &Action) {
    let mut actual = actual.into_iter();
    for mut wanted in expected {
        let mut found: Vec<Told> = actual.by_ref().take(wanted.len()).collect();
        found.sort();
        wanted.sort();
        assert_eq!(found, wanted, "{who} did {action:?}");
    }
    assert_eq!(actual.next(), None, "{who} did {action:?}");
}

/// A JSON value. Some have the number of their step, so that old ones are told from new ones.
fn payload(die: u8, step: u64) -> String {
    match die % 8 {
        0 => r#""""#.to_owned(),
        1 => "null".to_owned(),
        2 => r#"{"a":1,"a":[1,  2],"id":"0"}"#.to_owned(),
        3 => "-1e400".to_owned(),
        4 => r#""\ud800""#.to_owned(),
        5 => r#""why\n\u00e9""#.to_owned(),
        _ => format!("[ {step}]"),
    }
}

/// A packet for this action, with its keys in any order.
fn spell(action: &Action, die: u8) -> String {
    let (kind, payload, id) = match action {
        Action::Leave | Action::Announce(_) | Action::Restrict => {
            unreachable!("this is no packet")
        }
        Action::Rubbish => return rubbish(die).to_owned(),
        Action::Ping => spelled(die, "ping"),
        Action::Login(Proof::Anything) => {
            let (kind, _, id) = spelled(die, "login");
            (kind, wrong_proof(die).map(str::to_owned), id)
        }
        Action::Login(Proof::RightSecret) => {
            let (kind, _, id) = spelled(die, "login");
            let secret = if die & 1 == 0 { plain(LOGIN_SECRET) } else { escaped(LOGIN_SECRET) };
            (kind, Some(format!("{{\"more\":[1],\"secret\": {secret}}}")), id)
        }
        Action::SetMaster(claim) => (plain("set-master"), Some(spell_claim(claim, die)), None),
        Action::Other { kind_json, payload, id, .. } => {
            (kind_json.clone(), Some(payload.clone()), spell_id(id))
        }
    };
    let mut members = vec![format!(r#""type" : {kind}"#)];
    // An absent payload means the empty string.
    members.extend(
        payload
            .filter(|text| text != "\"\"" || die & 8 == 0)
            .map(|payload| format!(r#""payload":{payload}"#)),
    );
    members.extend(id.map(|id| format!(r#""id":{id}"#)));
    let turns = usize::from(die) % members.len();
    members.rotate_left(turns);
    format!("{{{}}}", members.join(","))
}

/// A packet whose payload and id have no meaning.
fn spelled(die: u8, kind: &str) -> (String, Option<String>, Option<String>) {
    let kind = if die & 0x80 == 0 { plain(kind) } else { escaped(kind) };
    (kind, (die & 0x40 == 0).then(|| "[{}]".to_owned()), (die & 0x20 == 0).then(|| "5".to_owned()))
}

/// The payload of a login that proves nothing.
fn wrong_proof(die: u8) -> Option<&'static str> {
    [
        None,
        Some("null"),
        Some("[\"login \u{1f511}\"]"),
        Some("\"login \u{1f511}\""),
        Some("{}"),
        Some("{\"secret\":\"\"}"),
        Some("{\"secret\":\"right \u{e9} secret\"}"),
        Some("{\"secret\":[\"login \u{1f511}\"]}"),
    ][usize::from(die) % 8]
}

fn spell_claim(claim: &Claim, die: u8) -> String {
    match claim {
        Claim::NoObject => {
            ["null", "[]", "\"\"", "{}", r#"{"secret":1}"#, r#"{"secret":"a","secret":"a"}"#]
                [usize::from(die) % 6]
                .to_owned()
        }
        Claim::WrongSecret => {
            let nearly = format!("{{\"secret\":\"{SECRET} \"}}");
            ["{\"secret\":\"\"}", "{\"sdp\":1,\"secret\":\"right\"}", &nearly][usize::from(die) % 3]
                .to_owned()
        }
        Claim::RightSecret { sdp } => {
            let sdp = sdp.as_ref().map_or(String::new(), |sdp| format!(",\"sdp\": {sdp}"));
            let secret = if die & 1 == 0 { plain(SECRET) } else { escaped(SECRET) };
            format!("{{\"secret\":{secret}{sdp}}}")
        }
    }
}

fn spell_id(id: &Named) -> Option<String> {
    match id {
        Named::Absent => None,
        Named::Null => Some("null".to_owned()),
        Named::Number => Some("5".to_owned()),
        Named::Exactly(id) => Some(format!("\"{id}\"")),
        Named::Text(text) => Some(text.clone()),
    }
}

fn rubbish(die: u8) -> &'static str {
    [
        "",
        "null",
        "[\"login\",1,\"2\"]",
        r#"{"payload":1}"#,
        r#"{"type":1}"#,
        r#"{"type":"ping","type":"ping"}"#,
        r#"{"type":"x","payload":1,"payload":1}"#,
        r#"{"type":"ping"}}"#,
    ][usize::from(die) % 8]
}

fn plain(text: &str) -> String {
    Value::from(text).to_string()
}

/// The same text, every character escaped.
fn escaped(text: &str) -> String {
    let units: String = text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
    format!("\"{units}\"")
}
