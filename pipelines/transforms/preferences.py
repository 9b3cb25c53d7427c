"""slates → preference pairs: what was wanted, beside what would have been worse.

The three kinds of rejected slates are HiGR's (arXiv:2512.24787; MECHANICS §3.4). `chosen` are the
engaged items of a slate, strongest feedback first.

* `ranking`: the chosen in another order.
* `interest`: some of the chosen replaced by items that the user left or disliked.
* `diversity`: the first of the chosen, then the items most similar to it.

Every pair that was asked for becomes one *attempt*, with its rejected slate or with the reason why
there is none, so that both can be counted. All chance comes from a hash of the seed, the slate, the
kind and the pair's number: rows depend on nothing else.
"""

from collections.abc import Mapping

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from pipelines.config import Preferences

KINDS = ("ranking", "interest", "diversity")
NONE_ENGAGED = "none engaged"
ONE_CHOSEN = "only one chosen"
ALL_ENGAGED = "all engaged, and nothing was left in earlier slates"
ALL_IN_SLATE = "every candidate is in the slate or was engaged with"
REPEATED = "the same as another pair"
NO_EMBEDDING = "no chosen item has an embedding"
FEW_ANCHORS = "more pairs than chosen items with an embedding"
FEW_SIMILAR = "the anchor has too few similar items"
SIMILAR_IN_SLATE = "too few similar items are not in the slate"
REASONS: Mapping[str, tuple[str, ...]] = {
    "ranking": (NONE_ENGAGED, ONE_CHOSEN, REPEATED),
    "interest": (NONE_ENGAGED, ALL_ENGAGED, ALL_IN_SLATE, REPEATED),
    "diversity": (
        NONE_ENGAGED, ONE_CHOSEN, NO_EMBEDDING, FEW_ANCHORS, FEW_SIMILAR, SIMILAR_IN_SLATE
    ),
}  # fmt: skip
"""Why a pair of a kind may not be made."""

_PRIME = 2**31 - 1
"""Modulo this prime a key multiplies places and item indices into another order."""
_SLATE = ("day", "slate_id", "user_id", "started_at", "ended_at", "chosen")


def with_chosen(slates: DataFrame, config: Preferences) -> DataFrame:
    """Slates with `chosen` and `left`.

    Args:
        slates: rows of `slates`.
        config: from which strength on an item is chosen, and up to which it was left.
    Returns:
        The columns, and chosen: item indices, strongest first, then longest dwell (not known: the
        shortest), then place; and left: (strength, item_index) of items left or disliked.
    """
    entries = F.transform(
        "item_indices",
        lambda item, place: F.struct(
            F.negate(F.get("strengths", place)).alias("weakness"),
            F.nanvl(F.negate(F.get("dwell_seconds", place)), F.lit(float("inf"))).alias("haste"),
            place.alias("place"),
            item.alias("item_index"),
        ),
    )
    engaged = F.filter(entries, lambda entry: entry["weakness"] <= -config.positive_strength)
    return slates.select(
        "day", "slate_id", "user_id", "started_at", "ended_at", "item_indices",
        F.array_sort(engaged)["item_index"].alias("chosen"),
        F.filter(
            F.arrays_zip("strengths", "item_indices"),
            lambda item: item["strengths"] <= config.negative_strength,
        ).alias("left"),
        F.filter(
            "item_indices",
            lambda item, place: F.get("strengths", place) > config.negative_strength,
        ).alias("liked"),
    )  # fmt: skip


def with_earlier(slates: DataFrame, config: Preferences) -> DataFrame:
    """Slates with what the user left in earlier ones, and may be borrowed from there.

    Earlier are the last `earlier_slates` that had ended when this one started, not more than
    `window_days` before. What the user engaged with in any of them isn't borrowed, nor what this
    slate shows anyway.

    Args:
        slates: as `with_chosen` returns them, from `window_days` - 1 days before the first one on.
        config: how far back.
    Returns:
        The columns, and earlier: (ended_at, left), newest first; borrowable: item indices, those
        of the newest slate first.
    """
    before = Window.partitionBy("user_id").orderBy("started_at", "slate_id")
    slate = F.struct("ended_at", "day", F.col("left.item_indices").alias("left"), "liked")
    last = F.collect_list(slate).over(before.rowsBetween(-config.earlier_slates, -1))
    oldest = F.date_sub("day", config.window_days - 1)
    earlier = F.filter(
        "earlier",
        lambda slate: (slate["ended_at"] <= F.col("started_at")) & (slate["day"] >= oldest),
    )
    return (
        slates.withColumn("earlier", F.reverse(last))
        .withColumn("earlier", earlier)
        .withColumn(
            "borrowable",
            F.array_except(
                F.flatten("earlier.left"),
                F.concat("item_indices", F.flatten("earlier.liked")),
            ),
        )
    )


def rearranged(slates: DataFrame, config: Preferences) -> DataFrame:
    """Attempts of the kinds `ranking` and `interest`.

    Args:
        slates: as `with_earlier` returns them.
        config: shares, seed, and how much of a slate is replaced.
    Returns:
        One row per pair that was asked for: the slate's columns, kind, pair, rejected (null: not
        made), reason (null: made), source, newest_source.
    """
    ranking = _attempts(
        "ranking",
        F.when(F.size("chosen") == 0, NONE_ENGAGED).when(F.size("chosen") == 1, ONE_CHOSEN),
        _permutations(_keys("ranking", config)),
        source=F.lit("the chosen in another order"),
        newest=F.col("ended_at"),
    )
    from_slate = F.least(F.size("left"), F.col("replaced"))
    from_earlier = F.col("replaced") - from_slate
    interest = _attempts(
        "interest",
        F.when(F.size("chosen") == 0, NONE_ENGAGED)
        .when(F.col("replaced") > 0, None)
        .when(F.size(F.flatten("earlier.left")) > 0, ALL_IN_SLATE)
        .otherwise(ALL_ENGAGED),
        _replacements(_keys("interest", config)),
        source=F.format_string(
            "%d left in the slate, %d in earlier ones", from_slate, from_earlier
        ),
        newest=F.when(from_slate > 0, F.col("ended_at")).otherwise(_first_borrowed_from()),
    )
    candidates = F.size("left") + F.size("borrowable")
    most = F.ceil(F.size("chosen") * F.lit(config.replaced_share)).cast("int")
    return (
        slates.withColumn("replaced", F.least(candidates, most))
        .withColumn("attempt", F.explode(F.concat(ranking, interest)))
        .select(*_SLATE, "attempt.*")
    )


