"""The members of a master in the protocol "calls 1", as docs/calls.md tells it: who is there, and by which id."""

import secrets
import time
from collections import deque

from strangers import Limits, Refused, hello_in, name_in

TICK = 2  # seconds that count at most from one tick to the next: a sleep is no absence
SPREAD = 0.1  # seconds between the calls of members who come all at once
REPLACED = 8  # lives of a key that are remembered as replaced


def moved(life):
    return {"code": "moved", "message": "another page has this key now", "life": life}


class Calls:
    """All members of a master. `connected`, `disconnected`, `heard` and `tick` drive it."""

    def __init__(self, member_class, ice_servers=(), most=30):
        self.session = secrets.token_hex(16)
        self.member_class, self.ice_servers, self.most = member_class, ice_servers, most
        self.members = {}  # by key
        self.ids = {}  # by moss's id
        self.limits = {}  # by id, since a client may come and go by one connection
        self.send_packet = None
        self.replaced = {}  # lives, by key
        self.slot = 0
        self.ticked = time.monotonic()

    @property
    def invitation(self):
        """The `sdp` of set-master: each client gets it first."""
        return {"calls": 1, "session": self.session}

    def connected(self, send_packet):
        """This program is master now; `send_packet(packet)` doesn't wait, and is true if it can."""
        self.send_packet = send_packet
        self.limits.clear()
        for member in self.members.values():
            member.here = False
            member.silent = member.asked = 0
            member.look()

    def disconnected(self):
        """Nobody hangs up: lines live on, and their clients come back with a new id."""
        self.send_packet = None
        for member in self.members.values():
            member.look()

    def heard(self, packet):
        type, payload, id = packet["type"], packet.get("payload"), packet.get("id")
        if id is None:
            return self.hear_moss(type, payload)
        if len(self.limits) > 10_000:
            self.limits.clear()
        limits = self.limits.setdefault(id, Limits())
        member = self.ids.get(id)
        if member:
            member.silent, member.here = 0, True
        if not limits.packets.take():
            return member and member.flooded()
        try:
            self.hear_client(type, payload, id, limits)
        except Refused as refused:
            if limits.refusals.take():  # a client may answer each one by two more
                self.send("refused", refused.payload, id)
        except Exception as error:
            print(f"a client sent nonsense: {error!r}", flush=True)

    def hear_moss(self, type, payload):
        left = type == "client-left" or (type == "moss-error" and payload.get("code") == "unknown-client")
        if left:
            self.limits.pop(payload["id"], None)
            if member := self.ids.pop(payload["id"], None):
                member.id = None
                member.look()

    def hear_client(self, type, payload, id, limits):
        if type == "member":
            self.hear_member(payload, id, limits)
        elif member := self.ids.get(id):
            member.hear_moss(type, payload)
        elif type in ("offer", "answer", "message"):
            raise Refused("unknown", "say who you are first: member")

    def hear_member(self, payload, id, limits):
        key, life = name_in(payload, "key"), name_in(payload, "life")
        call = None if payload.get("call") is None else name_in(payload, "call")
        if payload.get("session") != self.session:
            return  # it will have this master's invitation in a moment
        if life in self.replaced.get(key, ()):
            raise Refused(**moved(life))
        if id in self.ids and self.ids[id].key != key:
            raise Refused("invalid", "this connection has said another key")
        member = self.members.get(key)
        if member and member.is_stale(payload):
            return
        if member and member.life != life:
            self.replace(member, id)
            member = None
        new = member is None
        if new:
            member = self.make_member(key, life, payload, limits)
            if member is None:
                return
        if member.id != id:
            self.ids.pop(member.id, None)
            self.ids[id] = member
            member.id = id
            member.messages.again()  # what went to the old id may be lost
        member.here, member.limits, member.silent = True, limits, 0
        member.said_at = payload.get("at")
        member.fallback = payload.get("fallback") is True
        if new:
            member.perform(member.joined)
        else:
            member.hear_hello(hello_in(payload))
        member.welcome(call)
        member.look()

    def make_member(self, key, life, payload, limits):
        if payload.get("again") is True:
            raise Refused("gone", "the numbers of this life are forgotten: begin a new one", life=life)
        if len(self.members) >= self.most:
            raise Refused("full", f"{self.most} are here, which is all there is room for")
        if not limits.offers.take():
            return None
        hello = hello_in(payload)
        member = self.members[key] = self.member_class(self, key, life)
        member.hello = hello
        return member

    def replace(self, member, id):
        """Its page was reloaded, or another page knows its key: the last one counts."""
        if len(self.replaced) > 10 * self.most:
            self.replaced.clear()
        self.replaced.setdefault(member.key, deque(maxlen=REPLACED)).append(member.life)
        member.tell_by_line("refused", moved(member.life))
        if member.id != id:
            member.tell("refused", moved(member.life))
        self.remove(member, "replaced")

    def send(self, type, payload, id):
        return self.send_packet is not None and self.send_packet({"type": type, "payload": payload, "id": id})

    def next_slot(self):
        """Milliseconds to wait: many who come at once call one after the other."""
        now = time.monotonic()
        last = now + SPREAD * self.most  # whoever asks and asks delays nobody for longer
        self.slot = min(max(now, self.slot + SPREAD), last)
        return round((self.slot - now) * 1000)

    def remove(self, member, why):
        if self.members.get(member.key) is not member:
            return
        del self.members[member.key]
        self.ids.pop(member.id, None)
        member.messages.stop()
        member.end_call()
        member.perform(member.left, why)

    def tick(self):
        """To be called about once a second."""
        now = time.monotonic()
        seconds, self.ticked = min(now - self.ticked, TICK), now
        for member in list(self.members.values()):
            member.perform(member.tick, seconds)

    def stop(self):
        for member in list(self.members.values()):
            bye = {"session": self.session}
            member.tell_by_line("bye", bye)
            member.tell("bye", bye)
            self.remove(member, "stopped")
