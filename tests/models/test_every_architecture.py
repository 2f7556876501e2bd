"""Every architecture that transformers has a head for is trained and read back as it was, or refused before step 1."""

from __future__ import annotations

import pytest

from tests.fixtures.architectures import HEADS, METHODS, architectures, make_checkpoint, try_it

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(("task", "model_type"), [(task, name) for task in HEADS for name in architectures(task)])
def test_an_architecture_works_or_is_refused_before_training(task, model_type, tmp_path, record_property):
    base = tmp_path / "base"
    base.mkdir()
    is_built = make_checkpoint(task, model_type, base)
    outcomes = {}
    for method in METHODS[task]:
        (tmp_path / method).mkdir()
        outcomes[method] = try_it(task, method, base, tmp_path / method)
        record_property(method, f"{outcomes[method].how} {outcomes[method].why}".strip())
        print(f"{task:14} {model_type:24} {method:6} {outcomes[method].how:8} {outcomes[method].why[:120]}")
    assert {outcome.how for outcome in outcomes.values()} <= {"works", "refused"}
    assert is_built or {outcome.how for outcome in outcomes.values()} == {"refused"}, "it was not built, and passes"
