"""A master and a client talk to each other through a moss with the settings of template.env:

    talk.py URL SECRET

Exits with 1 at the first packet that is not as the protocol says."""

import json
import sys

from websockets.sync.client import connect

PATIENCE = 60
URL, SECRET = sys.argv[1:]


def send(peer, **packet):
    peer.send(json.dumps(packet))


def expect(peer, type, payload):
    packet = json.loads(peer.recv(timeout=PATIENCE))
    assert (packet["type"], packet["payload"]) == (type, payload), packet
    return packet


patient = {"open_timeout": PATIENCE, "close_timeout": PATIENCE}
with connect(URL, **patient) as master, connect(URL, **patient) as client:
    send(master, type="set-master", payload={"secret": SECRET, "sdp": "an offer"})
    expect(master, "master-confirmation", "")
    send(client, type="login")
    expect(client, "master-offer", "an offer")
    joined = json.loads(master.recv(timeout=PATIENCE))
    assert joined["type"] == "client-joined", joined
    id = joined["payload"]["id"]
    send(client, type="greeting", payload="from the client")
    assert expect(master, "greeting", "from the client")["id"] == id
    send(master, type="greeting", payload="from the master", id=id)
    expect(client, "greeting", "from the master")
