"""The image of each architecture, built from release/image's context and run in its own root."""

import json
import queue
import re
import shutil
import subprocess
import threading
from contextlib import contextmanager

import pytest
from conftest import ARCHITECTURES, RELEASE, REPOSITORY
from container import PATIENCE, succeed
from websockets.sync.client import connect

PLATFORMS = {"x86_64": "linux/amd64", "aarch64": "linux/arm64", "armv7": "linux/arm/v7"}
ENVIRONMENT = {
    "MOSS_CONNECTION_SECRET": "a secret for the image",
    "MOSS_CONNECTION_OFFER_TYPE": "offer",
    "MOSS_HOSTNAME": "127.0.0.1",
}


class Image:
    """An image with its configuration, mounted at `root`."""

    def __init__(self, buildah, architecture, context):
        name = f"localhost/moss-{architecture}"
        platform = PLATFORMS[architecture]
        # The build runs no program, so any machine can build the image for any other.
        buildah("build", "--format", "docker", "--platform", platform, "--tag", name, context)
        described = json.loads(buildah("inspect", "--type", "image", name))
        self.platform = described["OCIv1"]["architecture"], described["OCIv1"].get("variant")
        self.config = described["Docker"]["config"]
        self.root = buildah("mount", buildah("from", "--pull-never", name).strip()).strip()
        [program] = self.config["Entrypoint"]
        emulator = ARCHITECTURES[architecture][1]
        for file in emulator:
            shutil.copy2(shutil.which(file), f"{self.root}/{file}")
        self.command = [shutil.which("chroot"), f"--userspec={self.config['User']}", self.root]
        self.command += [*(f"/{file}" for file in emulator), program]


@pytest.fixture(scope="module")
def buildah(tmp_path_factory):
    folder = tmp_path_factory.mktemp("buildah")
    # vfs copies where overlay would mount: slower, but it works anywhere.
    options = ["--storage-driver", "vfs", "--root", folder / "root", "--runroot", folder / "run"]

    def buildah(command, *arguments):
        return succeed("buildah", *options, command, *arguments)

    yield buildah
    buildah("umount", "--all")
    buildah("rm", "--all")


@pytest.fixture(scope="module")
def context(tmp_path_factory):
    folder = tmp_path_factory.mktemp("context")
    succeed(REPOSITORY / "release/image", "context", RELEASE, folder)
    return folder


@pytest.fixture(scope="module", params=ARCHITECTURES)
def image(request, buildah, context):
    if not (RELEASE / "programs" / request.param).exists():
        pytest.skip("not among those that were built")
    return Image(buildah, request.param, context)


@contextmanager
def serving(image):
    """The port of a moss that runs as the image's configuration says."""
    environment = ENVIRONMENT | dict(line.split("=", 1) for line in image.config["Env"])
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    lines = queue.Queue()
    with subprocess.Popen(image.command, env=environment | {"MOSS_PORT": "0"}, **options) as moss:
        threading.Thread(target=lambda: [*map(lines.put, moss.stdout), lines.put("")], daemon=True).start()
        try:
            while not (found := re.search(r"listening on \S+:(\d+)$", line := lines.get(timeout=PATIENCE))):
                assert line, "moss has ended"
            yield int(found[1])
            moss.terminate()
            assert moss.wait(PATIENCE) == 0
        finally:
            moss.kill()


def test_image_has_a_program_of_its_architecture(image):
    amd64, arm64, arm = ("amd64", None), ("arm64", None), ("arm", "v7")
    machine = succeed("file", "--brief", f"{image.root}/moss")
    expected = {amd64: "x86-64", arm64: "ARM aarch64", arm: "ARM, EABI5"}[image.platform]
    assert expected in machine


def test_image_has_only_the_program_and_the_licences(image):
    listed = succeed("find", image.root, "-type", "f", "-not", "-name", "qemu-*", "-printf", "%P %m %U\n")
    licences = ("LICENCES.txt", "LICENSE-APACHE", "LICENSE-MIT")
    assert sorted(listed.splitlines()) == sorted(["moss 755 0", *(f"licences/{name} 644 0" for name in licences)])


def test_image_has_the_configuration_of_the_dockerfiles(image):
    text = (REPOSITORY / "Dockerfile").read_text().replace("\\\n", " ")
    text = text[text.index("\nFROM scratch\n") :]
    config = image.config
    assert config["Entrypoint"] == json.loads(re.search(r"^ENTRYPOINT (.*)", text, re.M)[1])
    assert config["User"] == re.search(r"^USER (.*)", text, re.M)[1]
    assert config["StopSignal"] == re.search(r"^STOPSIGNAL (.*)", text, re.M)[1]
    ports = re.search(r"^EXPOSE (.*)", text, re.M)[1].split()
    assert sorted(config["ExposedPorts"]) == sorted(f"{port}/tcp" for port in ports)
    assert re.search(r"^ENV (.*)", text, re.M)[1] in config["Env"]
    labels = dict(re.findall(r'(org\.opencontainers\S+)="([^"]*)"', text))
    assert labels and labels.items() <= config["Labels"].items()
    check = re.search(r"^HEALTHCHECK .* CMD (.*)", text, re.M)[1]
    assert config["Healthcheck"]["Test"] == ["CMD", *json.loads(check)]


def test_image_serves_and_is_healthy_until_it_stops(image):
    with serving(image) as port:
        with connect(f"ws://127.0.0.1:{port}/", open_timeout=PATIENCE) as peer:
            peer.send('{"type":"ping"}')
            assert peer.recv(timeout=PATIENCE) == '{"type":"pong","payload":""}'
        environment = ENVIRONMENT | {"MOSS_PORT": str(port)}
        kind, program, *arguments = image.config["Healthcheck"]["Test"]
        assert kind == "CMD" and [program] == image.config["Entrypoint"]
        succeed(*image.command, *arguments, env=environment)
    done = subprocess.run([*image.command, *arguments], env=environment, capture_output=True, timeout=PATIENCE)
    assert done.returncode == 1, done
