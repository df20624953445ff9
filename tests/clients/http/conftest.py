import pytest

import folder
import proxies
from server import Moss


@pytest.fixture(scope="session")
def pages(tmp_path_factory):
    """The served folder, which tests must not change."""
    pages = tmp_path_factory.mktemp("pages")
    folder.write(pages)
    return pages


@pytest.fixture(scope="session")
def moss(pages, tmp_path_factory):
    moss = Moss(tmp_path_factory.mktemp("moss"), pages)
    yield moss
    moss.end()


@pytest.fixture(params=["plain", "tls"])
def origin(request, moss):
    return getattr(moss, request.param)


@pytest.fixture(scope="session")
def make_proxy(tmp_path_factory):
    made = []

    def make(kind, upstream):
        made.append(getattr(proxies, kind)(tmp_path_factory.mktemp(kind), upstream))
        return made[-1]

    yield make
    for proxy in made:
        proxy.end()


@pytest.fixture(scope="session", params=["nginx", "nginx by TLS", "varnish"])
def proxy(request, moss, make_proxy):
    kind, *by_tls = request.param.split(" by ")
    return make_proxy(kind, moss.tls if by_tls else moss.plain)
