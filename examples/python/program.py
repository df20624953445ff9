"""A master as a program: it takes secrets from the environment, and ends by a signal.

MOSS_CONNECTION_SECRET is the one that moss was started with. ICE_SERVERS is optional: a list as in
RTCConfiguration, as JSON, for both sides of every line. They are not arguments, because every user
of a machine can read the command lines.
"""

import asyncio
import json
import os
import signal

from calls import Calls
from moss import serve


async def run(member_class, address, **options):
    """Runs until it is stopped. Returns why trying again would not help, for sys.exit."""
    secret = os.environ.get("MOSS_CONNECTION_SECRET")
    if not secret:
        return "MOSS_CONNECTION_SECRET is not set: set it to the secret that moss was started with"
    servers = json.loads(os.environ.get("ICE_SERVERS", "[]"))
    calls = Calls(member_class, servers, **options)
    serving = asyncio.ensure_future(serve(calls, address, secret))
    for end in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(end, serving.cancel)
    try:
        return await serving
    except asyncio.CancelledError:
        return None  # stopped by a signal
