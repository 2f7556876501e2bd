"""What the rules of a recipe look at, and what they say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from ftkit.recipe.defaults import defaults_of
from ftkit.recipe.keys import field_at
from ftkit.recipe.schema import Recipe


class Finding(NamedTuple):
    """A rule that is broken.

    Attributes:
        key: dotted path of the key that it is about.
        message: what is wrong.
        fix: what to do.
    """

    key: str
    message: str
    fix: str


@dataclass(frozen=True)
class Facts:
    """What the rules look at.

    Attributes:
        recipe: a valid recipe (where the file is wrong, with the wrong values left out).
        given: dotted keys that the user has given a value, wrong ones included.
    """

    recipe: Recipe
    given: frozenset[str]

    def has(self, key: str) -> bool:
        """Whether the user gave the key a value."""
        return key in self.given

    def changed(self, key: str) -> bool:
        """Whether the user gave the key a value other than its default."""
        section, _, name = key.rpartition(".")
        field = field_at(key, self.recipe.method.type)
        if key not in self.given or field is None:
            return False
        recipe = self.recipe
        defaults = defaults_of(recipe.task, recipe.method.type, labels_as_text=recipe.data.labels_as_text)
        default = defaults.get(key, field.get_default(call_default_factory=True))
        return bool(getattr(getattr(self.recipe, section), name) != default)
