"""One folder for all runs of a process."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.experiments import Ground


@pytest.fixture(scope="session")
def ground(tmp_path_factory: pytest.TempPathFactory, forge_server: Path) -> Ground:
    """Runs of real processes, whose files can be made to fail where there is a C compiler."""
    return Ground.prepared(tmp_path_factory.mktemp("faults"), forge_server)


@pytest.fixture(scope="session")
def failing(ground: Ground) -> Ground:
    """As `ground`, for tests that make file operations fail."""
    if ground.forge.shim is None:
        pytest.skip("needs Linux and a C compiler, to make file operations fail")
    return ground
