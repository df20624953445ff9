"""Being in a network namespace for a moment.

A socket or a device belongs to the namespace that it was made in, whoever uses it later. So
a program that makes each thing in its place needs no process there.
"""

import ctypes
import os
from contextlib import contextmanager

libc = ctypes.CDLL(None, use_errno=True)


@contextmanager
def inside(namespace):
    """What is made meanwhile belongs to `namespace`. Only this thread goes there, so nothing
    may be awaited before it is back. (Python has os.setns from 3.12 on only.)"""
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
