"""What in the curves of a fit says that groups of users go wrong.

docs/mechanics.md, Alarms of grouped ranking, has the bounds.
"""

from collections.abc import Mapping, Sequence

from training.settings.groupce import GroupceConfig

LEAST_PERPLEXITY = 0.5
"""Of a level's codes, over their number; below, most of them are not used."""
LEAST_INFORMATIVE = 0.2
"""Share of rows in groups with both labels; below, a level teaches little."""
MOST_MISCALIBRATED = 0.1
"""Clicks said over clicks, less 1, whichever way."""
DRIFT = 1.5
"""So many times its least, the quantisation error of users has drifted away."""
LEAST_DRIFT = 0.25
"""A quantisation error below is small, however much it has grown."""
MOST_CHURN = 0.5
"""Share of users with another first code than an epoch ago."""
MOST_COLD_GAP = 0.1
"""GAUC that cold users may have less than warm ones."""
ROWS_PER_GROUP = 16
"""A batch of so many rows for each possible group is large enough."""

Curves = Sequence[Mapping[str, float]]


def alarms(
    curves: Curves, config: GroupceConfig, *, logloss_only: float | None = None
) -> list[str]:
    """Sentences about what should be looked at; none where all is well.

    Args:
        curves: of the epochs.
        config: of the model.
        logloss_only: LogLoss of a fit on the same data with `ranking_loss: none`; None: not known.
    """
    if not curves:
        return []
    last = curves[-1]
    found = [
        *(_collapsed(last, level) for level in _levels(last, "code_perplexity")),
        *(_sparse(last, level, config) for level in _levels(last, "informative_share")),
        _miscalibrated(last, config),
        _worse_log_loss(last, logloss_only),
        _drifted(curves),
        _churns(last),
        _not_harder(last),
    ]
    return [sentence for sentence in found if sentence]


def cold_users(gauc: Mapping[str, float], cold: str, warm: str) -> str:
    """That the cold are left behind; empty where they are not, or one of both is not measured.

    Args:
        gauc: by slice of the feedback board.
        cold: name of the slice of users with few events.
        warm: of those with many.
    """
    if cold not in gauc or warm not in gauc or gauc[warm] - gauc[cold] < MOST_COLD_GAP:
        return ""
    return (
        f"GAUC of {cold} is {gauc[cold]:.4f}, of {warm} {gauc[warm]:.4f}: their codes say little"
        " about new people; add features of users that do not hang on their history"
    )


def too_small_batches(rows: int, shares: Sequence[float], config: GroupceConfig) -> str:
    """That batches can't fill the groups; empty where they can.

    Args:
        rows: of a step and process.
        shares: of rows that are to be expected in groups with both labels, by level.
        config: of the model.
    """
    groups = config.codes**config.levels
    if rows >= ROWS_PER_GROUP * groups or config.batches == "by_prefix":
        return ""
    by_level = ", ".join(f"{share:.0%}" for share in shares)
    return (
        f"batches of {rows:,} impressions and {config.codes} codes on {config.levels} levels give"
        f" {groups:,} possible groups: {by_level} of the rows, level by level, may be expected in"
        f" groups with both labels; expected are {ROWS_PER_GROUP} rows a group"
        f" ({ROWS_PER_GROUP * groups:,}). {_LARGER}"
    )


_LARGER = "Lower levels or codes, raise tokens_per_batch, or set batches: by_prefix"


def _levels(curve: Mapping[str, float], name: str) -> list[int]:
    """Levels that have a point of this name."""
    start = f"{name}_"
    return [int(key.removeprefix(start)) for key in curve if key.startswith(start)]


def _collapsed(last: Mapping[str, float], level: int) -> str:
    share = last[f"code_perplexity_{level}"]
    if share >= LEAST_PERPLEXITY:
        return ""
    return (
        f"codes of level {level} have collapsed: perplexity is {share:.0%} of their number,"
        f" {last[f'dead_codes_{level}']:.0f} are dead, and {last[f'largest_code_{level}']:.0%} of"
        " the users have one code; raise code_expiry, or lower codes"
    )


def _sparse(last: Mapping[str, float], level: int, config: GroupceConfig) -> str:
    share = last[f"informative_share_{level}"]
    if share >= LEAST_INFORMATIVE:
        return ""
    median = last[f"median_group_{level}"]
    what = f"{share:.0%} of the rows lie in groups with both labels (median group: {median:.3g})"
    if config.has_codes:
        return f"groups of level {level} are too sparse: {what}. {_LARGER}"
    return f"lists are too sparse: {what}. Set batches: by_user, or raise tokens_per_batch"


def _miscalibrated(last: Mapping[str, float], config: GroupceConfig) -> str:
    ratio = last.get("validation_copc", 1.0)
    said, floor = last.get("validation_logloss", 0.0), last.get("validation_logloss_floor", 1.0)
    remedy = (
        "lower ranking_weight, or set listce_norm: constant"
        if config.ranking_loss != "none"
        else "train for longer, or lower learning_rate"
    )
    if abs(ratio - 1) > MOST_MISCALIBRATED:
        return (
            f"calibration is lost: {ratio:.2f} times as many clicks are said as there are on"
            f" validation impressions; {remedy}"
        )
    if said > floor:
        return (
            f"probabilities are worth nothing: LogLoss is {said:.4f} on validation impressions, and"
            f" saying their share of positives has {floor:.4f}; {remedy}"
        )
    return ""


def _worse_log_loss(last: Mapping[str, float], logloss_only: float | None) -> str:
    said = last.get("validation_logloss")
    if logloss_only is None or said is None or said <= logloss_only:
        return ""
    return (
        f"the ranking loss costs calibration: LogLoss is {said:.4f}, and {logloss_only:.4f} without"
        " it; lower ranking_weight"
    )


def _drifted(curves: Curves) -> str:
    errors = [curve["quantisation_error"] for curve in curves if "quantisation_error" in curve]
    if not errors or errors[-1] < max(LEAST_DRIFT, DRIFT * min(errors)):
        return ""
    return (
        f"users drift away from their codes: ‖e_u - ê_u‖² is {errors[-1]:.1%} of ‖e_u‖², and was"
        f" {min(errors):.1%}; lower code_decay, or raise quantised_weight"
    )


def _churns(last: Mapping[str, float]) -> str:
    share = last.get("churn_1", 0.0)
    if share <= MOST_CHURN:
        return ""
    return (
        f"{share:.0%} of the users have another first code than an epoch ago: who is alike is not"
        " settled; lower learning_rate, or raise code_decay"
    )


def _not_harder(last: Mapping[str, float]) -> str:
    levels = sorted(_levels(last, "hardness"))
    pulls = [last[f"hardness_{level}"] for level in levels if last[f"hardness_{level}"] > 0]
    if len(pulls) < 2 or pulls[-1] > pulls[0]:
        return ""
    by_level = ", ".join(f"{pull:.4f}" for pull in pulls)
    return (
        f"negatives are not harder where users are more alike: the pull at them is {by_level},"
        " level by level; codes don't say who is alike, so that listce_user may do as well"
    )
