"""One forge for all tests of a process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.experiments import Ground
from tests.faults.forge import build_shim


@pytest.fixture(scope="session")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """Runs of real processes, whose files can be made to fail where there is a C compiler."""
    folder = tmp_path_factory.mktemp("faults")
    ground = Ground.prepared(folder, shim=build_shim(folder))
    yield ground
    ground.close()


@pytest.fixture(scope="session")
def failing(ground: Ground) -> Ground:
    """As `ground`, for tests that make file operations fail."""
    if ground.forge.shim is None:
        pytest.skip("needs Linux and a C compiler, to make file operations fail")
    return ground
