"""A member of the protocol "calls 1" (docs/calls.md), and its call.

It uses neither WebRTC nor sockets, so it works with any WebRTC library: a program subclasses
`Member` and makes its lines, as master.py does with aiortc.
"""

import asyncio
import json
import traceback
from collections import deque

from messages import Messages
from strangers import Refused, hello_in, name_in, number_in

GONE = 30  # seconds without line and id, after which a member has left
SILENT, ASK, GIVE_UP = 20, 10, 300  # seconds: ask a silent member, ask again, give up
FALLBACK = 3  # seconds without a line, after which messages go through moss
CANDIDATES = 100  # of a client, in one call
ENDED = 16  # ended calls that are remembered
OFFER = 60_000  # characters of SDP: the answer repeats some, and has to fit into moss's limit
STALE = 300_000  # milliseconds: by then TCP gives up; a larger difference means that the clock was set
PAUSE = 60  # seconds before a client that flooded its line may call again


class CannotRestart(Exception):
    """Raised by a line that can't follow an ICE restart; the client then calls again."""


class Call:
    """One call of a member. Its `line` is the peer connection, which reports to it."""

    def __init__(self, member, name):
        self.member, self.name = member, name
        self.up = False
        self.ended = False
        self.number, self.answer = 0, None  # of the last offer that was answered
        self.heard_candidates = 0
        # Offers and candidates take time, for instance a name lookup. Each call has its own
        # queue, so that no call waits for another.
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

    # Called by the line.

    def opened(self):
        """The channel is open."""
        self.set_up(True)
        if self.answer:  # sent again, as the answer with this list may be lost
            self.member.tell_by_line("media", {"call": self.name, "media": self.answer["media"]})

    def down(self):
        """Nothing gets through now, but the line may recover."""
        self.set_up(False)

    def closed(self):
        """The line is closed for good."""
        if not self.ended:
            self.member.end_call()

    def text(self, text):
        """A message came in the channel `moss`."""
        if self.takes():
            self.member.hear_line(self, text)

    def datagram(self, data):
        """A message came in the channel `moss-datagrams`."""
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
        """A local candidate was found, if the line doesn't put all of them into its answer."""
        if not self.ended:
            self.member.tell("candidate", {"call": self.name, "candidate": candidate})

    def set_up(self, up):
        if not self.ended:
            self.up = up
            self.member.look()

    def end(self):
        self.ended = True
        self.line.close()
        if self.worker is not asyncio.current_task():
            self.worker.cancel()


class Member:
    """One life of a client's page. Its key stays the same after a reload and a restart of moss."""

    def __init__(self, master, key, life):
        self.master, self.key, self.life = master, key, life
        self.hello = None
        self.id = None  # of the client's connection to moss, while there is one
        self.here = False  # whether it has sent something since the master's last login
        self.limits = None  # those of the client's connection
        self.fallback = False
        self.call = None
        self.ended = deque(maxlen=ENDED)
        self.path = "lost"  # or "direct", or "moss"
        self.without_line = self.away = self.silent = 0  # seconds
        self.asked = 0
        self.said_at = None  # the time of its last `member`, by the client's clock
        self.flood_told = False
        self.messages = Messages(self.transmit, self.deliver)

    # For a program to override.

    def make_line(self, call):
        """Returns a peer connection with `async answer(description, media)`, which returns
        those of the answer; `async add_candidate(candidate)`; `send(text)` in the channel
        `moss`, which returns false if it can't; `close()`."""
        raise NotImplementedError

    def joined(self):
        pass

    def message(self, data):
        pass

    def datagram(self, data):
        pass

    def said_hello(self):
        pass

    def path_changed(self):
        pass

    def left(self, why):
        """`goodbye`, `gone`, `replaced` or `stopped`."""

    def problem(self, text):
        self.log(f"problem: {text}")

    # For a program to call.

    def send(self, data):
        """Sends a JSON value, which arrives once and in order. False if too much is not acknowledged."""
        return self.messages.send(data)

    def log(self, text):
        # Not the key, which must stay secret. `!r`, as a life may contain control characters.
        print(f"{self.life[:6]!r} {text}", flush=True)

    # Sending to the client.

    def transmit(self, type, payload):
        if self.path == "direct":
            return self.call.line.send(json.dumps({"type": type, "payload": payload}))
        return self.path == "moss" and self.tell(type, payload | self.address())

    def is_stale(self, payload):
        """Whether it is older than the last `member`: a connection that was given up may still deliver."""
        at, last = payload.get("at"), self.said_at
        return isinstance(at, (int, float)) and isinstance(last, (int, float)) and 0 < last - at < STALE

    def address(self):
        return {"session": self.master.session, "life": self.life}

    def tell(self, type, payload):
        """Sends through moss."""
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

    # Packets from the client.

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
            self.problem(f"invalid packet: {error!r}")

    def hear_moss(self, type, payload):
        # A late packet may belong to another session, or an earlier life.
        if type in ("message", "ack") and not self.address().items() <= payload.items():
            return
        if type == "bye" and payload.get("life") != self.life:
            return
        if type == "message" and self.fallback:  # the client has already waited for a line
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
            raise Refused("invalid", f"an offer must have at most {OFFER} characters")
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

    # State.

    def deliver(self, data):
        self.perform(self.message, data)

    def perform(self, handler, *arguments):
        """Calls a program's handler, whose errors must not stop the protocol."""
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
            self.problem("sends too much: some packets are dropped")

    def look(self):
        """Finds the path that messages take now."""
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
            self.welcome()  # moss answers `unknown-client` if it has left
