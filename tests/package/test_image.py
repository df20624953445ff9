"""The Dockerfile, built to its last stage and run, without a Docker engine.

buildah builds it. A test can't pull the builder image that the Dockerfile names, so BUILDER names
an image that is made here: empty except for the folders where this machine's /usr, /etc and Rust
toolchain are mounted during the build. The built image runs in its own root, as its own user, as
PID 1.
"""

import json
import shutil
import signal
import socket
from pathlib import Path

import pytest
from conftest import (
    ENVIRONMENT,
    REPOSITORY,
    Moss,
    confined,
    fetched,
    make_certificate,
    relays,
    run,
    served_certificate,
    tls_settings,
)

BUILDER = "localhost/moss-builder"
IMAGE = "localhost/moss"


class Storage:
    """buildah, with all its images and containers in one folder."""

    def __init__(self, folder):
        # vfs copies instead of mounting an overlay: slower, but it works everywhere.
        self._options = ["--storage-driver", "vfs", "--root", folder / "root"]
        self._options += ["--runroot", folder / "run"]
        self._toolchain = run("rustc", "--print", "sysroot").stdout.strip()

    def __call__(self, *arguments):
        done = self.attempt(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()

    def attempt(self, command, *arguments):
        return run("buildah", *self._options, command, *arguments, timeout=1200)

    def make_builder(self):
        """An image like rust:1-slim, made from this machine."""
        container = self("from", "scratch")
        root = self("mount", container)
        run("mkdir", "-p", f"{root}/usr", f"{root}/etc", f"{root}/rust", f"{root}/tmp")
        for folder in ("bin", "lib", "lib64"):
            run("ln", "-s", f"usr/{folder}", f"{root}/{folder}")
        self("config", "--env", "PATH=/rust/bin:/usr/bin", container)
        # The image is not measured: link it quickly.
        self("config", "--env", "CARGO_PROFILE_RELEASE_LTO=off", container)
        self("config", "--env", "CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16", container)
        self("commit", "--quiet", container, BUILDER)
        self("rm", container)

    def build(self, context):
        """`docker build --build-arg BUILDER=… -t moss CONTEXT`, which may fail."""
        volumes = ("/usr:/usr:ro", "/etc:/etc:ro", f"{self._toolchain}:/rust:ro")
        return self.attempt(
            "build",
            *("--isolation", "chroot", "--format", "docker", "--layers", "--pull-never"),
            *("--build-arg", f"BUILDER={BUILDER}", "--tag", IMAGE),
            *(f"--volume={volume}" for volume in volumes),
            context,
        )


class Image:
    """The built image: its configuration, and a root folder to run it from."""

    def __init__(self, storage):
        inspected = json.loads(storage("inspect", "--type", "image", IMAGE))["Docker"]
        self.layers = inspected["rootfs"]["diff_ids"]
        self.config = inspected["config"]
        self._container = storage("from", "--pull-never", IMAGE)
        self.root = storage("mount", self._container)

    def command(self, argv, **options):
        return confined(self.root, *argv, user=self.config["User"], **options)

    def start(self, volume=("", ""), **settings):
        return Moss(self.command(self.config["Entrypoint"], volume=volume), self.root, **settings)

    def health(self, moss):
        kind, *argv = self.config["Healthcheck"]["Test"]
        assert kind == "CMD", "there is no shell in the image"
        return run(*self.command(argv), env=moss.environment)


@pytest.fixture(scope="module")
def storage(tmp_path_factory):
    folder = tmp_path_factory.mktemp("buildah")
    # In memory: a gigabyte of small files is copied, and later removed.
    mounted = run("mount", "-t", "tmpfs", "-o", "size=4g", "tmpfs", folder)
    assert mounted.returncode == 0, mounted.stderr
    storage = Storage(folder)
    try:
        yield storage
        storage("rm", "--all")
    finally:
        run("umount", "--recursive", folder)


@pytest.fixture(scope="module")
def image(storage):
    storage.make_builder()
    built = storage.build(REPOSITORY)
    assert built.returncode == 0, built.stdout + built.stderr
    return Image(storage)


def test_image_is_configured_for_moss(image):
    config = image.config
    assert config["Entrypoint"] == ["/moss"]
    assert not config.get("Cmd")
    assert sorted(config["ExposedPorts"]) == ["8080/tcp", "8443/tcp"]
    assert config["StopSignal"] == "SIGTERM"
    labels = config["Labels"]
    assert labels["org.opencontainers.image.title"] == "moss"
    assert labels["org.opencontainers.image.licenses"] == "MIT OR Apache-2.0"
    assert labels["org.opencontainers.image.description"]


def test_image_has_the_binary_and_nothing_else(image):
    assert len(image.layers) == 1
    listed = run("find", image.root, "-mindepth", "1", "-printf", "%P %y %m\n").stdout
    assert listed.splitlines() == ["moss f 755"]


def test_image_serves_a_websocket_client_as_an_unprivileged_user(image):
    with image.start() as moss:
        user, group = image.config["User"].split(":")
        assert int(user) > 0 and int(group) > 0
        status = moss.status
        assert status["Uid"].split() == [user] * 4
        assert status["Gid"].split() == [group] * 4
        assert status["NSpid"].split()[-1] == "1"
        assert relays(f"ws://127.0.0.1:{moss.port}")


def test_image_is_healthy_until_it_is_stopped_and_ends_with_0(image):
    with image.start() as moss:
        healthy = image.health(moss)
        assert healthy.returncode == 0, healthy
        assert moss.stop() == 0
        unhealthy = image.health(moss)
        assert unhealthy.returncode == 1, unhealthy


@pytest.fixture
def mounted(request, image, tmp_path):
    """A folder of this machine, and its mount point, which Docker would create."""
    folder, within = tmp_path / "mounted", request.param
    place = Path(image.root + within)
    place.mkdir(parents=True)
    yield folder, within
    place.rmdir()
    place.parent.rmdir()


@pytest.mark.parametrize("mounted", ["/etc/moss"], indirect=True)
def test_image_serves_tls_with_a_certificate_that_is_mounted(image, certificate, mounted, tmp_path):
    folder, within = mounted
    user = int(image.config["User"].split(":")[0])
    certificate.give(folder, user)
    with image.start(volume=mounted, **tls_settings(within)) as moss:
        assert relays(f"wss://localhost:{moss.tls_port}", ssl=certificate.trusting)
        assert image.health(moss).returncode == 0
        # The plain port is only for this machine's 127.0.0.1.
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.2", moss.port))

        # `docker kill --signal HUP`, after a renewal.
        renewed = make_certificate(tmp_path)
        renewed.give(folder, user)
        moss.notify(signal.SIGHUP)
        moss.wait_for("certificate")
        assert served_certificate(moss.tls_port).split() == renewed.file.read_text().split()
        assert relays(f"wss://localhost:{moss.tls_port}", ssl=renewed.trusting)
        assert moss.stop() == 0


@pytest.mark.parametrize("mounted", ["/srv/pages"], indirect=True)
def test_image_serves_pages_of_a_folder_that_is_mounted(image, mounted):
    folder, within = mounted
    folder.mkdir(mode=0o755)
    (folder / "index.html").write_text("the page")
    with image.start(volume=mounted, MOSS_PAGES_DIRECTORY=within) as moss:
        url = f"http://127.0.0.1:{moss.port}/"
        assert fetched(url) == "the page"
        assert relays(url.replace("http", "ws", 1))
        assert image.health(moss).returncode == 0

        (folder / "index.html").write_text("the new page")
        moss.notify(signal.SIGHUP)
        moss.wait_for("the pages were read again")
        assert fetched(url) == "the new page"
        assert moss.stop() == 0


@pytest.mark.parametrize("mounted", ["/srv/pages"], indirect=True)
def test_image_says_that_pages_can_not_be_read(image, mounted):
    folder, within = mounted
    # Readable only by root, which is not the image's user.
    folder.mkdir(mode=0o700)
    command = image.command(image.config["Entrypoint"], volume=mounted)
    refused = run(*command, env=ENVIRONMENT | {"MOSS_PAGES_DIRECTORY": within}, cwd=image.root)
    assert refused.returncode == 2, refused
    [line] = refused.stderr.splitlines()
    assert line.startswith("moss: MOSS_PAGES_DIRECTORY: ") and within in line


def test_changed_sources_are_compiled_and_the_dependencies_are_not(image, storage, tmp_path):
    allowed = (REPOSITORY / ".dockerignore").read_text().splitlines()
    for name in ["Dockerfile", ".dockerignore"] + [
        line.removeprefix("!") for line in allowed if line.startswith("!")
    ]:
        copy = shutil.copytree if (REPOSITORY / name).is_dir() else shutil.copy2
        copy(REPOSITORY / name, tmp_path / name)
    # A syntax error, which stops the compiler if it reads the file.
    (tmp_path / "src/main.rs").write_text('compile_error!("the changed source");\n')

    built = storage.build(tmp_path)

    assert built.returncode != 0
    assert "the changed source" in built.stderr
    compiled = [line for line in built.stderr.splitlines() if "Compiling" in line]
    assert ["moss" in line for line in compiled] == [True], compiled
