"""The commands in docs/https-in-the-lan.md that make a certificate, and moss with that
certificate."""

import os
import stat

import pytest
from conftest import LAN_PAGE, Moss, block, relays, run, trusting

# The page's lines for .env.
SETTINGS = dict(line.split("=", 1) for line in block(LAN_PAGE, "text", "=key.pem").split())


def make(lines, folder, **environment):
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder)} | environment
    done = run("sh", "-euc", lines, cwd=folder, env=environment)
    assert done.returncode == 0, done
    assert stat.S_IMODE((folder / "key.pem").stat().st_mode) == 0o600


def serves(binary, folder, authority, name):
    """Whether moss serves at this name, for a client that trusts only the authority."""
    with Moss([binary], folder, **SETTINGS, MOSS_TLS_PORT="0") as moss:
        url = f"wss://127.0.0.1:{moss.tls_port}"
        return relays(url, ssl=trusting(authority), server_hostname=name)


@pytest.mark.parametrize("name", ["box.local", "192.168.1.5"])
def test_self_signed_certificate_of_the_page(binary, tmp_path, name):
    make(block(LAN_PAGE, "sh", "openssl req"), tmp_path)
    assert serves(binary, tmp_path, tmp_path / "certificate.pem", name)


@pytest.mark.parametrize("name", ["box.local", "192.168.1.5"])
def test_certificate_by_mkcert_with_the_authority_that_phones_install(binary, tmp_path, name):
    line = block(LAN_PAGE, "sh", "mkcert -ecdsa").splitlines()[1]
    make(line, tmp_path, CAROOT=str(tmp_path / "root"))
    # The second line serves the folder.
    copy, _ = block(LAN_PAGE, "sh", "moss-ca.crt").splitlines()
    make(copy, tmp_path, CAROOT=str(tmp_path / "root"))
    assert os.listdir(tmp_path / "ca") == ["moss-ca.crt"]
    assert serves(binary, tmp_path, tmp_path / "ca/moss-ca.crt", name)
