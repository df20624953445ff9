"""The master's side of the protocol "calls 1", as docs/calls.md tells it.

Who is there, and which call is whose. It knows neither WebRTC nor sockets, so any WebRTC
library can stand behind it: a program fills in a `Member` and gives it lines, as master.py
does with aiortc.
"""

import asyncio
import json
import secrets
import time
import traceback
from collections import deque

from messages import Messages

TICK = 2  # seconds that count at most from one tick to the next: a sleep is no absence
GONE = 30  # seconds out of touch, after which a member has left
SILENT, ASK, GIVE_UP = 20, 10, 300  # seconds: ask a silent member, how often, until when
FALLBACK = 3  # seconds without a line, after which messages go by moss
SPREAD = 0.1  # seconds between the calls of members who come all at once
CANDIDATES = 100  # in one call, from either side
ENDED = 16  # calls that are remembered as ended
REPLACED = 8  # lives of a key that are remembered as replaced
HELLO = 4000  # bytes of JSON
OFFER = 60_000  # characters of SDP: some is repeated in the answer, which has to pass moss
STALE = 300_000  # milliseconds: TCP gives up by then; more is a clock that was set
PAUSE = 60  # seconds before whoever flooded its line may call again


class CannotRestart(Exception):
    """A line raises it at an offer that it can't follow; the client then calls anew."""


class Refused(Exception):
    """What a client asks for is not to be had; it is told `code` and `message`."""

    def __init__(self, code, message, **more):
        super().__init__(message)
        self.payload = {"code": code, "message": message, **more}


def moved(life):
    return {"code": "moved", "message": "another page has this key now", "life": life}


def name_in(payload, key):
    """A key, a life or a call: what a client may choose."""
    value = payload.get(key) if isinstance(payload, dict) else None
    if isinstance(value, str) and 1 <= len(value) <= 64:
        return value
    raise Refused("invalid", f"{key} is to be a text of 1 to 64 characters")


def hello_in(payload):
    hello = payload.get("hello")
    if len(json.dumps(hello, ensure_ascii=False).encode(errors="surrogatepass")) > HELLO:
        raise Refused("invalid", f"hello is to have at most {HELLO} bytes as JSON")
    return hello


def number_in(payload):
    if type(payload.get("n")) is int and 0 < payload["n"] < 2**53:
        return payload["n"]
    raise Refused("invalid", "n is to be a number from 1 on")


class Allowance:
    """So many at once, and so many more each second."""

    def __init__(self, most, each_second):
        self.most = self.left = most
        self.each_second = each_second
        self.at = time.monotonic()

    def take(self):
        now = time.monotonic()
        self.left = min(self.most, self.left + (now - self.at) * self.each_second)
        self.at = now
        if self.left < 1:
            return False
        self.left -= 1
        return True


class Limits:
    """What one client may do: whoever does more harms only itself."""

    def __init__(self):
        self.packets = Allowance(2000, 500)  # more are dropped
        self.line = Allowance(20_000, 1000)  # what is dropped has cost time: more ends the line
        self.offers = Allowance(10, 1)
        self.refusals = Allowance(10, 1)


