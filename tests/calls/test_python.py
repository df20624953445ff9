"""The protocol in examples/python alone, with fake lines: these tests would take minutes or a flood
with real ones."""

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


class FakeMember(Member):
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


async def all_tasks_have_run():
    """Waits until all ready tasks have run."""
    for _ in range(1000):
        await asyncio.sleep(0)


class FakeMaster:
    """A master without a network, whose clock the test sets."""

    def __init__(self, monkeypatch):
        self.now = 1000
        for module in (calls, strangers):
            monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: self.now))
        self.calls = calls.Calls(FakeMember)
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
        await all_tasks_have_run()
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
def fake_master(monkeypatch):
    return FakeMaster(monkeypatch)


async def test_a_member_without_line_and_id_is_gone_after_30_seconds(fake_master):
    member = fake_master.member()
    fake_master.moss_says("client-left", {"id": "1"})
    fake_master.wait(29)
    assert member.why is None
    fake_master.wait(1)
    assert member.why == "gone" and not fake_master.calls.members


async def test_a_member_with_a_line_is_not_gone(fake_master):
    member = fake_master.member()
    call = await fake_master.line(member)
    fake_master.moss_says("client-left", {"id": "1"})
    fake_master.wait(100)
    assert member.why is None
    call.closed()
    fake_master.wait(30)
    assert member.why == "gone"


async def test_a_member_that_is_connected_to_moss_is_not_gone(fake_master):
    member = fake_master.member()
    for _ in range(10):
        fake_master.wait(15)
        fake_master.member()
    assert member.why is None and not member.problems


async def test_no_member_is_gone_while_the_master_has_no_moss(fake_master):
    member = fake_master.member()
    fake_master.calls.disconnected()
    fake_master.wait(400)
    fake_master.connect()
    fake_master.wait(29)
    assert member.why is None
    fake_master.wait(1)
    assert member.why == "gone"


async def test_time_asleep_does_not_count(fake_master):
    member = fake_master.member()
    fake_master.moss_says("client-left", {"id": "1"})
    fake_master.now += 3600
    fake_master.calls.tick()
    fake_master.wait(27)
    assert member.why is None


async def test_a_silent_member_is_asked_and_then_given_up(fake_master):
    member = fake_master.member()
    fake_master.said.clear()
    fake_master.wait(19)
    assert not fake_master.told("welcome")
    fake_master.wait(12)
    assert len(fake_master.told("welcome")) == 2
    fake_master.moss_says("moss-error", {"code": "unknown-client", "message": "", "id": "1"})
    fake_master.wait(30)
    assert member.why == "gone"
    member = fake_master.member(life="another")
    fake_master.wait(300)
    assert member.why == "gone"


async def test_a_forgotten_life_is_refused(fake_master):
    fake_master.member()
    fake_master.moss_says("client-left", {"id": "1"})
    fake_master.wait(30)
    fake_master.member(id="2", again=True)
    assert fake_master.told("refused")[-1] == {"code": "gone", "life": "life", "message": fake_master.told("refused")[-1]["message"]}


async def test_a_replaced_page_stays_refused(fake_master):
    old = fake_master.member(life="old", id="1")
    call = await fake_master.line(old)
    new = fake_master.member(life="new", id="2")
    assert old.why == "replaced" and call.line.is_closed
    assert call.line.sent[-1]["payload"]["code"] == "moved"
    fake_master.member(life="old", id="3")
    assert [refused["code"] for refused in fake_master.told("refused")] == ["moved", "moved"]
    assert new.why is None


async def test_a_full_master(fake_master):
    for number in range(fake_master.calls.most):
        assert fake_master.member(key=f"key {number}", id=f"id {number}")
    assert not fake_master.member(key="one more", id="one more")
    assert fake_master.told("refused")[-1]["code"] == "full"
    fake_master.hear("bye", {"life": "life"}, "id 0")
    assert fake_master.member(key="one more", id="one more")


async def test_a_line_that_floods_is_closed_for_a_while(fake_master):
    member = fake_master.member()
    call = await fake_master.line(member)
    for _ in range(19_000):
        call.datagram(b"")
    assert not call.line.is_closed
    for _ in range(2000):
        call.datagram(b"")
    assert call.line.is_closed and len(member.problems) == 1
    offer = {"call": "next", "n": 1, "description": {"type": "offer", "sdp": ""}}
    fake_master.wait(59)
    fake_master.member()
    fake_master.hear("offer", offer)
    assert member.call is None
    fake_master.wait(5)
    fake_master.hear("offer", offer)
    assert member.call.name == "next"
    member.end_call()


async def test_of_a_thousand_calls_twenty_are_answered(fake_master):
    member = fake_master.member()
    before = FakeLine.made
    for number in range(1000):
        fake_master.hear("offer", {"call": f"call {number}", "n": 1, "description": {"type": "offer", "sdp": ""}})
    assert FakeLine.made - before <= 20
    member.end_call()


async def test_of_a_thousand_lives_of_one_connection_twenty_are_welcomed(fake_master):
    lives = [fake_master.member(life=f"life {number}") for number in range(1000)]
    assert len([member for member in lives if member]) <= 20


