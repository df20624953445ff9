"""A master as a program: its environment tells it the secrets, and a signal ends it.

MOSS_CONNECTION_SECRET is the one that moss was started with. ICE_SERVERS, if it is set, is for both
ends of every line: a list as RTCConfiguration has it, as JSON. They are not arguments, because a
command line is for every user of a machine to read.
"""

import asyncio
import json
import os
import signal

from calls import Calls
from moss import serve


async def run(member_class, address, **options):
    """Until somebody stops it. Returns why there is no sense in going on, for sys.exit."""
    secret = os.environ.get("MOSS_CONNECTION_SECRET")
    if not secret:
        return "MOSS_CONNECTION_SECRET is not set: it is the one that moss was started with"
    servers = json.loads(os.environ.get("ICE_SERVERS", "[]"))
    calls = Calls(member_class, servers, **options)
    serving = asyncio.ensure_future(serve(calls, address, secret))
    for end in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(end, serving.cancel)
    try:
        return await serving
    except asyncio.CancelledError:
        return None  # somebody stopped it
