"""The program made by `cargo static`, on a machine without any libraries."""

import signal
import socket
import time

import pytest
from conftest import (
    ENVIRONMENT,
    REPOSITORY,
    Moss,
    confined,
    health,
    relays,
    run,
    tls_settings,
    without_network,
)


def test_is_static(binary):
    described = run("file", "--brief", binary).stdout
    assert "statically linked" in described or "static-pie linked" in described
    assert "interpreter" not in described


def test_version_names_the_commit(binary, tmp_path):
    printed = run(binary, "--version", env={}, cwd=tmp_path).stdout
    commit = run("git", "-C", REPOSITORY, "-c", "safe.directory=*", "rev-parse", "HEAD").stdout
    if not commit:
        pytest.skip("not a clone, so the commit is unknown")
    assert printed == f"moss {printed.split()[1]} ({commit[:12]})\n"


def test_has_at_most_two_point_seven_mebibytes(binary):
    assert binary.stat().st_size <= 2.7 * (1 << 20)


def test_has_at_most_one_point_six_mebibytes_without_tls(binary_without_tls):
    assert binary_without_tls.stat().st_size <= 1.6 * (1 << 20)


@pytest.mark.parametrize("name", sorted(tls_settings("")))
def test_without_tls_its_settings_are_refused(binary_without_tls, tmp_path, name):
    settings = ENVIRONMENT | {name: tls_settings("/etc/moss")[name]}
    refused = run(binary_without_tls, env=settings, cwd=tmp_path)
    assert refused.returncode == 2, refused
    [line] = refused.stderr.splitlines()
    assert name in line


def test_serves_in_an_empty_read_only_root_without_privileges(empty_root):
    with Moss(confined(empty_root, "/moss"), empty_root) as moss:
        status = moss.status
        assert status["Uid"].split() == ["65534"] * 4
        assert int(status["CapPrm"], 16) == 0
        assert status["NoNewPrivs"] == "1"
        assert [entry.name for entry in empty_root.iterdir()] == ["moss"]
        with open(f"/proc/{moss.pid}/mountinfo") as mounts:
            [root] = [fields for fields in map(str.split, mounts) if fields[4] == "/"]
        assert "ro" in root[5].split(",")

        assert relays(f"ws://127.0.0.1:{moss.port}")
        checked = run(*confined(empty_root, "/moss", "health"), env=moss.environment)
        assert checked.returncode == 0, checked


# Without /dev/urandom, or any other file with random numbers.
def test_speaks_tls_in_an_empty_root_without_devices(empty_root, certificate):
    certificate.give(empty_root / "tls", 65534)
    with Moss(confined(empty_root, "/moss"), empty_root, **tls_settings("/tls")) as moss:
        assert sorted(entry.name for entry in empty_root.iterdir()) == ["moss", "tls"]
        assert relays(f"wss://localhost:{moss.tls_port}", ssl=certificate.trusting)
        assert relays(f"ws://127.0.0.1:{moss.port}")
        checked = run(*confined(empty_root, "/moss", "health"), env=moss.environment)
        assert checked.returncode == 0, checked


def test_beside_tls_the_plain_port_is_for_this_machine_only(binary, certificate, tmp_path):
    settings = tls_settings(certificate.file.parent)
    with Moss([binary], tmp_path, **settings) as moss:
        socket.create_connection(("127.0.0.2", moss.tls_port)).close()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.2", moss.port))
    # As in each .env that was made from an older template.
    with Moss([binary], tmp_path, **settings, MOSS_HOSTNAME="0.0.0.0") as moss:
        socket.create_connection(("127.0.0.2", moss.port)).close()
        [warning] = [line for line in moss.output if "MOSS_HOSTNAME" in line]
        assert " WARN " in warning


def test_says_that_a_key_can_not_be_read(empty_root, certificate):
    certificate.give(empty_root / "tls", 65533)
    started = confined(empty_root, "/moss")
    refused = run(*started, env=ENVIRONMENT | tls_settings("/tls"), cwd=empty_root)
    assert refused.returncode == 2, refused
    [line] = refused.stderr.splitlines()
    assert "MOSS_TLS_" in line and "can't be read" in line


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_0(binary, tmp_path, number):
    with Moss([binary], tmp_path) as moss:
        assert moss.stop(number) == 0


@pytest.mark.parametrize(
    "hostname, client",
    [
        ("", "127.0.0.1"),
        ("0.0.0.0", "127.0.0.1"),
        ("127.0.0.1", "127.0.0.1"),
        ("::", "[::1]"),
        ("::1", "[::1]"),
        ("localhost", "localhost"),
    ],
)
def test_listens_where_hostname_says(binary, tmp_path, hostname, client):
    if ":" in hostname and not has_ipv6():
        pytest.skip("this machine has no IPv6")
    with Moss([binary], tmp_path, MOSS_HOSTNAME=hostname) as moss:
        assert relays(f"ws://{client}:{moss.port}")
        checked = health(binary, moss)
        assert checked.returncode == 0, checked
        assert len(checked.stdout.splitlines()) == 1, checked


def test_finds_a_name_in_the_hosts_file_of_a_container(empty_root):
    (empty_root / "etc").mkdir()
    (empty_root / "etc/hosts").write_text("127.0.0.1 localhost box\n")
    with Moss(confined(empty_root, "/moss"), empty_root, MOSS_HOSTNAME="box") as moss:
        assert relays(f"ws://127.0.0.1:{moss.port}")


def test_knows_localhost_without_a_hosts_file(empty_root):
    with Moss(confined(empty_root, "/moss"), empty_root, MOSS_HOSTNAME="localhost") as moss:
        assert relays(f"ws://127.0.0.1:{moss.port}")


@pytest.mark.parametrize("hostname", ["moss.invalid", "300.0.0.1", "::x"])
def test_says_that_a_name_is_unknown(empty_root, hostname):
    started = without_network(*confined(empty_root, "/moss"))
    refused = run(*started, env=ENVIRONMENT | {"MOSS_HOSTNAME": hostname}, cwd=empty_root)
    assert refused.returncode == 2, refused
    [line] = refused.stderr.splitlines()
    assert "MOSS_HOSTNAME" in line and hostname in line


def test_health_fails_when_moss_has_stopped(binary, tmp_path):
    with Moss([binary], tmp_path) as moss:
        assert health(binary, moss).returncode == 0
        moss.stop()
        checked = health(binary, moss)
        assert checked.returncode == 1, checked
        assert len((checked.stdout + checked.stderr).splitlines()) == 1, checked


def test_health_gives_up_on_a_server_that_never_answers(binary, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = str(silent.getsockname()[1])

        def seconds():
            started = time.monotonic()
            checked = run(binary, "health", env=ENVIRONMENT | {"MOSS_PORT": port}, cwd=tmp_path)
            assert checked.returncode == 1, checked
            return time.monotonic() - started

        took = [seconds()]
        # It takes three seconds. A machine that stalls may make it longer, but hardly each time.
        while took[-1] >= 10 and len(took) < 3:
            took.append(seconds())
        assert 2 < took[-1] < 10, took


def has_ipv6():
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True
