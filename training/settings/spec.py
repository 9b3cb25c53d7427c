"""What must be known of a family before anything of it is built: what it reads and answers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Question = Literal["lists", "feedback", "slates"]
"""Which items come next; what will be thought of an item; which items are to be shown together."""
AskedAt = Literal["event", "day_end"]
"""When a list is asked for: just before each event, or at the end of the UTC day before it."""
BLEND = "blend"
"""What a bundle of two models is called; no family that a preset trains."""
LISTS: frozenset[Question] = frozenset({"lists", "slates"})
"""What whoever recommends answers: its list of k is its slate."""


@dataclass(frozen=True, kw_only=True)
class FamilySpec:
    """A family of models as a preset sees it; `training.models.interface.Family` adds the model.

    Attributes:
        name: what presets, bundles and commands call it.
        config_class: frozen dataclass of the model's shape; every field has a default.
        reads: the tables that a fit is given, beside the catalogue: `user_sequences` always.
        answers: what its models can be asked. A family whose config decides has a property
            `answers` on it, which counts.
        by_epochs: fitted by `training.fit.loop`; False: by counting, so that no setting of the loop
            means anything to it.
        learns_preferences: `training.models.slate.alignment` can teach its fitted models which
            of two slates is better.
    """

    name: str
    config_class: type
    reads: tuple[str, ...] = ("user_sequences",)
    answers: frozenset[Question] = LISTS
    by_epochs: bool = True
    learns_preferences: bool = False

    def answers_with(self, settings: Mapping[str, Any]) -> frozenset[Question]:
        """What a model with these settings can be asked."""
        answers: frozenset[Question] = getattr(
            self.config_class(**settings), "answers", self.answers
        )
        return answers
