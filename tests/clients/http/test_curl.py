"""curl, with all kinds of requests for a file."""

import pytest
from curl import curl, curl_one
from folder import FILES, LARGE, MIDDLE, target


def fetch_all(origin, folder, *options):
    urls = [[origin.url + target(path)] for path in FILES]
    fetched = curl(folder, *urls, options=options)
    for (path, content), file in zip(FILES.items(), fetched):
        assert (file.status, file.header("content-length")) == (200, str(len(content))), path
        assert file.body == content, path
    return fetched


def test_every_file_on_one_connection(origin, tmp_path):
    fetched = fetch_all(origin, tmp_path)
    assert sum(file.connects for file in fetched) == 1
    assert {file.version for file in fetched} == {"1.1"}


def test_every_file_by_http_1_0(origin, tmp_path):
    fetched = fetch_all(origin, tmp_path, "--http1.0")
    assert sum(file.connects for file in fetched) == len(FILES)


def test_http_1_0_may_ask_for_a_connection_that_stays(origin, tmp_path):
    fetched = fetch_all(origin, tmp_path, "--http1.0", "--header", "Connection: keep-alive")
    assert sum(file.connects for file in fetched) == 1


def test_many_files_at_once(origin, tmp_path):
    fetch_all(origin, tmp_path, "--parallel", "--parallel-max", "8", "--parallel-immediate")


def test_a_client_may_ask_for_the_end_of_the_connection(origin, tmp_path):
    fetched = fetch_all(origin, tmp_path, "--header", "Connection: close")
    assert sum(file.connects for file in fetched) == len(FILES)


def test_files_are_not_compressed(origin, tmp_path):
    for file in fetch_all(origin, tmp_path, "--compressed"):
        assert file.header("content-encoding") is None


# On the plain port the offer is `Upgrade: h2c`, with TLS it is in the handshake.
def test_an_offer_of_http_2_is_answered_by_http_1_1(origin, tmp_path):
    fetched = fetch_all(origin, tmp_path, "--http2")
    assert {file.version for file in fetched} == {"1.1"}


def test_head_of_every_file(origin, tmp_path):
    heads = [["--head", origin.url + target(path)] for path in FILES]
    for (path, content), head in zip(FILES.items(), curl(tmp_path, *heads)):
        assert (head.status, head.header("content-length")) == (200, str(len(content))), path


def test_a_head_and_then_its_file_on_one_connection(origin, tmp_path):
    url = origin.url + target(MIDDLE)
    head, file = curl(tmp_path, ["--head", url], [url])
    assert (head.connects, file.connects) == (1, 0)
    assert file.body == FILES[MIDDLE]
    for name in ("content-length", "content-type", "etag", "cache-control", "accept-ranges"):
        assert head.header(name) == file.header(name) is not None, name


@pytest.mark.parametrize(
    "asked, first, last",
    [
        ("0-0", 0, 0),
        ("0-99999", 0, 99_999),
        ("99999-", 99_999, 99_999),
        ("16383-16385", 16_383, 16_385),
        ("5000-", 5_000, 99_999),
        ("5000-999999", 5_000, 99_999),
        ("-1", 99_999, 99_999),
        ("-70000", 30_000, 99_999),
        ("-999999", 0, 99_999),
    ],
)
def test_a_range(origin, tmp_path, asked, first, last):
    part = curl_one(tmp_path, "--range", asked, origin.url + target(MIDDLE))
    assert (part.status, part.header("content-range")) == (206, f"bytes {first}-{last}/100000")
    assert part.header("content-length") == str(last - first + 1)
    assert part.body == FILES[MIDDLE][first : last + 1]


@pytest.mark.parametrize("asked", ["100000-", "-0"])
def test_a_range_behind_the_end(origin, tmp_path, asked):
    refused, file = curl(
        tmp_path,
        ["--range", asked, origin.url + target(MIDDLE)],
        [origin.url + target(MIDDLE)],
    )
    assert (refused.status, refused.header("content-range")) == (416, "bytes */100000")
    assert (file.connects, file.body) == (0, FILES[MIDDLE])


@pytest.mark.parametrize("asked", ["0-1,5-6", "5-1", "x-y"])
def test_an_unsupported_range_gets_the_whole_file(origin, tmp_path, asked):
    header = f"Range: bytes={asked}"
    whole = curl_one(tmp_path, "--header", header, origin.url + target(MIDDLE))
    assert (whole.status, whole.body) == (200, FILES[MIDDLE])


