"""Other HTTP clients: wget, Python's own client, requests with urllib3, aiohttp."""

import asyncio
import http.client
import os
import subprocess

import aiohttp
import requests
from folder import FILES, LARGE, target
from server import AUTHORITY, PATIENCE, trusting


def wget(folder, *arguments):
    done = subprocess.run(
        ["wget", "--no-config", "--no-verbose", f"--ca-certificate={AUTHORITY}", *arguments],
        cwd=folder,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr


def test_wget_on_one_connection(origin, tmp_path):
    (tmp_path / "list").write_text("".join(f"{origin.url}{target(path)}\n" for path in FILES))
    wget(tmp_path, "--input-file=list", "--output-document=all")
    assert (tmp_path / "all").read_bytes() == b"".join(FILES.values())


def test_wget_resumes_a_download(origin, tmp_path):
    begun = tmp_path / "8000000.bin"
    begun.write_bytes(FILES[LARGE][:3_000_001])
    wget(tmp_path, "--continue", origin.url + target(LARGE))
    assert begun.read_bytes() == FILES[LARGE]


def test_pythons_own_client_on_one_connection(origin):
    if origin.scheme == "https":
        connection = http.client.HTTPSConnection(
            "localhost", origin.port, timeout=PATIENCE, context=trusting()
        )
    else:
        connection = http.client.HTTPConnection("127.0.0.1", origin.port, timeout=PATIENCE)
    connection.connect()
    first = connection.sock
    for path, content in FILES.items():
        for method, body in [("GET", content), ("HEAD", b"")]:
            connection.request(method, target(path))
            answer = connection.getresponse()
            assert (answer.status, answer.read()) == (200, body), path
            assert answer.headers["Content-Length"] == str(len(content)), path
            assert connection.sock is first
    connection.close()


def new_session():
    session = requests.Session()
    # Without the machine's settings: neither its proxies nor its authorities.
    session.trust_env = False
    session.verify = str(AUTHORITY)
    return session


def test_requests_on_one_connection(origin):
    with new_session() as session:
        for path, content in FILES.items():
            answer = session.get(origin.url + target(path), timeout=PATIENCE)
            assert (answer.status_code, answer.content) == (200, content), path
            tag = {"If-None-Match": answer.headers["ETag"]}
            known = session.get(origin.url + target(path), headers=tag, timeout=PATIENCE)
            assert (known.status_code, known.content) == (304, b""), path
        moved = session.get(origin.url + target("dir"), timeout=PATIENCE)
        assert moved.url == origin.url + "/dir/"
        assert moved.content == FILES["dir/index.html"]
        # urllib3's own count.
        pools = session.get_adapter(origin.url).poolmanager.pools
        assert [pools[key].num_connections for key in pools.keys()] == [1]


def test_aiohttp_on_a_few_connections_at_once(origin):
    async def fetch(session, path):
        async with session.get(origin.url + target(path)) as answer:
            return answer.status, await answer.read()

    async def fetch_all():
        connector = aiohttp.TCPConnector(limit=4, ssl=trusting())
        patience = aiohttp.ClientTimeout(total=PATIENCE)
        async with aiohttp.ClientSession(connector=connector, timeout=patience) as session:
            return await asyncio.gather(*(fetch(session, path) for path in 3 * list(FILES)))

    expected = 3 * [(200, content) for content in FILES.values()]
    assert asyncio.run(fetch_all()) == expected


def test_a_media_player_seeks(origin):
    """As iOS plays a video: first two bytes, then ranges, all with the same tag."""
    with new_session() as session:
        url, content = origin.url + target(LARGE), FILES[LARGE]
        part = session.get(url, headers={"Range": "bytes=0-1"}, timeout=PATIENCE)
        assert (part.status_code, part.content) == (206, content[:2])
        assert part.headers["Content-Range"] == f"bytes 0-1/{len(content)}"
        for first in [0, 7_999_000, 4_000_000, 65_536]:
            asked = {"Range": f"bytes={first}-", "If-Range": part.headers["ETag"]}
            with session.get(url, headers=asked, stream=True, timeout=PATIENCE) as rest:
                assert rest.status_code == 206
                # It closes before the end of the range.
                assert rest.raw.read(500) == content[first : first + 500]
