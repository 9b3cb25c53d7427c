"""The tables of `higr_slates` as Markdown, and what of them is drawn."""

import math
from collections.abc import Mapping
from typing import Any

from training.reproduce.higr_slates import CONFIDENCE, FLAT, METRICS, SLATE


def markdown(found: Mapping[str, Any]) -> str:
    """The tables: figures, differences, and what decoding or a step costs."""
    is_decoder = found["experiment"] == "decoder"
    title = "HiGR's decoder" if is_decoder else "Alignment"
    over = "people and seeds" if len(found["seeds"]) > 1 else "people"
    lines = [
        f"### {title} on {found['dataset']}: {found['slates']:,} {found['part']} slates of"
        f" {found['users']:,} people, {len(found['seeds'])} seed(s)",
        "",
        f"Slates of {found['minimum_items']} shown items or more. Means over users, ± over seeds;"
        " similarity is the mean cosine within the first five places, coverage the share of the"
        " catalogue that they hold.",
        "",
        *_compared_in_words(found, found["against"], is_decoder=is_decoder, over=over),
    ]
    if is_decoder:
        lines += _latency_in_words(found["latency"])
    else:
        lines += _memory_in_words(found["memory"])
    if "every_length" in found:
        every = found["every_length"]
        lines += [
            "",
            f"#### Slates of any length: {every['slates']:,} of {every['users']:,} people",
            "",
            *_compared_in_words(every, found["against"], is_decoder=is_decoder, over=over),
        ]
    return "\n".join(lines) + "\n"


def _compared_in_words(
    found: Mapping[str, Any], against: str, *, is_decoder: bool, over: str
) -> list[str]:
    extra = [] if is_decoder else ["preference accuracy", "chosen log p", "repeats", "collapsed"]
    head = ["row", *METRICS, "similarity", "coverage", *extra, "tokens/s", "weights", "fit, s"]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for row in found["rows"]:
        cells = [_spread(row["metrics"][name], 4) for name in METRICS]
        cells += [_spread(row["similarity"], 3), _spread(row["coverage"], 4)]
        if not is_decoder:
            named = ("preference_accuracy", "chosen_log_prob", "repeats")
            cells += [_spread(row[name], 3) for name in named]
            cells.append("; ".join(row["collapsed"]) or "no")
        speed = row["tokens_per_second"]
        weights = f"{row['parameters']:,}" if row["parameters"] else "–"
        cells += [f"{speed['mean']:,.0f}" if speed else "–", weights, f"{row['fit_seconds']:.0f}"]
        lines.append(f"| {row['row']} | " + " | ".join(cells) + " |")
    lines += [
        "",
        f"Each row minus *{against}*, {CONFIDENCE:.0%} intervals over {over}:",
        "",
        "| row | " + " | ".join(f"{name} | relative" for name in METRICS) + " | similarity |",
        "|---" * (2 + 2 * len(METRICS)) + "|",
    ]
    for row in found["differences"]:
        cells = []
        for name in METRICS:
            own = row["metrics"][name]
            cells += [_bounds(own["difference"], "+.4f"), _bounds(own["relative"], "+.1%")]
        similarity = row["metrics"].get("similarity")
        cells.append(_bounds(similarity and similarity["difference"], "+.3f"))
        lines.append(f"| {row['row']} | " + " | ".join(cells) + " |")
    return lines


def _latency_in_words(found: Mapping[str, Any]) -> list[str]:
    flat = found[FLAT]["milliseconds"]
    lines = [
        "",
        f"| slate of {SLATE} | heavy steps | ms | of the flat decoder's |",
        "|---|---|---|---|",
    ]
    for name, own in found.items():
        share = own["milliseconds"] / flat
        lines.append(f"| {name} | {own['heavy_steps']} | {own['milliseconds']:.2f} | {share:.2f} |")
    return lines


def _memory_in_words(found: Mapping[str, float]) -> list[str]:
    before = found["pretraining"]
    lines = [
        "",
        "A step's memory; DPO asks the model before once, ahead of the first epoch, and keeps what"
        " it said, not the model.",
        "",
        "| step | peak MiB | of pretraining's |",
        "|---|---|---|",
    ]
    lines += [f"| {name} | {peak:.0f} | {peak / before:.2f} |" for name, peak in found.items()]
    return lines


def differences_to_draw(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Rows for `training.report.charts.paired_differences`, of the metric that knows of places."""
    rows = []
    for row in found["differences"]:
        own = row["metrics"]["ndcg@5"]["difference"]
        rows.append({"label": row["row"], "difference": own["point"], **own})
    return rows


def _spread(value: Mapping[str, Any] | None, digits: int) -> str:
    if value is None or math.isnan(value["mean"]):
        return "–"
    spread = value["seed_deviation"]
    return f"{value['mean']:.{digits}f}" + ("" if spread is None else f" ± {spread:.{digits}f}")


def _bounds(value: Mapping[str, float] | None, form: str) -> str:
    if value is None:
        return "–"
    point, low, high = (format(value[name], form) for name in ("point", "low", "high"))
    return f"{point} [{low}, {high}]"