class Call:
    """One peer connection of a member, which its line is; the line reports to it."""

    def __init__(self, member, name):
        self.member, self.name = member, name
        self.up = False
        self.ended = False
        self.number, self.answer = 0, None  # of the last offer that was answered
        self.heard_candidates = self.told_candidates = 0
        # Offers and candidates take time, a lookup for instance. Each call has its own
        # queue, so nobody waits for another's.
        self.jobs = asyncio.Queue(2 * CANDIDATES)
        self.line = member.make_line(self)
        self.worker = asyncio.ensure_future(self.work())

    async def work(self):
        while not self.ended:
            job, *arguments = await self.jobs.get()
            try:
                await job(*arguments)
            except CannotRestart:
                self.member.end_call()
                self.member.welcome(self.name)
            except Exception as error:  # a library may raise anything at a stranger's SDP
                self.member.problem(f"{job.__name__} failed: {error!r}")
                if job == self.hear_offer:
                    self.member.end_call()
                    self.member.tell("refused", {"code": "invalid", "message": "this offer can't be answered"})

    def later(self, job, *arguments):
        try:
            self.jobs.put_nowait((job, *arguments))
        except asyncio.QueueFull:
            self.member.flooded()

    async def hear_offer(self, n, description, media, reply):
        if n > self.number:
            description, media = await self.line.answer(description, media)
            if self.ended:
                return
            self.number = n
            self.answer = {"call": self.name, "n": n, "description": description, "media": media}
        if n == self.number:  # a lower one came late
            reply("answer", self.answer)

    async def hear_candidate(self, candidate):
        await self.line.add_candidate(candidate)

    # What the line reports.

    def opened(self):
        """Messages get through now."""
        self.set_up(True)
        if self.answer:  # the one with this list may be lost
            self.member.tell_by_line("media", {"call": self.name, "media": self.answer["media"]})

    def down(self):
        """They don't; the line may come back."""
        self.set_up(False)

    def closed(self):
        """It won't."""
        if not self.ended:
            self.member.end_call()

    def text(self, text):
        """The channel `moss` brought this."""
        if self.takes():
            self.member.hear_line(self, text)

    def datagram(self, data):
        """The channel `moss-datagrams` brought this."""
        if self.takes():
            self.member.perform(self.member.datagram, data)

    def takes(self):
        if self.ended:
            return False
        if not self.member.limits.line.take():
            self.member.flooded()
            self.member.limits.offers.left = -PAUSE
            self.member.end_call()
        return not self.ended

    def candidate(self, candidate):
        """The line found one, if it doesn't put them all into its answer."""
        self.told_candidates += 1
        if not self.ended and self.told_candidates <= CANDIDATES:
            self.member.tell("candidate", {"call": self.name, "candidate": candidate})

    def set_up(self, up):
        if not self.ended and up != self.up:
            self.up = up
            self.member.look()

    def end(self):
        self.ended = True
        self.up = False
        self.line.close()
        if self.worker is not asyncio.current_task():
            self.worker.cancel()


