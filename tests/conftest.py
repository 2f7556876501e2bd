"""Every test runs offline, in a cache of the session, on one thread: tiny tensors only lose by a second one."""

from __future__ import annotations

import atexit
import gc
import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.fixtures.forge import Forge, Server

pytest_plugins = [
    "tests.fixtures.pair_forge",
    "tests.fixtures.strangers",
    "tests.fixtures.tiny_models",
    "tests.fixtures.tokenizers",
    "tests.fixtures.training",
]

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "1")
if "PYTEST_XDIST_WORKER" not in os.environ:  # one cache for all workers: what is built in is built once
    os.environ["FTKIT_CACHE"] = tempfile.mkdtemp(prefix="ftkit-tests-")
    # `evaluate` imports its package of metrics once in a process, so there is one place for all tests
    os.environ["HF_MODULES_CACHE"] = os.path.join(os.environ["FTKIT_CACHE"], "modules")
    atexit.register(shutil.rmtree, os.environ["FTKIT_CACHE"], ignore_errors=True)

# how long an example takes says something of the machine, and nothing of the rule
settings.register_profile("ftkit", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("ftkit")

# no test of this process can see whether bytes have reached the disk: tests/faults does, in processes of its own
os.fsync = lambda _file: None

_num_frozen = 0


def leave_out_what_was_imported(phase: str, _info: dict[str, int]) -> None:
    """HF Trainer collects garbage at every start and end: a third of a second over what is merely imported."""
    global _num_frozen
    if phase == "start" and len(sys.modules) > _num_frozen + 50:
        gc.freeze()
        _num_frozen = len(sys.modules)


gc.callbacks.append(leave_out_what_was_imported)


def pytest_configure(config: pytest.Config) -> None:
    """Start what gives all workers their processes; a worker finds it in its environment."""
    if not hasattr(config, "workerinput"):
        server = Server.started()
        os.environ["FTKIT_FORGE"] = str(server.folder)
        config.add_cleanup(server.close)


@pytest.fixture(scope="session")
def forge_server() -> Path:
    """Folder of the server that processes are forks of."""
    return Path(os.environ["FTKIT_FORGE"])


@pytest.fixture
def forge(forge_server: Path, tmp_path: Path) -> Forge:
    """Starts real processes in the folder of the test: `ftkit` as it is typed, or a Python of its own."""
    return Forge(forge_server, tmp_path)
