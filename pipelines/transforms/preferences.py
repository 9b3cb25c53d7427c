"""slates → preference pairs: what was wanted, beside what would have been worse.

The three kinds of rejected slates are HiGR's (arXiv:2512.24787; docs/mechanics.md, Preference
pairs). `chosen` are the engaged items of a slate, strongest feedback first, then the longest
dwell, then by chance.

* `ranking`: the chosen in another order, weaker feedback before stronger: an order among items of
  equal strength is no worse than another.
* `interest`: some of the chosen replaced by items that the user left or disliked.
* `diversity`: the first of the chosen, then the items most similar to it.

Every pair that was asked for becomes one *attempt*, with its rejected slate or with the reason why
there is none, so that both can be counted. All chance comes from a hash of the seed, the slate, the
kind and the pair's number: rows depend on nothing else.
"""

from collections.abc import Mapping
from datetime import date
from functools import partial

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from pipelines.config import Preferences
from pipelines.transforms.rearrangement import (
    ALL_ENGAGED,
    ALL_IN_SLATE,
    NONE_ENGAGED,
    ONE_CHOSEN,
    ONE_STRENGTH,
    REPEATED,
    Rearrangement,
    asked_for_diversity,
)
from pipelines.transforms.shown_slates import PRIME

NO_EMBEDDING = "no chosen item has an embedding"
FEW_ANCHORS = "more pairs than chosen items with an embedding"
FEW_SIMILAR = "the anchor has too few similar items"
SIMILAR_IN_SLATE = "too few similar items are not in the slate"
REASONS: Mapping[str, tuple[str, ...]] = {
    "ranking": (NONE_ENGAGED, ONE_CHOSEN, ONE_STRENGTH, REPEATED),
    "interest": (NONE_ENGAGED, ALL_ENGAGED, ALL_IN_SLATE, REPEATED),
    "diversity": (
        NONE_ENGAGED, ONE_CHOSEN, NO_EMBEDDING, FEW_ANCHORS, FEW_SIMILAR, SIMILAR_IN_SLATE
    ),
}  # fmt: skip
"""Why a pair of a kind may not be made."""

_SLATE = ("day", "slate_id", "user_id", "started_at", "ended_at", "chosen")
_SLATE_TYPES = (
    "day date, slate_id string, user_id string, started_at timestamp, ended_at timestamp, "
    "chosen array<int>"
)
_ATTEMPT_TYPES = (
    "kind string, pair int, rejected array<int>, reason string, source string, "
    "newest_source timestamp"
)


def rearranged(slates: DataFrame, config: Preferences, *, days: tuple[date, date]) -> DataFrame:
    """Attempts of the kinds `ranking` and `interest`.

    Args:
        slates: rows of `slates`, from `window_days` - 1 days before the first of `days` on.
        config: shares, seed, how much of a slate is replaced, and how far back it is borrowed.
        days: the first and the last day whose slates are asked.
    Returns:
        One row per pair that was asked for: the slate's columns, kind, pair, rejected (null: not
        made), reason (null: made), source, newest_source.
    """
    rearrange = Rearrangement(config, *days)
    return (
        _numbered(slates, config)
        # What a user left is borrowed by slates after: all of a user in one task, in order.
        .repartition("user_id")
        .sortWithinPartitions("user_id", "started_at", "slate_id")
        .mapInArrow(rearrange.run, f"{_SLATE_TYPES}, {_ATTEMPT_TYPES}")
    )


