"""nginx and Varnish in front of moss, with connections to it that stay open.

Each serves the folder below several prefixes, one for each kind of forwarding.
"""

import os
import re
import socket
import subprocess
from pathlib import Path

from server import AUTHORITY, PATIENCE, Origin, wait_until


class Proxy:
    """A proxy that serves at `origin`. `port` returns its port, once it serves."""

    def __init__(self, folder, command, port, prefixes, sharing, **options):
        self.prefixes = prefixes
        # Prefixes at which each request goes to moss, on shared connections; also for
        # WebSockets.
        self.sharing = sharing
        self._log = folder / "proxy.log"
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [str(part) for part in command],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                **options,
            )

        def serves():
            assert self._process.poll() is None, self._log.read_text()
            return port()

        try:
            self.origin = Origin("http", wait_until("the proxy's start", serves))
        except BaseException:
            self.end()
            raise

    def end(self):
        self._process.terminate()
        self._process.wait(PATIENCE)


def nginx(folder, upstream):
    # nginx inherits the socket: so its port is known, and no other program can take it.
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        configuration = fill_in(
            "nginx.conf",
            folder,
            folder=folder,
            scratch=" ".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds),
            upstream=upstream.port,
            scheme=upstream.scheme,
            authority=AUTHORITY,
            port=port,
        )
        return Proxy(
            folder,
            ["nginx", "-p", folder, "-e", "stderr", "-c", configuration],
            lambda: port if (folder / "nginx.pid").exists() else None,
            prefixes=["/moss", "/unbuffered", "/old", "/cached", "/sliced"],
            sharing=["/moss", "/unbuffered"],
            env={"PATH": os.environ["PATH"], "NGINX": f"{listener.fileno()};"},
            pass_fds=[listener.fileno()],
        )


def varnish(folder, upstream):
    work = folder / "varnish"

    def port():
        told = subprocess.run(
            ["varnishadm", "-n", work, "debug.listen_address"],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        found = re.search(r"127\.0\.0\.1 (\d+)", told.stdout)
        return found and int(found[1])

    return Proxy(
        folder,
        [
            *("varnishd", "-F", "-j", "none", "-n", work, "-a", "127.0.0.1:0"),
            *("-f", fill_in("varnish.vcl", folder, upstream=upstream.port)),
            *("-s", "malloc,64m"),
        ],
        port,
        prefixes=["/moss", "/cached", "/passed"],
        sharing=["/moss", "/passed"],
    )


def fill_in(name, folder, /, **values):
    """A copy of this file beside this module, with these values filled in."""
    text = Path(__file__).with_name(name).read_text()
    for key, value in values.items():
        assert f"@{key}@" in text, key
        text = text.replace(f"@{key}@", str(value))
    (folder / name).write_text(text)
    return folder / name
