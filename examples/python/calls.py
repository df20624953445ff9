"""The members of a master in the protocol "calls 1" (docs/calls.md), and their ids at moss."""

import secrets
import time
from collections import deque

from strangers import Limits, Refused, hello_in, name_in

TICK = 2  # seconds that count at most between two ticks: time asleep does not count
SPREAD = 0.1  # seconds between the calls of members that come at once
REPLACED = 8  # replaced lives that are remembered for one key


def moved(life):
    return {"code": "moved", "message": "another page has this key now", "life": life}


class Calls:
    """All members of a master. `connected`, `disconnected`, `heard` and `tick` drive it."""

    def __init__(self, member_class, ice_servers=(), most=30):
        self.session = secrets.token_hex(16)
        self.member_class, self.ice_servers, self.most = member_class, ice_servers, most
        self.members = {}  # by key
        self.ids = {}  # members by their id at moss
        self.limits = {}  # by id: a client may join and leave repeatedly on one connection
        self.send_packet = None
        self.replaced = {}  # lives, by key
        self.slot = 0
        self.ticked = time.monotonic()

    @property
    def invitation(self):
        """The `sdp` of set-master, which each client gets first."""
        return {"calls": 1, "session": self.session}

    def connected(self, send_packet):
        """This program is master now. `send_packet(packet)` doesn't block; it returns false if it can't send."""
        self.send_packet = send_packet
        self.limits.clear()
        for member in self.members.values():
            member.here = False
            member.silent = member.asked = 0
            member.look()

    def disconnected(self):
        """Lines stay up, and their clients come back with a new id."""
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
            if limits.refusals.take():  # a client may answer each refusal by more packets
                self.send("refused", refused.payload, id)
        except Exception as error:
            print(f"invalid packet from a client: {error!r}", flush=True)

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
            raise Refused("unknown", "send a packet of type member first")

    def hear_member(self, payload, id, limits):
        key, life = name_in(payload, "key"), name_in(payload, "life")
        call = None if payload.get("call") is None else name_in(payload, "call")
        if payload.get("session") != self.session:
            return  # the invitation of this session is on its way
        if life in self.replaced.get(key, ()):
            raise Refused(**moved(life))
        if id in self.ids and self.ids[id].key != key:
            raise Refused("invalid", "this connection already has another key")
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
            raise Refused("gone", "the messages of this life are forgotten: begin a new life", life=life)
        if len(self.members) >= self.most:
            raise Refused("full", f"the master is full: it takes {self.most} members")
        if not limits.offers.take():
            return None
        hello = hello_in(payload)
        member = self.members[key] = self.member_class(self, key, life)
        member.hello = hello
        return member

    def replace(self, member, id):
        """The page was reloaded, or another page has the key: the newer one replaces the member."""
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
        """Milliseconds to wait: members that come at once call one after the other."""
        now = time.monotonic()
        last = now + SPREAD * self.most  # one client that asks repeatedly can't delay others further
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
        """Call it about once a second."""
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
