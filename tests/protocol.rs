//! The protocol as its users meet it: over real sockets, against the real program.

mod support;

use support::Moss;

#[test]
fn ping_is_answered_to_anyone() {
    let moss = Moss::start();
    let mut master = moss.master(r#""sdp""#);
    let (mut client, _) = moss.client_of(&mut master);
    let mut guest = moss.guest();
    for peer in [&mut guest, &mut client, &mut master] {
        peer.send(r#"{"type":"ping"}"#);
        peer.expect(r#"{"type":"pong","payload":""}"#);
    }
}