async def test_of_a_thousand_candidates_a_hundred_are_used(fake_master):
    member = fake_master.member()
    call = await fake_master.line(member)
    for number in range(10):
        for _ in range(100):
            fake_master.hear("candidate", {"call": call.name, "candidate": {}})
        await all_tasks_have_run()
    assert len(call.line.candidates) == 100
    member.end_call()


async def test_a_thousand_wrong_packets_are_refused_ten_times(fake_master):
    for _ in range(1000):
        fake_master.hear("offer", None, "2")
        fake_master.hear("member", None, "3")
    assert len(fake_master.told("refused")) == 20


async def test_a_long_offer_is_refused_unread(fake_master):
    member = fake_master.member()
    fake_master.hear("offer", {"call": "call", "n": 1, "description": {"type": "offer", "sdp": "x" * 100_000}})
    assert member.call is None and fake_master.told("refused")[-1]["code"] == "invalid"


async def test_a_client_can_not_report_that_another_has_left(fake_master):
    member = fake_master.member()
    for type, payload in (("client-left", {"id": "1"}), ("moss-error", {"code": "unknown-client", "id": "1"})):
        fake_master.hear(type, payload, "2")
    assert member.id == "1"


async def test_a_packet_that_is_too_long_for_moss_is_not_sent():
    sent = []

    class Socket:
        async def send(self, text):
            sent.append(json.loads(text)["type"])

    outgoing = asyncio.Queue()
    for packet in ({"type": "long", "payload": "x" * 300_000}, {"type": "short"}, None):
        outgoing.put_nowait(packet)
    await moss.write(Socket(), outgoing)
    assert sent == ["short"]


async def test_a_master_gets_its_secrets_from_the_environment(monkeypatch):
    async def serve(calls, address, secret):
        return calls.ice_servers, calls.most, address, secret

    monkeypatch.setattr(program, "serve", serve)
    monkeypatch.delenv("MOSS_CONNECTION_SECRET", raising=False)
    monkeypatch.delenv("ICE_SERVERS", raising=False)
    assert "is not set" in await program.run(FakeMember, "ws://moss/")
    monkeypatch.setenv("MOSS_CONNECTION_SECRET", "secret")
    assert await program.run(FakeMember, "ws://moss/", most=7) == ([], 7, "ws://moss/", "secret")
    monkeypatch.setenv("ICE_SERVERS", '[{"urls": "stun:box"}]')
    assert (await program.run(FakeMember, "ws://moss/"))[0] == [{"urls": "stun:box"}]


async def test_unacknowledged_messages_are_bounded(fake_master):
    member = fake_master.member()
    call = await fake_master.line(member)
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
    """One side of numbered messages, which records what it sends."""

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


async def test_messages_are_repeated_after_longer_and_longer_pauses():
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


async def test_messages_are_acknowledged_soon_and_repeated_ones_at_once():
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
    wire.messages.again()  # the last packets may be lost
    assert wire.numbers("ack") == [17]


async def test_a_message_has_a_largest_size():
    wire = Wire()
    assert wire.messages.send("\u4e16" * 19_999)
    with pytest.raises(ValueError):
        wire.messages.send("\u4e16" * 20_000)


async def test_a_message_through_moss_is_answered_there_at_once(fake_master):
    member = fake_master.member(fallback=True)
    assert member.path == "lost"
    fake_master.hear("message", {"session": fake_master.calls.session, "life": "life", "n": 1, "data": 1})
    assert member.path == "moss" and member.heard == [1]
    await asyncio.sleep(0)
    member.messages.stop()


async def test_messages_lost_with_a_line_go_over_the_next_one_at_once(fake_master):
    member = fake_master.member()
    first = await fake_master.line(member, "first")
    member.send("hello")
    next = await fake_master.line(member, "next")
    hello = {"type": "message", "payload": {"n": 1, "data": "hello"}}
    assert hello in first.line.sent and hello in next.line.sent
    member.end_call()


async def test_messages_sent_to_an_old_id_are_sent_to_the_new_one(fake_master):
    member = fake_master.member(fallback=True)
    fake_master.wait(3)
    member.send("hello")
    fake_master.said.clear()
    fake_master.member(id="2", fallback=True)
    assert [packet["id"] for packet in fake_master.said if packet["type"] == "message"] == ["2"]


async def test_the_media_are_sent_again_once_the_line_is_open(fake_master):
    call = await fake_master.line(fake_master.member())
    assert {"type": "media", "payload": {"call": "call", "media": []}} in call.line.sent


async def test_a_life_can_not_write_lines_of_the_log(fake_master, capsys):
    fake_master.member(life="\x1bc\n\ud800ada").log("joined")
    assert capsys.readouterr().out == r"'\x1bc\n\ud800ad' joined" + "\n"


async def test_an_error_in_the_application_ends_nothing(fake_master, capsys):
    member = fake_master.member()
    call = await fake_master.line(member)
    member.message = lambda data: 1 / 0
    call.text(json.dumps({"type": "message", "payload": {"n": 1, "data": 1}}))
    assert "ZeroDivisionError" in capsys.readouterr().err
    assert member.messages.received == 1
    fake_master.wait(1)
    member.end_call()