class Member:
    """One life of a client's page. Its key outlives reloads and restarts of moss."""

    def __init__(self, master, key, life):
        self.master, self.key, self.life = master, key, life
        self.hello = None
        self.id = None  # moss's name for the client's connection, while it is known
        self.here = False  # heard since the master's last login
        self.limits = None  # that of the client's connection
        self.fallback = False
        self.call = None
        self.ended = deque(maxlen=ENDED)
        self.path = "lost"  # or "direct", or "moss"
        self.without_line = self.away = self.silent = 0  # seconds
        self.asked = 0
        self.said_at = None  # the time of its last `member`, by its own clock
        self.flood_told = False
        self.messages = Messages(self.transmit, self.deliver)

    # What a program fills in.

    def make_line(self, call):
        """A peer connection: `async answer(description, media)`, which returns both for
        the answer; `async add_candidate(candidate)`; `send(text)`, by the channel
        `moss`, false if it can't; `close()`."""
        raise NotImplementedError

    def joined(self):
        pass

    def message(self, data):
        pass

    def datagram(self, data):
        pass

    def said_hello(self):
        pass

    def media_changed(self, media):
        pass

    def path_changed(self):
        pass

    def left(self, why):
        """`goodbye`, `gone`, `replaced` or `stopped`."""

    def problem(self, text):
        print(text, flush=True)

    # What a program uses.

    def send(self, data):
        """Any JSON, once and in order. False: too much of it is not acknowledged."""
        return self.messages.send(data)

    # Ways to the client.

    def transmit(self, type, payload):
        if self.path == "direct":
            return self.call.line.send(json.dumps({"type": type, "payload": payload}))
        return self.path == "moss" and self.tell(type, payload | self.address())

    def is_stale(self, payload):
        """Said before what was heard last: a connection that was given up may still deliver."""
        at, last = payload.get("at"), self.said_at
        return isinstance(at, (int, float)) and isinstance(last, (int, float)) and 0 < last - at < STALE

    def address(self):
        return {"session": self.master.session, "life": self.life}

    def tell(self, type, payload):
        """By moss."""
        return self.id is not None and self.master.send(type, payload, self.id)

    def tell_by_line(self, type, payload):
        return self.call is not None and self.call.line.send(json.dumps({"type": type, "payload": payload}))

    def welcome(self, call=None):
        payload = self.address() | {
            "iceServers": self.master.ice_servers,
            "wait": 0 if self.call else self.master.next_slot(),
        }
        if call is not None:
            payload |= {"call": call, "known": self.call is not None and self.call.name == call}
        self.tell("welcome", payload)

    # What the client says.

    def hear_line(self, call, text):
        self.silent = 0
        if not self.limits.packets.take():
            return self.flooded()
        try:
            packet = json.loads(text)
            type, payload = packet["type"], packet.get("payload")
            if type in ("offer", "candidate") and payload["call"] != call.name:
                return
            if type == "member" and payload["life"] == self.life:
                self.hear_hello(hello_in(payload))
            elif type != "bye" or payload["life"] == self.life:
                self.hear(type, payload, self.tell_by_line)
        except Refused as refused:
            self.problem(f"refused: {refused}")
        except Exception as error:
            self.problem(f"nonsense: {error!r}")

    def hear_moss(self, type, payload):
        # A late packet may be meant for another master, or an earlier life.
        if type in ("message", "ack") and not self.address().items() <= payload.items():
            return
        if type == "bye" and payload.get("life") != self.life:
            return
        if type == "message" and self.fallback:  # its client has waited long enough
            self.without_line = max(self.without_line, FALLBACK)
            self.look()
        self.hear(type, payload, self.tell)

    def hear(self, type, payload, reply):
        if type == "message":
            self.messages.hear(number_in(payload), payload["data"])
        elif type == "ack":
            self.messages.hear_ack(number_in(payload))
        elif type == "offer":
            self.hear_offer(payload, reply)
        elif type == "candidate":
            self.hear_candidate(payload)
        elif type == "media":
            if self.call and payload["call"] == self.call.name:
                self.perform(self.media_changed, payload["media"])
        elif type == "bye":
            self.master.remove(self, "goodbye")

    def hear_hello(self, hello):
        if hello != self.hello:
            self.hello = hello
            self.perform(self.said_hello)

    def hear_offer(self, payload, reply):
        name, n = name_in(payload, "call"), number_in(payload)
        description, media = payload["description"], payload.get("media") or []
        if name in self.ended:
            return
        if len(description["sdp"]) > OFFER:
            raise Refused("invalid", f"an offer is to have at most {OFFER} characters")
        if not self.limits.offers.take():
            return self.flooded()
        if self.call is None or self.call.name != name:
            self.end_call()
            self.call = Call(self, name)
        self.call.later(self.call.hear_offer, n, description, media, reply)

    def hear_candidate(self, payload):
        call = self.call
        if call is None or payload["call"] != call.name:
            return
        call.heard_candidates += 1
        if call.heard_candidates > CANDIDATES:
            return self.flooded()
        call.later(call.hear_candidate, payload["candidate"])

    # What becomes of it.

    def deliver(self, data):
        self.perform(self.message, data)

    def perform(self, handler, *arguments):
        """What goes wrong in a program's own part ends nothing here."""
        try:
            handler(*arguments)
        except Exception:
            traceback.print_exc()

    def end_call(self):
        if self.call:
            call, self.call = self.call, None
            self.ended.append(call.name)
            call.end()
            self.look()

    def flooded(self):
        if not self.flood_told:
            self.flood_told = True
            self.problem("sends too much; the rest is dropped")

    def look(self):
        """Which way do messages take now?"""
        if self.call and self.call.up:
            path = "direct"
            self.without_line = self.away = self.silent = self.asked = 0
        elif self.fallback and self.id and self.master.send_packet and self.without_line >= FALLBACK:
            path = "moss"
        else:
            path = "lost"
        if path != self.path:
            self.path = path
            self.messages.again()
            self.perform(self.path_changed)

    def tick(self, seconds):
        self.messages.tick(seconds)
        if self.path == "direct":
            return
        self.without_line += seconds
        self.look()
        if not self.master.send_packet:
            return
        self.silent += seconds
        bound = self.id is not None and self.here
        self.away = 0 if bound else self.away + seconds
        if self.away >= GONE or self.silent >= GIVE_UP:
            self.master.remove(self, "gone")
        elif self.silent >= max(SILENT, self.asked + ASK):
            self.asked = self.silent
            self.welcome()  # moss says if nobody is there


class Calls:
    """All members of a master. `connected`, `disconnected`, `heard` and `tick` drive it."""

    def __init__(self, member_class, ice_servers=(), most=30):
        self.session = secrets.token_hex(16)
        self.member_class, self.ice_servers, self.most = member_class, list(ice_servers), most
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
