"""A model's labels and those of the data it is judged on."""

from __future__ import annotations

import pytest

from ftkit.errors import UserError
from ftkit.tasks.classification.evaluate import label_note


def test_labels_of_other_names_are_taken_in_their_order_and_that_is_said():
    assert label_note(("no", "yes"), ("no", "yes"), where="m") is None
    assert "LABEL_0" in str(label_note(("LABEL_0", "LABEL_1"), ("no", "yes"), where="m"))


@pytest.mark.parametrize(("own", "said"), [(("a", "b", "c"), "3 labels"), (("yes", "no"), "another order")])
def test_other_labels_or_another_order_are_refused(own: tuple[str, ...], said: str):
    with pytest.raises(UserError, match=said):
        label_note(own, ("no", "yes"), where="m")