def anchors(slates: DataFrame, embedded: DataFrame, config: Preferences) -> DataFrame:
    """Attempts of the kind `diversity`, each with its anchor.

    The pair number n starts with the nth of the chosen items that have an embedding: where an item
    has none, the next one stands in for it.

    Args:
        slates: as `with_chosen` returns them.
        embedded: item_index of the items that have an embedding.
        config: shares and seed.
    Returns:
        One row per pair that was asked for: the slate's columns, item_indices, kind, pair, anchor
        (null: there is none), reason (null: none so far).
    """
    asked = slates.withColumn("count", _count("diversity", config)).where("count > 0")
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


def _attempts(
    kind: str, reason: Column, rejected: Column, *, source: Column, newest: Column
) -> Column:
    """One struct per pair of a kind; a slate's list that comes again is made once."""

    def attempt(slates: Column) -> Column:
        return F.transform(
            slates,
            lambda slate, pair: F.struct(
                F.lit(kind).alias("kind"),
                pair.alias("pair"),
                slate.alias("rejected"),
                F.coalesce(reason, F.when(F.array_position(slates, slate) <= pair, REPEATED)).alias(
                    "reason"
                ),
                source.alias("source"),
                newest.alias("newest_source"),
            ),
        )

    return F.flatten(F.transform(F.array(rejected), attempt))


def _permutations(keys: Column) -> Column:
    """For each key the chosen in another order; where chance gives the same, rotated by one."""

    def permuted(key: Column) -> Column:
        by_chance = F.transform(
            "chosen", lambda item: F.struct(_mixed(item, key).alias("by"), item.alias("item"))
        )
        return F.array_sort(by_chance)["item"]

    rotated = F.concat(F.slice("chosen", 2, F.size("chosen")), F.slice("chosen", 1, 1))
    return F.transform(
        F.transform(keys, permuted),
        lambda order: F.when(order == F.col("chosen"), rotated).otherwise(order),
    )


def _replacements(keys: Column) -> Column:
    """For each key the chosen with `replaced` of them, at places by chance, exchanged.

    Disliked items of the slate come first, then those left in it, by chance; then borrowed ones.
    """

    def drawn(key: Column) -> Column:
        left = F.transform(
            "left",
            lambda item: F.struct(
                item["strengths"].alias("strength"),
                _mixed(item["item_indices"], key).alias("by"),
                item["item_indices"].alias("item"),
            ),
        )
        places = F.transform(
            "chosen",
            lambda item, place: F.struct(_mixed(place, key).alias("by"), place.alias("place")),
        )
        return F.struct(
            F.concat(F.array_sort(left)["item"], F.col("borrowable")).alias("items"),
            F.slice(F.array_sort(places)["place"], 1, F.col("replaced")).alias("places"),
        )

    return F.transform(
        F.transform(keys, drawn),
        lambda draw: F.transform(
            "chosen",
            lambda item, place: F.coalesce(
                F.get(draw["items"], F.array_position(draw["places"], place).cast("int") - 1), item
            ),
        ),
    )


def _first_borrowed_from() -> Column:
    """The end of the newest slate that gave the first borrowable item; others are not newer."""
    first = F.get("borrowable", F.lit(0))
    gave = F.filter("earlier", lambda slate: F.array_contains(slate["left"], first))
    return F.get(gave["ended_at"], F.lit(0))


def _keys(kind: str, config: Preferences) -> Column:
    """A key per pair of the kind that the slate is asked for."""
    count = _count(kind, config)
    numbers = F.when(count > 0, F.sequence(F.lit(0), count - 1))
    keys = F.transform(numbers, lambda pair: _hash(config.seed, F.lit(kind), pair))
    return F.coalesce(keys, F.array().cast("array<bigint>"))


def _count(kind: str, config: Preferences) -> Column:
    """How many of the slate's pairs are of a kind: its share, rounded up or down by chance.

    Systematic sampling: of `pairs_per_context` points one apart, shifted by one draw per slate,
    those that fall on the kind's part of the line.
    """
    shares = [config.ranking, config.interest, config.diversity]
    ends = [config.pairs_per_context * sum(shares[:n]) / sum(shares) for n in range(4)]
    draw = _hash(config.seed, F.lit("kinds"), F.lit(0)) / _PRIME
    place = KINDS.index(kind)
    return (F.ceil(F.lit(ends[place + 1]) - draw) - F.ceil(F.lit(ends[place]) - draw)).cast("int")


def _hash(seed: int, kind: Column, pair: Column) -> Column:
    """A number from 1 to `_PRIME` - 1."""
    text = F.concat_ws("|", F.lit(str(seed)), F.col("slate_id"), kind, pair.cast("string"))
    number = F.conv(F.substring(F.md5(text), 1, 8), 16, 10).cast("bigint")
    return number % (_PRIME - 1) + 1


def _mixed(number: Column, key: Column) -> Column:
    return (number.cast("bigint") + 1) * key % _PRIME
