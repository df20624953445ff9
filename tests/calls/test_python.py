"""The protocol in examples/python by itself, with fake lines: what takes minutes, or a flood."""

import asyncio
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "examples/python"))

import calls  # noqa: E402
import moss  # noqa: E402
import program  # noqa: E402
import strangers  # noqa: E402
from client import until  # noqa: E402
from member import Member  # noqa: E402
from messages import Messages  # noqa: E402


class FakeLine:
    made = 0

    def __init__(self):
        FakeLine.made += 1
        self.sent, self.candidates = [], []
        self.is_closed = False

    async def answer(self, description, media):
        return {"type": "answer", "sdp": ""}, []

    async def add_candidate(self, candidate):
        self.candidates.append(candidate)

    def send(self, text):
        self.sent.append(json.loads(text))
        return True

    def close(self):
        self.is_closed = True


class Visitor(Member):
    def make_line(self, call):
        return FakeLine()

    def joined(self):
        self.heard, self.why, self.problems = [], None, []

    def message(self, data):
        self.heard.append(data)

    def left(self, why):
        self.why = why

    def problem(self, text):
        self.problems.append(text)


async def house_is_quiet():
    """All that is ready has run."""
    for _ in range(1000):
        await asyncio.sleep(0)


class House:
    """A master without a network, and a clock that goes when it is told to."""

    def __init__(self, monkeypatch):
        self.now = 1000
        for module in (calls, strangers):
            monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: self.now))
        self.calls = calls.Calls(Visitor)
        self.said = []
        self.connect()

    def connect(self):
        self.calls.connected(lambda packet: self.said.append(packet) or True)

    def hear(self, type, payload, id="1"):
        self.calls.heard({"type": type, "payload": payload, "id": id})

    def member(self, key="key", life="life", id="1", **more):
        self.hear("member", {"session": self.calls.session, "key": key, "life": life, **more}, id)
        return self.calls.members.get(key)

    async def line(self, member, call="call"):
        self.hear("offer", {"call": call, "n": 1, "description": {"type": "offer", "sdp": ""}}, member.id)
        await house_is_quiet()
        member.call.opened()
        return member.call

    def wait(self, seconds):
        for _ in range(seconds):
            self.now += 1
            self.calls.tick()

    def moss_says(self, type, payload):
        self.calls.heard({"type": type, "payload": payload})

    def told(self, type):
        return [packet["payload"] for packet in self.said if packet["type"] == type]


@pytest.fixture
def house(monkeypatch):
    return House(monkeypatch)


async def test_who_is_out_of_touch_for_30_seconds_is_gone(house):
    member = house.member()
    house.moss_says("client-left", {"id": "1"})
    house.wait(29)
    assert member.why is None
    house.wait(1)
    assert member.why == "gone" and not house.calls.members


async def test_who_has_a_line_is_not_gone(house):
    member = house.member()
    call = await house.line(member)
    house.moss_says("client-left", {"id": "1"})
    house.wait(100)
    assert member.why is None
    call.closed()
    house.wait(30)
    assert member.why == "gone"


async def test_who_is_there_by_moss_is_not_gone(house):
    member = house.member()
    for _ in range(10):
        house.wait(15)
        house.member()
    assert member.why is None and not member.problems


async def test_nobody_is_gone_while_the_master_itself_is_away(house):
    member = house.member()
    house.calls.disconnected()
    house.wait(400)
    house.connect()
    house.wait(29)
    assert member.why is None
    house.wait(1)
    assert member.why == "gone"


async def test_a_sleep_is_no_absence(house):
    member = house.member()
    house.moss_says("client-left", {"id": "1"})
    house.now += 3600
    house.calls.tick()
    house.wait(27)
    assert member.why is None


async def test_a_silent_member_is_asked_and_at_last_given_up(house):
    member = house.member()
    house.said.clear()
    house.wait(19)
    assert not house.told("welcome")
    house.wait(12)
    assert len(house.told("welcome")) == 2
    house.moss_says("moss-error", {"code": "unknown-client", "message": "", "id": "1"})
    house.wait(30)
    assert member.why == "gone"
    member = house.member(life="another")
    house.wait(300)
    assert member.why == "gone"


async def test_who_comes_back_after_that_is_told_to_begin_anew(house):
    house.member()
    house.moss_says("client-left", {"id": "1"})
    house.wait(30)
    house.member(id="2", again=True)
    assert house.told("refused")[-1] == {"code": "gone", "life": "life", "message": house.told("refused")[-1]["message"]}