def test_a_download_is_resumed(origin, tmp_path):
    rest = curl_one(tmp_path, "--continue-at", "3000001", origin.url + target(LARGE))
    assert (rest.status, rest.body) == (206, FILES[LARGE][3_000_001:])


def test_a_range_with_another_tag_gets_the_whole_file(origin, tmp_path):
    url = origin.url + target(MIDDLE)
    tag = curl_one(tmp_path, "--head", url).header("etag")
    part = curl_one(tmp_path, "--range", "1-5", "--header", f"If-Range: {tag}", url)
    assert (part.status, part.body) == (206, FILES[MIDDLE][1:6])
    whole = curl_one(tmp_path, "--range", "1-5", "--header", 'If-Range: "old"', url)
    assert (whole.status, whole.body) == (200, FILES[MIDDLE])


def test_a_file_that_the_client_has_is_not_sent_again(origin, tmp_path):
    urls = [origin.url + target(path) for path in FILES]
    tags = [tmp_path / f"tag-{number}" for number in range(len(urls))]
    curl(tmp_path, *(["--etag-save", tag, url] for tag, url in zip(tags, urls)))
    # curl sends the tag that it saved in an earlier run.
    known = curl(tmp_path, *(["--etag-compare", tag, url] for tag, url in zip(tags, urls)))
    assert {(file.status, file.body) for file in known} == {(304, b"")}
    assert {file.header("content-length") for file in known} == {None}
    assert sum(file.connects for file in known) == 1
    assert {file.header("etag") for file in known} == {tag.read_text().strip() for tag in tags}
    # Each file has a tag of its own.
    assert len({tag.read_text() for tag in tags}) == len(set(FILES.values()))


def test_a_date_changes_nothing(origin, tmp_path):
    file = curl_one(tmp_path, "--time-cond", "2020-01-01", origin.url + target(MIDDLE))
    assert (file.status, file.body) == (200, FILES[MIDDLE])
    assert file.header("last-modified") is None


@pytest.mark.parametrize("query", ["", "?a=b/c&d=%2F"])
@pytest.mark.parametrize("folder", ["dir", "dir with space"])
def test_a_folder_leads_to_its_index(origin, tmp_path, folder, query):
    url = origin.url + target(folder) + query
    moved = curl_one(tmp_path, url)
    place = target(folder).removeprefix("/")
    assert (moved.status, moved.header("location")) == (308, f"{place}/{query}")
    followed = curl_one(tmp_path, "--location", url)
    assert (followed.status, followed.url) == (200, f"{origin.url}/{place}/{query}")
    assert followed.body == FILES[f"{folder}/index.html"]


def test_the_folder_itself_has_an_index(origin, tmp_path):
    for url in (origin.url, origin.url + "/", origin.url + "/?query"):
        assert curl_one(tmp_path, url).body == FILES["index.html"]


def test_a_404_leaves_the_connection_open(origin, tmp_path):
    asked = ["/none", "/dir/none.html", "/../etc/passwd", "/%2e%2e/etc/passwd", "//index.html"]
    asked += ["/dir\\index.html", "/index.html%00", "/size"]
    missed = curl(tmp_path, *([origin.url + path] for path in asked))
    assert {file.status for file in missed} == {404}
    assert sum(file.connects for file in missed) == 1


@pytest.mark.parametrize("path, status", [("/index.html", 405), ("/none", 404)])
def test_an_upload_is_refused(origin, tmp_path, path, status):
    (tmp_path / "upload").write_bytes(FILES[MIDDLE])
    posted, put, deleted, file = curl(
        tmp_path,
        ["--data", "name=value", origin.url + path],
        # With `Expect: 100-continue`.
        ["--upload-file", tmp_path / "upload", origin.url + path],
        ["--request", "DELETE", origin.url + path],
        [origin.url + target(MIDDLE)],
    )
    allowed = "GET, HEAD" if status == 405 else None
    for refused in (posted, put, deleted):
        assert (refused.status, refused.header("allow")) == (status, allowed)
    assert [each.connects for each in (posted, put, deleted, file)] == [1, 1, 1, 0]
    assert file.body == FILES[MIDDLE]


def test_health_comes_before_the_pages(origin, tmp_path):
    health, file = curl(tmp_path, [origin.url + "/health"], [origin.url + target(MIDDLE)])
    assert (health.status, health.header("content-type")) == (200, "application/json")
    assert b'"status":"ok"' in health.body
    assert (file.connects, file.body) == (0, FILES[MIDDLE])
