"""slates → preference lists: what was wanted above what was less wanted, above what wasn't shown.

The tiers are RankGR's (arXiv:2602.08575; docs/mechanics.md, Preference lists). A slate becomes one
*attempt*, with its list or with the reason why there is none, so that both can be counted. All
chance comes from a hash of the seed and the slate: rows depend on nothing else.
"""

from datetime import date

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from pipelines.config import PreferenceLists
from pipelines.transforms.listed_items import TableFiles
from pipelines.transforms.preferences import slate_number
from pipelines.transforms.tiers import BEAM, NOTHING_TO_DRAW, ONE_TIER, PSEUDO, Tiers

REASONS = (ONE_TIER, NOTHING_TO_DRAW)
"""Why a list may not be made."""
_TYPES = (
    "day date, slate_id string, user_id string, started_at timestamp, ended_at timestamp, "
    "item_indices array<int>, tiers array<int>, reason string, num_in_tiers array<int>, "
    "num_cut int, num_missing int, is_of_beam boolean"
)


def tiered(
    slates: DataFrame,
    items: TableFiles,
    config: PreferenceLists,
    *,
    days: tuple[date, date],
    beams: DataFrame | None = None,
) -> DataFrame:
    """Attempts at lists.

    Args:
        slates: rows of `slates`, from `window_days` - 1 days before the first of `days` on; each
            has an item once, with its strongest feedback.
        items: files of `items`.
        config: strengths of tiers, how much of each, the pseudo-exposures and the seed.
        days: the first and the last day whose slates are asked.
        beams: rows of `sampled_beams`, whose items come before what is drawn; None: all is drawn.
    Returns:
        One row per slate of these days: day, slate_id, user_id, started_at, ended_at, item_indices,
        tiers, reason (null: made), num_in_tiers (of the tiers 1 to 4), num_cut (items beyond
        `most_per_tier`), num_missing (pseudo-exposures fewer than asked for), is_of_beam
        (whether pseudo-exposures are of a beam).
    """
    needed = ("day", "slate_id", "user_id", "started_at", "ended_at")
    asked = slates.select(
        *needed,
        *("item_indices", "strengths", "dwell_seconds"),
        slate_number(config.seed).alias("number"),
    )
    if beams is not None:
        of_slates = beams.select("day", "slate_id", F.col("item_indices").alias(BEAM))
        asked = asked.join(of_slates, ["day", "slate_id"], "left")
    return (
        asked
        # What a user had been shown is told by slates before: all of a user in one task, in order.
        .repartition("user_id")
        .sortWithinPartitions("user_id", "started_at", "slate_id")
        .mapInArrow(Tiers(config, items, *days).run, _TYPES)
    )


def made(attempts: DataFrame) -> DataFrame:
    """Rows of `preference_lists`: the attempts that came to something."""
    return attempts.where("reason IS NULL").select(
        "day",
        "slate_id",
        "user_id",
        F.col("started_at").alias("context_until"),
        "ended_at",
        "item_indices",
        "tiers",
    )


def counts() -> list[Column]:
    """Aggregates over attempts: lists made, those not made by reason, and what lists hold."""
    is_made = F.col("reason").isNull()

    def total(column: Column) -> Column:
        return F.sum(F.when(is_made, column).otherwise(0))

    return [
        F.count_if(is_made).alias("made"),
        F.count_if(is_made & F.col("is_of_beam")).alias("of beams"),
        *(F.count_if(F.col("reason") == reason).alias(reason) for reason in REASONS),
        *(total(F.get("num_in_tiers", n)).alias(f"tier {n + 1}") for n in range(PSEUDO)),
        total(F.col("num_cut")).alias("cut"),
        total(F.col("num_missing")).alias("missing"),
    ]
