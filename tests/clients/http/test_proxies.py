"""nginx and Varnish between the client and moss: the client gets the files of the folder, passed
through, from the cache, and after a revalidation."""

import pytest
from counting import CountingProxy
from curl import curl, curl_one
from folder import FILES, LARGE, MIDDLE, target
from server import Moss, wait_until

ALL = [("nginx", "plain"), ("nginx", "tls"), ("varnish", "plain")]


def urls(proxy, prefix, paths=FILES):
    return [[proxy.origin.url + prefix + target(path)] for path in paths]


def test_every_file_at_every_prefix_repeatedly(proxy, tmp_path):
    for prefix in proxy.prefixes:
        for fetched in [curl(tmp_path, *urls(proxy, prefix)) for _ in range(2)]:
            for (path, content), file in zip(FILES.items(), fetched):
                assert (file.status, file.body) == (200, content), (prefix, path)
                assert file.header("content-type") is not None


def test_heads_at_every_prefix(proxy, tmp_path):
    for prefix in proxy.prefixes:
        heads = [["--head", *url] for url in urls(proxy, prefix)]
        for (path, content), head in zip(FILES.items(), curl(tmp_path, *heads)):
            assert head.status == 200, (prefix, path)
            # A proxy may omit a length of 0.
            assert int(head.header("content-length") or 0) == len(content), (prefix, path)


@pytest.mark.parametrize("path", [MIDDLE, LARGE])
def test_ranges_at_every_prefix(proxy, tmp_path, path):
    length = len(FILES[path])
    ranges = [(0, 0), (16_383, 65_536), (65_536, length - 1), (length - 1, length - 1)]
    for prefix in proxy.prefixes:
        url = proxy.origin.url + prefix + target(path)
        asked = [["--range", f"{first}-{last}", url] for first, last in ranges]
        for (first, last), part in zip(ranges, curl(tmp_path, *asked)):
            assert part.status == 206, (prefix, first, last)
            assert part.header("content-range") == f"bytes {first}-{last}/{length}"
            assert part.body == FILES[path][first : last + 1], (prefix, first, last)
        behind = curl_one(tmp_path, "--range", f"{length}-", url)
        assert behind.status == 416, prefix


def test_a_client_with_the_tag_gets_304_at_every_prefix(proxy, tmp_path):
    for prefix in proxy.prefixes:
        url = proxy.origin.url + prefix + target(MIDDLE)
        tag = curl_one(tmp_path, "--head", url).header("etag")
        known = curl_one(tmp_path, "--header", f"If-None-Match: {tag}", url)
        assert (known.status, known.body) == (304, b""), prefix


def test_a_cache_revalidates_files(proxy, tmp_path):
    asked = urls(proxy, "/cached")
    curl(tmp_path, *asked)

    def all_revalidated():
        fetched = curl(tmp_path, *asked)
        for (path, content), file in zip(FILES.items(), fetched):
            assert (file.status, file.body) == (200, content), path
            if file.header("x-cache") == "REVALIDATED":
                seen.add(path)
        return seen >= {path for path, content in FILES.items() if content}

    # Varnish fetches an empty file again.
    seen = set()
    wait_until("a 304 for each file", all_revalidated)


def test_no_cache_has_an_old_file_after_a_change(make_proxy, tmp_path):
    pages = tmp_path / "pages"
    pages.mkdir()
    (pages / "file.txt").write_text("old")
    moss = Moss(tmp_path / "moss", pages)
    try:
        for kind, listener in ALL:
            proxy = make_proxy(kind, getattr(moss, listener))
            (pages / "file.txt").write_text("old")
            moss.reload()
            urls = [proxy.origin.url + f"{prefix}/file.txt" for prefix in ("/moss", "/cached")]
            is_all = lambda text: {curl_one(tmp_path, url).body for url in urls} == {text}
            wait_until("the old file", lambda: is_all(b"old"))
            (pages / "file.txt").write_text("new")
            moss.reload()
            wait_until("the new file", lambda: is_all(b"new"))
    finally:
        moss.end()


@pytest.mark.parametrize("kind, listener", ALL)
def test_one_connection_to_moss_is_enough(moss, make_proxy, tmp_path, kind, listener):
    with CountingProxy(getattr(moss, listener)) as counting:
        proxy = make_proxy(kind, counting.origin)
        asked = urls(proxy, "/moss", [*FILES, "none", "dir"])
        assert {file.status for file in curl(tmp_path, *asked)} == {200, 404, 308}
        assert counting.connections == 1


def test_a_proxy_reconnects_after_moss_has_ended_a_connection(moss, make_proxy, tmp_path):
    counters = [CountingProxy(getattr(moss, listener)) for _, listener in ALL]
    made = [make_proxy(kind, counter.origin) for (kind, _), counter in zip(ALL, counters)]
    for expected in (1, 2):
        for proxy, counter in zip(made, counters):
            file = curl_one(tmp_path, *urls(proxy, "/moss", [MIDDLE])[0])
            assert (file.status, file.body) == (200, FILES[MIDDLE])
            assert counter.connections == expected
        # moss ends idle connections.
        if expected == 1:
            wait_until("the end of all", lambda: all(counter.ended == 1 for counter in counters))


@pytest.mark.parametrize("folder", ["dir", "dir with space"])
def test_a_folder_leads_to_its_index_below_a_prefix(proxy, tmp_path, folder):
    for prefix in proxy.prefixes:
        url = proxy.origin.url + prefix + target(folder)
        followed = curl_one(tmp_path, "--location", url + "?query")
        assert (followed.status, followed.url) == (200, url + "/?query"), prefix
        assert followed.body == FILES[f"{folder}/index.html"], prefix
        assert curl_one(tmp_path, proxy.origin.url + prefix + "/").body == FILES["index.html"]
