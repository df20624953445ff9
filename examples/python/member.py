"""A member of the protocol "calls 1", and its call, as docs/calls.md tells it.

It knows neither WebRTC nor sockets, so any WebRTC library can stand behind it: a program fills
in a `Member` and gives it lines, as master.py does with aiortc.
"""

import asyncio
import json
import traceback
from collections import deque

from messages import Messages
from strangers import Refused, hello_in, name_in, number_in

GONE = 30  # seconds out of touch, after which a member has left
SILENT, ASK, GIVE_UP = 20, 10, 300  # seconds: ask a silent member, how often, until when
FALLBACK = 3  # seconds without a line, after which messages go by moss
CANDIDATES = 100  # of a client, in one call
ENDED = 16  # calls that are remembered as ended
OFFER = 60_000  # characters of SDP: some is repeated in the answer, which has to pass moss
STALE = 300_000  # milliseconds: TCP gives up by then; more is a clock that was set
PAUSE = 60  # seconds before whoever flooded its line may call again


class CannotRestart(Exception):
    """A line raises it at an offer that it can't follow; the client then calls anew."""


class Call:
    """One peer connection of a member, which its line is; the line reports to it."""

    def __init__(self, member, name):
        self.member, self.name = member, name
        self.up = False
        self.ended = False
        self.number, self.answer = 0, None  # of the last offer that was answered
        self.heard_candidates = 0
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

    def path_changed(self):
        pass

    def left(self, why):
        """`goodbye`, `gone`, `replaced` or `stopped`."""

    def problem(self, text):
        self.log(f"problem: {text}")

    # What a program uses.

    def send(self, data):
        """Any JSON, once and in order. False: too much of it is not acknowledged."""
        return self.messages.send(data)

    def log(self, text):
        # Not the key: whoever knows it has the line. A life may be text that no terminal takes.
        print(f"{self.life[:6]!r} {text}", flush=True)

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
