"""Entering a network namespace for a moment.

A socket or a device belongs to the namespace in which it was made, also when it is used from
another one. So one process can have sockets in several namespaces.
"""

import ctypes
import os
from contextlib import contextmanager

libc = ctypes.CDLL(None, use_errno=True)


@contextmanager
def inside(namespace):
    """Sockets made in this context belong to `namespace`. Only this thread enters it, so nothing
    may be awaited meanwhile. (Python has os.setns only from 3.12 on.)"""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        there = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
        try:
            enter(there)
        finally:
            os.close(there)
        try:
            yield
        finally:
            enter(home)
    finally:
        os.close(home)


def enter(namespace):
    if libc.setns(namespace, 0) != 0:
        raise OSError(ctypes.get_errno(), "setns")
