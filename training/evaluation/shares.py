"""Gains and losses as shares of what is above chance, as tolerances, budgets and standings have it.

An AUC of 0.60 that falls to 0.57 has lost 5 % of its value and 30 % of what it knew. A share is
therefore of what theirs has above an answer that knows nothing: 0.5 of an order; the entropy of the
share of positives of LogLoss, whose best guess that is; the share itself of a calibration error, as
of who says 0; nothing of lists and slates, where a target that isn't there counts 0 (in `mrr`,
too).
"""

from training.evaluation.record import ALL, Comparison, Evaluation, Interval


def chance_of(evaluation: Evaluation, row: Comparison) -> float:
    """What an answer that knows nothing gets, of a comparison's metric on its slice."""
    about = row.about
    if about.chance is not None:
        return about.chance
    if about.chance_at is None:
        return 0.0
    board = evaluation.entrants[row.theirs].boards[about.board]
    return about.chance_at(board.slices[row.slice].facts["base_rate"])


def share_of(evaluation: Evaluation, row: Comparison) -> Interval | None:
    """The gain over what theirs has above chance, whose own error is left out; None without any."""
    lead = _lead(evaluation, row)
    if lead <= 0:
        return None
    return Interval(row.gain.low / lead, row.gain.point / lead, row.gain.high / lead)


def is_loss_above(evaluation: Evaluation, row: Comparison, share: float) -> bool:
    """Whether ours is worse than theirs by more than a share of what theirs has above chance.

    By the point estimates. Of theirs that is no better than chance nothing may be lost.
    """
    return row.gain.point < -share * max(0.0, _lead(evaluation, row))


def in_words(evaluation: Evaluation, row: Comparison) -> str:
    """Both values, the gain as a share, and the difference with its interval."""
    difference = row.difference
    where = row.metric if row.slice == ALL else f"{row.metric} on {row.slice}"
    return (
        f"{row.ours} against {row.theirs}, {where}: {row.our_value:.4f} against "
        f"{row.their_value:.4f}{_share_in_words(evaluation, row)} (difference "
        f"{difference.point:+.4f}, interval {difference.low:+.4f} to {difference.high:+.4f}, "
        f"{row.num_users:,} users)"
    )


def _lead(evaluation: Evaluation, row: Comparison) -> float:
    return row.about.sign * (row.their_value - chance_of(evaluation, row))


def _share_in_words(evaluation: Evaluation, row: Comparison) -> str:
    share, chance = share_of(evaluation, row), chance_of(evaluation, row)
    if not chance:
        return f", {share.point:+.1%}" if share else ""
    if share is None:
        return f", which is no better than {chance:.4f} by chance"
    return f", {share.point:+.1%} of its lead over {chance:.4f} by chance"
