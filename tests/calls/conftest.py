"""Fixtures, and support for tests that are coroutines."""

import asyncio
import inspect
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from programs import Box  # noqa: E402

LONGEST = 300  # seconds for one test


def pytest_pyfunc_call(pyfuncitem):
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    arguments = {each: pyfuncitem.funcargs[each] for each in pyfuncitem._fixtureinfo.argnames}
    asyncio.run(asyncio.wait_for(pyfuncitem.obj(**arguments), LONGEST))
    return True


@pytest.fixture(scope="session")
def shared_box():
    box = Box()
    yield box
    box.stop()


@pytest.fixture
def box(shared_box):
    """A moss and a master that the tests share. Each test must leave them running."""
    yield shared_box
    assert shared_box.master.process.poll() is None, shared_box.master.printed
    assert "Traceback" not in shared_box.master.printed, shared_box.master.printed
    assert shared_box.moss.program.printed.count("is master now") == 1, "the master lost its connection to moss"


@pytest.fixture
def own_box():
    """A moss and a master for one test, which may stop and restart them."""
    box = Box()
    yield box
    box.stop()
    assert "Traceback" not in box.master.printed, box.master.printed
