//! A master without a screen: prints what clients send, and sends it back.
//!
//! ```sh
//! MOSS_CONNECTION_SECRET=… cargo run --example master -- ws://127.0.0.1:8080/
//! ```
//!
//! The secret comes from the environment, because every user of a machine can read
//! the command lines. The program blocks: a master that has nothing else to do needs
//! no event loop. A master with a WebRTC stack would answer the `offer` packets here
//! instead of returning them.

use std::{env, process::ExitCode, thread, time::Duration};

use serde_json::{Value, json};
use tungstenite::{Error, Message};

const SHORTEST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    let address = env::args().nth(1).unwrap_or_else(|| "ws://127.0.0.1:8080/".to_owned());
    let Ok(secret) = env::var("MOSS_CONNECTION_SECRET") else {
        eprintln!(
            "MOSS_CONNECTION_SECRET is not set: set it to the secret that moss was started with"
        );
        return ExitCode::from(2);
    };
    let mut pause = SHORTEST_PAUSE;
    loop {
        match serve(&address, &secret, &mut pause) {
            Ok(Stop(why)) => {
                eprintln!("{why}");
                return ExitCode::FAILURE;
            }
            Err(error) => eprintln!("{address}: {error}; next try in {pause:?}"),
        }
        thread::sleep(pause);
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Why trying again would not help.
struct Stop(&'static str);

/// Serves as the master until the connection ends, which is an error, or until trying
/// again would not help. A confirmation as master resets `pause`.
fn serve(address: &str, secret: &str, pause: &mut Duration) -> Result<Stop, Error> {
    let (mut socket, _) = tungstenite::connect(address)?;
    let hello = json!({
        "type": "set-master",
        "payload": { "secret": secret, "sdp": { "name": "echo" } },
    });
    socket.send(Message::text(hello.to_string()))?;
    loop {
        let message = socket.read()?;
        let Message::Text(text) = &message else {
            continue;
        };
        let packet: Value = serde_json::from_str(text).unwrap_or_default();
        let (kind, payload) = (packet["type"].as_str().unwrap_or_default(), &packet["payload"]);
        // Look for the id first: a packet with an id comes from a client, which may
        // choose any type, even moss's own.
        if let Some(id) = packet["id"].as_str() {
            println!("{id} {kind} {payload}");
            let echo = json!({ "type": kind, "payload": payload, "id": id });
            socket.send(Message::text(echo.to_string()))?;
            continue;
        }
        match (kind, payload["code"].as_str()) {
            ("master-confirmation", _) => {
                *pause = SHORTEST_PAUSE;
                println!("master at {address}");
            }
            ("moss-error", Some("wrong-secret")) => return Ok(Stop("the secret is wrong")),
            ("moss-error", Some("replaced")) => return Ok(Stop("another master took over")),
            _ => println!("moss: {kind} {payload}"),
        }
    }
}
