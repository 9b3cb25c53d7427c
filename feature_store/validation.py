"""A preset's section `validation`: what pipelines and training check before they publish."""

from datetime import date
from typing import Literal

from pydantic import Field

from feature_store.preset import Section


class ValidationRule(Section):
    """A rule of one's own about a table, run with ours on the rows that would be published."""

    name: str
    """What Data Docs and refusals call it: lower-case letters, digits and _, a letter first."""
    table: Literal[
        "items",
        "interactions",
        "item_embeddings",
        "user_sequences",
        "users",
        "slates",
        "preference_pairs",
        "preference_lists",
        "feature_vocabularies",
        "impressions",
        "collaborative_vectors",
        "item_cooccurrence",
        "semantic_ids",
        "recommendations",
        "sampled_beams",
    ]
    """The table that it is about."""
    condition: str
    """Spark SQL over the table's columns, a function of the row alone. A row for which it is false
    or fails breaks the rule; null breaks nothing. `semantic_ids`, `recommendations` and
    `sampled_beams` are checked without Spark: their rules compare (`AND`, `OR`, `NOT`, `IN`,
    `BETWEEN`, `CASE`) and call functions of lists and texts (`size`, `array_min`, `length`, …),
    without arithmetic."""
    share: float = Field(default=0.0, ge=0, lt=1)
    """Of the rows, how many may break it; with more nothing is published."""


class Validation(Section):
    """Rules a contract can't say; a share is of rows, a factor multiplies the trailing median."""

    trailing_days: int = Field(default=7, ge=1)
    """Published days before the run's that its volume and mix are compared with; with fewer than
    three the rules of volume and drift report and don't refuse."""
    volume_low_factor: float = Field(default=0.3, ge=0)
    """Fewer rows than this times the trailing median are refused."""
    volume_high_factor: float = Field(default=5.0, gt=0)
    """More rows than this times the trailing median are refused."""
    strength_drift: float = Field(default=0.25, gt=0, le=2)
    """Largest allowed L1 distance between the day's strength mix and the trailing days'."""
    quarantine_share: float = Field(default=0.05, ge=0, le=1)
    """A delivery that loses a larger share than this is refused as a whole; a single row among
    others is not, but where the share is 0."""
    allow_empty_day: bool = False
    """Whether a day without events is published."""
    earliest_event: date = date(1990, 1, 1)
    """Events before are quarantined: they are a default or a unit mistake, not feedback."""
    rules: tuple[ValidationRule, ...] = ()
    """Rules of one's own, beside those that every table has."""