async def test_a_page_that_was_taken_over_stays_out(house):
    old = house.member(life="old", id="1")
    call = await house.line(old)
    new = house.member(life="new", id="2")
    assert old.why == "replaced" and call.line.is_closed
    assert call.line.sent[-1]["payload"]["code"] == "moved"
    house.member(life="old", id="3")
    assert [refused["code"] for refused in house.told("refused")] == ["moved", "moved"]
    assert new.why is None


async def test_a_full_house(house):
    for number in range(house.calls.most):
        assert house.member(key=f"key {number}", id=f"id {number}")
    assert not house.member(key="one more", id="one more")
    assert house.told("refused")[-1]["code"] == "full"
    house.hear("bye", {"life": "life"}, "id 0")
    assert house.member(key="one more", id="one more")


async def test_a_line_that_floods_is_ended_for_a_while(house):
    member = house.member()
    call = await house.line(member)
    for _ in range(19_000):
        call.datagram(b"")
    assert not call.line.is_closed
    for _ in range(2000):
        call.datagram(b"")
    assert call.line.is_closed and len(member.problems) == 1
    offer = {"call": "next", "n": 1, "description": {"type": "offer", "sdp": ""}}
    house.wait(59)
    house.member()
    house.hear("offer", offer)
    assert member.call is None
    house.wait(5)
    house.hear("offer", offer)
    assert member.call.name == "next"
    member.end_call()


async def test_a_thousand_calls_are_ten(house):
    member = house.member()
    before = FakeLine.made
    for number in range(1000):
        house.hear("offer", {"call": f"call {number}", "n": 1, "description": {"type": "offer", "sdp": ""}})
    assert FakeLine.made - before <= 10
    member.end_call()


async def test_a_thousand_lives_of_one_connection_are_ten(house):
    lives = [house.member(life=f"life {number}") for number in range(1000)]
    assert len([member for member in lives if member]) <= 10


async def test_a_thousand_candidates_are_a_hundred(house):
    member = house.member()
    call = await house.line(member)
    for number in range(10):
        for _ in range(100):
            house.hear("candidate", {"call": call.name, "candidate": {}})
        await house_is_quiet()
    assert len(call.line.candidates) == 100
    member.end_call()


async def test_a_thousand_wrong_packets_are_refused_ten_times(house):
    for _ in range(1000):
        house.hear("offer", None, "2")
        house.hear("member", None, "3")
    assert len(house.told("refused")) == 20


async def test_an_offer_of_any_length_is_not_even_read(house):
    member = house.member()
    house.hear("offer", {"call": "call", "n": 1, "description": {"type": "offer", "sdp": "x" * 100_000}})
    assert member.call is None and house.told("refused")[-1]["code"] == "invalid"


async def test_a_client_can_not_tell_that_another_has_left(house):
    member = house.member()
    for type, payload in (("client-left", {"id": "1"}), ("moss-error", {"code": "unknown-client", "id": "1"})):
        house.hear(type, payload, "2")
    assert member.id == "1"


async def test_a_packet_that_moss_would_not_take_is_not_sent():
    sent = []

    class Socket:
        async def send(self, text):
            sent.append(json.loads(text)["type"])

    outgoing = asyncio.Queue()
    for packet in ({"type": "long", "payload": "x" * 300_000}, {"type": "short"}, None):
        outgoing.put_nowait(packet)
    await moss.write(Socket(), outgoing)
    assert sent == ["short"]


async def test_a_master_is_told_its_secrets_by_the_environment(monkeypatch):
    async def serve(calls, address, secret):
        return calls.ice_servers, calls.most, address, secret

    monkeypatch.setattr(program, "serve", serve)
    monkeypatch.delenv("MOSS_CONNECTION_SECRET", raising=False)
    monkeypatch.delenv("ICE_SERVERS", raising=False)
    assert "is not set" in await program.run(Visitor, "ws://moss/")
    monkeypatch.setenv("MOSS_CONNECTION_SECRET", "secret")
    assert await program.run(Visitor, "ws://moss/", most=7) == ([], 7, "ws://moss/", "secret")
    monkeypatch.setenv("ICE_SERVERS", '[{"urls": "stun:box"}]')
    assert (await program.run(Visitor, "ws://moss/"))[0] == [{"urls": "stun:box"}]


