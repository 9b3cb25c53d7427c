"""What is unusual about a tokenizer's figures."""

from typing import Any

MOST_COLLISION = 0.3
LEAST_USED = 0.5
LEAST_ENTROPY = 0.6
LEAST_RESIDUAL = 0.02
LEAST_LIFT = 2.0


def alarms(figures: dict[str, Any]) -> list[str]:
    """What a person should look at; empty when nothing is unusual.

    Thresholds are ours: high collision, a collapsed or lopsided level, residual vanishing and low
    consistency are the failures that HiGR names, without numbers (docs/mechanics.md, Tokenizer
    diagnostics).
    """
    found = []
    share = figures["collision"]["share"]
    if share > MOST_COLLISION:
        found.append(
            f"{share:.0%} of items are not told apart by their codes (alarm above "
            f"{MOST_COLLISION:.0%}): more levels or a larger codebook"
        )
    levels, num_codes = figures["levels"], len(figures["levels"][0]["counts"])
    if figures["items"] < num_codes:
        found.append(
            f"{figures['items']} items can't fill {num_codes} codes: a smaller codebook would do"
        )
    for number, level in enumerate(levels, start=1):
        if figures["items"] >= num_codes and level["used_share"] < LEAST_USED:
            found.append(f"level {number} uses only {level['used_codes']} of {num_codes} codes")
        if figures["items"] >= num_codes and level["entropy_share"] < LEAST_ENTROPY:
            found.append(
                f"level {number} is lopsided: its largest code holds {level['largest_share']:.0%} "
                f"of items, its entropy is {level['entropy_share']:.2f} of what is possible"
            )
        if number < len(levels) and level["residual_share"] < LEAST_RESIDUAL:
            found.append(
                f"residual vanishing: after level {number} of {len(levels)} only "
                f"{level['residual_share']:.1%} is left to describe; fewer levels would do"
            )
    for name, who in (("consistency", "nearest neighbours"), ("consistency_given", "given pairs")):
        first = figures.get("held_out", {}).get(name, [{"lift": LEAST_LIFT}])[0]
        if first["lift"] < LEAST_LIFT:
            found.append(
                f"low consistency: {who} among unseen items share their first code only "
                f"{first['lift']:.1f} times as often as random items do"
            )
    return found
