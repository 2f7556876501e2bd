"""What a diagnosis says: checks with their state and evidence, the headline, and what to change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

State = Literal["fired", "clear", "cannot_tell", "not_applicable"]

CHECKS = (
    "invalid_run",
    "leakage",
    "class_collapse",
    "label_noise",
    "not_converged",
    "capacity",
    "domain_gap",
    "memorised",
    "overfit",
    "forgetting",
    "no_gain",
    "too_little_data",
)
"""Names of the checks, the gravest first: the first that fires is the headline."""
HEADLINES = (*CHECKS, "healthy", "cannot_tell")
TITLES = {
    "invalid_run": "Invalid run",
    "leakage": "Leakage suspected",
    "class_collapse": "Class collapse",
    "label_noise": "Label noise suspected",
    "not_converged": "Underfit: not converged",
    "capacity": "Underfit: capacity or freezing",
    "domain_gap": "Underfit: domain gap",
    "memorised": "Overfit: memorised",
    "overfit": "Overfit",
    "forgetting": "Forgetting",
    "no_gain": "No gain",
    "too_little_data": "Too little data to tell",
    "healthy": "Healthy",
    "cannot_tell": "Cannot tell",
}
"""What a headline is called in print."""


@dataclass(frozen=True)
class Evidence:
    """One figure with its 95 % interval and the margin that it is held against.

    Attributes:
        what: in words, such as `validation loss, final minus best`.
        margin: what the interval has to clear for the check to fire; None for a figure that decides nothing.
        unit: `nat a token`, `share`, ...
    """

    what: str
    value: float | None
    low: float | None = None
    high: float | None = None
    margin: float | None = None
    unit: str = ""
    n: int = 0


@dataclass(frozen=True)
class Change:
    """A recipe key, the value it should get, and why.

    Attributes:
        key: dotted, `training.num_train_epochs`; empty for advice that no key of a recipe can carry out.
        value: JSON-able; None where a person has to choose.
        why: computed from the evidence, one sentence.
    """

    key: str
    value: object
    why: str


@dataclass(frozen=True)
class Check:
    """What one check found.

    Attributes:
        summary: one sentence with its figures, or the reason for which it cannot tell or does not apply.
        needs: what would let it tell: `about 240 validation rows`, `--thorough`; empty otherwise.
        changes: what to change in the recipe; only of a check that fired.
        p: one-sided probability of such evidence at the margin, before Holm's correction; None for exact checks.
        essential: whether a run is not called healthy because of what this check cannot tell.
    """

    name: str
    state: State
    summary: str
    evidence: Sequence[Evidence] = ()
    needs: str = ""
    changes: Sequence[Change] = ()
    p: float | None = None
    essential: bool = False


@dataclass(frozen=True)
class Verdict:
    """The diagnosis of a run.

    Attributes:
        sentence: the headline in words, with its figures.
        good_for: what the run is good for, one sentence.
        checks: all of them, in the order of CHECKS.
        changes: what to change, the headline's first; each key once.
    """

    headline: str
    sentence: str
    good_for: str
    checks: Sequence[Check]
    changes: Sequence[Change]

    @property
    def fired(self) -> tuple[str, ...]:
        """Names of the checks that fired."""
        return tuple(check.name for check in self.checks if check.state == "fired")

    def to_dict(self) -> dict[str, Any]:
        """As it stands in report.json."""
        return asdict(self) | {"title": TITLES[self.headline], "fired": list(self.fired)}
