"""Every test runs offline, in a cache of its own, on one thread: tiny tensors only lose by a second one."""

from __future__ import annotations

import atexit
import gc
import os
import shutil
import sys
import tempfile

import pytest

pytest_plugins = ["tests.fixtures.tiny_models", "tests.fixtures.tokenizers", "tests.fixtures.training"]

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["FTKIT_CACHE"] = tempfile.mkdtemp(prefix="ftkit-tests-")
# `evaluate` imports its package of metrics once in a process, so there is one place for all tests
os.environ["HF_MODULES_CACHE"] = os.path.join(os.environ["FTKIT_CACHE"], "modules")
atexit.register(shutil.rmtree, os.environ["FTKIT_CACHE"], ignore_errors=True)


_num_frozen = 0


@pytest.fixture(autouse=True)
def imported_modules_are_no_garbage() -> None:
    """HF Trainer collects garbage at every start; a third of a second goes by over what is merely imported."""
    global _num_frozen
    if len(sys.modules) > _num_frozen + 100:
        gc.collect()
        gc.freeze()
        _num_frozen = len(sys.modules)
