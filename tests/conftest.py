"""Every test runs offline, in a cache of its own, on one thread: tiny tensors only lose by a second one."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["FTKIT_CACHE"] = tempfile.mkdtemp(prefix="ftkit-tests-")
# `evaluate` imports its package of metrics once in a process, so there is one place for all tests
os.environ["HF_MODULES_CACHE"] = os.path.join(os.environ["FTKIT_CACHE"], "modules")
atexit.register(shutil.rmtree, os.environ["FTKIT_CACHE"], ignore_errors=True)