async def test_messages_that_nobody_acknowledges_have_an_end(house):
    member = house.member()
    call = await house.line(member)
    call.line.sent.clear()
    sent = 0
    while member.send("x" * 1000):
        sent += 1
    assert 1000 < sent < 1048
    assert len(call.line.sent) == 64
    call.text(json.dumps({"type": "ack", "payload": {"n": 64}}))
    assert len(call.line.sent) == 128
    assert member.send("again")
    assert [packet["payload"]["n"] for packet in call.line.sent] == list(range(1, 129))


class Wire:
    """One end of numbered messages, and all that it sends."""

    def __init__(self):
        self.sent, self.heard = [], []
        self.messages = Messages(self.transmit, self.heard.append)

    def transmit(self, type, payload):
        self.sent.append((type, payload["n"]))
        return True

    def numbers(self, type):
        numbers = [n for what, n in self.sent if what == type]
        self.sent.clear()
        return numbers


async def test_messages_are_repeated_ever_more_rarely():
    wire = Wire()
    wire.messages.send("hello")

    def seconds_of_repeats(seconds):
        wire.sent.clear()
        found = []
        for second in range(1, seconds + 1):
            wire.messages.tick(1)
            found += [second for _ in wire.numbers("message")]
        return found

    assert seconds_of_repeats(70) == [3, 9, 21, 45, 69]
    wire.messages.hear_ack(1)
    assert seconds_of_repeats(10) == []
    wire.messages.send("hello")
    assert seconds_of_repeats(10) == [3, 9]


async def test_messages_are_acknowledged_soon_and_at_once_where_it_matters():
    wire = Wire()
    for n in range(1, 16):
        wire.messages.hear(n, n)
    assert not wire.numbers("ack")
    wire.messages.hear(16, 16)
    assert wire.numbers("ack") == [16]
    wire.messages.hear(16, 16)  # its acknowledgement was lost
    assert wire.numbers("ack") == [16]
    wire.messages.hear(18, 18)  # 17 was lost
    wire.messages.hear(17, 17)
    await asyncio.wait_for(until("in a moment", lambda: wire.sent), 10)
    assert wire.numbers("ack") == [17] and wire.heard == list(range(1, 18))
    wire.messages.again()  # what was said last may be lost
    assert wire.numbers("ack") == [17]


async def test_a_message_has_a_largest_size():
    wire = Wire()
    assert wire.messages.send("\u4e16" * 19_999)
    with pytest.raises(ValueError):
        wire.messages.send("\u4e16" * 20_000)


async def test_who_talks_by_moss_is_answered_there_at_once(house):
    member = house.member(fallback=True)
    assert member.path == "lost"
    house.hear("message", {"session": house.calls.session, "life": "life", "n": 1, "data": 1})
    assert member.path == "moss" and member.heard == [1]
    await asyncio.sleep(0)
    member.messages.stop()


async def test_what_may_be_lost_with_a_line_goes_by_the_next_one_at_once(house):
    member = house.member()
    first = await house.line(member, "first")
    member.send("hello")
    next = await house.line(member, "next")
    hello = {"type": "message", "payload": {"n": 1, "data": "hello"}}
    assert hello in first.line.sent and hello in next.line.sent
    member.end_call()


async def test_what_went_to_an_old_id_goes_to_the_new_one(house):
    member = house.member(fallback=True)
    house.wait(3)
    member.send("hello")
    house.said.clear()
    house.member(id="2", fallback=True)
    assert [packet["id"] for packet in house.said if packet["type"] == "message"] == ["2"]


async def test_the_media_are_told_again_once_the_line_is_open(house):
    call = await house.line(house.member())
    assert {"type": "media", "payload": {"call": "call", "media": []}} in call.line.sent


async def test_a_life_can_not_write_lines_of_the_log(house, capsys):
    house.member(life="\x1bc\n\ud800ada").log("joined")
    assert capsys.readouterr().out == r"'\x1bc\n\ud800ad' joined" + "\n"


async def test_an_error_of_the_program_ends_nothing(house, capsys):
    member = house.member()
    call = await house.line(member)
    member.message = lambda data: 1 / 0
    call.text(json.dumps({"type": "message", "payload": {"n": 1, "data": 1}}))
    assert "ZeroDivisionError" in capsys.readouterr().err
    assert member.messages.received == 1
    house.wait(1)
    member.end_call()
