"""After any request, the next one gets its own answer."""

import re

import pytest
from folder import FILES, target
from smuggling import PROBES, probe
from wire import Wire, request

VICTIMS = ["style.css", "with space.txt", "dir/index.html"]


@pytest.mark.parametrize("name", PROBES)
def test_moss_gives_one_answer_and_closes(origin, name):
    sent, status = probe(name, "/index.html")
    with Wire(origin) as wire:
        wire.say(sent)
        answers = wire.rest()
    assert re.findall(rb"^HTTP/1\.1 (\d+)", answers, re.M) == [str(status).encode()], answers
    assert b"\r\nconnection: close\r\n" in answers.lower()


def test_behind_a_proxy_the_next_client_gets_its_own_answer(proxy):
    for prefix in proxy.sharing:
        for name in PROBES:
            sent, _ = probe(name, f"{prefix}/index.html")
            with Wire(proxy.origin) as attacker, Wire(proxy.origin) as victim:
                attacker.say(sent)
                # The proxy may answer anything, or close.
                attacker.wait()
                for path in VICTIMS:
                    victim.say(request(prefix + target(path)))
                    head, body = victim.answer()
                    assert (head.status_code, body) == (200, FILES[path]), (prefix, name)