def anchors(slates: DataFrame, embedded: DataFrame, config: Preferences) -> DataFrame:
    """Attempts of the kind `diversity`, each with its anchor.

    The pair number n starts with the nth of the chosen items that have an embedding: where an item
    has none, the next one stands in for it.

    Args:
        slates: rows of `slates`.
        embedded: item_index of the items that have an embedding.
        config: shares and seed.
    Returns:
        One row per pair that was asked for: the slate's columns, item_indices, kind, pair, anchor
        (null: there is none), reason (null: none so far).
    """
    asked = _numbered(slates, config).mapInArrow(
        partial(asked_for_diversity, config), f"{_SLATE_TYPES}, item_indices array<int>, count int"
    )
    places = asked.where(F.size("chosen") > 1).select(
        "day", "slate_id", F.posexplode("chosen").alias("place", "item_index")
    )
    with_embedding = (
        places.join(embedded, "item_index", "left_semi")
        .groupBy("day", "slate_id")
        .agg(F.array_sort(F.collect_list(F.struct("place", "item_index"))).alias("usable"))
    )
    usable = F.coalesce(F.size("usable"), F.lit(0))
    return (
        asked.join(with_embedding, ["day", "slate_id"], "left")
        .withColumn("pair", F.explode(F.sequence(F.lit(0), F.col("count") - 1)))
        .select(
            *_SLATE,
            "item_indices",
            F.lit("diversity").alias("kind"),
            "pair",
            F.get("usable.item_index", F.col("pair")).alias("anchor"),
            F.when(F.size("chosen") == 0, NONE_ENGAGED)
            .when(F.size("chosen") == 1, ONE_CHOSEN)
            .when(usable == 0, NO_EMBEDDING)
            .when(usable <= F.col("pair"), FEW_ANCHORS)
            .alias("reason"),
        )
    )


def alike(attempts: DataFrame, similar: DataFrame) -> DataFrame:
    """Attempts of the kind `diversity`: the anchor, then the items most similar to it.

    Items of the slate are left out: what was shown is no filter bubble that a model has to learn.

    Args:
        attempts: as `anchors` returns them.
        similar: anchor, day, similar: item indices, most similar first.
    Returns:
        The columns that `rearranged` returns.
    """
    wanted = F.size("chosen") - 1
    others = F.array_except(F.coalesce("similar", F.array().cast("array<int>")), "item_indices")
    found = F.coalesce(F.size("similar"), F.lit(0))
    reason = (
        F.when(F.col("reason").isNotNull(), F.col("reason"))
        .when(found < wanted, FEW_SIMILAR)
        .when(F.size("others") < wanted, SIMILAR_IN_SLATE)
    )
    rejected = F.concat(F.array("anchor"), F.slice("others", 1, F.greatest(wanted, F.lit(0))))
    stands_in = F.col("anchor") != F.get("chosen", F.col("pair"))
    return (
        attempts.join(similar, ["anchor", "day"], "left")
        .withColumn("others", others)
        .withColumn("reason", reason)
        .select(
            *_SLATE,
            "kind",
            "pair",
            F.when(F.col("reason").isNull(), rejected).alias("rejected"),
            "reason",
            F.concat(
                F.format_string("most similar to item %d", "anchor"),
                F.when(
                    stands_in,
                    F.format_string(
                        ", which stands in for %d without an embedding",
                        F.get("chosen", F.col("pair")),
                    ),
                ).otherwise(""),
            ).alias("source"),
            F.col("ended_at").alias("newest_source"),
        )
    )


def made(attempts: DataFrame) -> DataFrame:
    """Rows of `preference_pairs`: the attempts that came to something."""
    return attempts.where("reason IS NULL").select(
        "day",
        "slate_id",
        "user_id",
        F.col("started_at").alias("context_until"),
        "kind",
        "pair",
        "chosen",
        "rejected",
        "source",
        "newest_source",
    )


def counts() -> list[Column]:
    """Aggregates over attempts: pairs made by kind, and not made by kind and reason."""
    columns = [F.count_if(F.col("source").contains("stands in")).alias("stood_in")]
    for kind, reasons in REASONS.items():
        of_kind = F.col("kind") == kind
        columns.append(F.count_if(of_kind & F.col("reason").isNull()).alias(kind))
        columns += [
            F.count_if(of_kind & (F.col("reason") == reason)).alias(f"{kind}: {reason}")
            for reason in reasons
        ]
    return columns


def slate_number(seed: int) -> Column:
    """The number, from 1 to `PRIME` - 1, that decides a slate's chance: a hash of its slate_id."""
    text = F.concat_ws("|", F.lit(str(seed)), "slate_id")
    return F.conv(F.substring(F.md5(text), 1, 8), 16, 10).cast("bigint") % (PRIME - 1) + 1


def _numbered(slates: DataFrame, config: Preferences) -> DataFrame:
    """Slates with the number that decides their chance."""
    return slates.select(
        *("day", "slate_id", "user_id", "started_at", "ended_at"),
        *("item_indices", "strengths", "dwell_seconds"),
        slate_number(config.seed).alias("number"),
    )
