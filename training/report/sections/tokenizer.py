"""How good the semantic IDs are, before any generator sees them."""

from collections.abc import Mapping
from typing import Any

from training.report import charts
from training.report.blocks import Block, Section, facts, folded, note, picture, shown, table
from training.report.outcome import Steps


def tokenizer(steps: Steps) -> Section | None:
    """Collisions, use of the codes, and consistency on items that no fit saw."""
    trained = steps.get("train_tokenizer", {})
    record = {**trained, **steps.get("build_semantic_ids", {})}
    quality = record.get("quality")
    if not quality:
        return None
    levels, collision = quality["levels"], quality["collision"]
    blocks = [
        facts(
            ("items", quality["items"]),
            ("unique before resolution", f"{1 - collision['share']:.1%}"),
            ("largest bucket", collision["largest_bucket"]),
            ("reconstruction MSE", quality["reconstruction_mse"]),
        ),
        picture(charts.code_usage([level["counts"] for level in levels]), heading="Use of codes"),
        _levels(quality),
        *_held_out(quality.get("held_out", {})),
        *_vectors(trained.get("vectors", {})),
    ]
    pairs = trained.get("cooccurrence", {})
    if pairs.get("note"):
        blocks.append(note(pairs["note"]))
    if points := record.get("points"):
        xy, first = _points(points)
        clusters = picture(charts.prefix_clusters(xy, first))
        blocks.append(folded("A map of the items: embeddings on their two main axes", clusters))
    return Section(
        anchor="tokenizer", title="Semantic IDs", say=_said(trained, record), blocks=blocks
    )


def _said(trained: Mapping[str, Any], record: Mapping[str, Any]) -> str:
    said = [trained.get("message"), record.get("message")]
    return " ".join(f"{text[:1].upper()}{text[1:]}." for text in dict.fromkeys(said) if text)


def _levels(quality: Mapping[str, Any]) -> Block:
    purity = quality.get("purity", [])
    rows = []
    for number, level in enumerate(quality["levels"]):
        within = purity[number] if number < len(purity) else {}
        rows.append(
            [
                str(number + 1),
                f"{level['largest_share']:.1%}",
                shown(float(level["perplexity"])),
                shown(float(level["conditional_entropy_nats"])),
                f"{level['residual_share']:.1%}",
                shown(within.get("cosine")),
            ]
        )
    head = ["level", "largest share", "perplexity", "H(code | prefix), nats"]
    head += ["residual left", "cosine within prefix"]
    return table("Levels", head, rows, numeric=head[1:])


def _held_out(found: Mapping[str, Any]) -> list[Block]:
    """Consistency of items that a twin of the tokenizer was not fitted on, by depth of prefix."""
    if not found:
        return []
    sources = {"consistency": "neighbours agree", "consistency_given": "taken to together"}
    there = {name: title for name, title in sources.items() if name in found}
    head = ["depth", "random pairs"]
    head += [column for name, title in there.items() for column in (title, f"lift, {title}")]
    rows = []
    for depth, within in enumerate(found["purity"]):
        agree = [found[name][depth] for name in there]
        cells = [str(depth + 1), shown(agree[0]["random"])]
        for one in agree:
            cells += [shown(one["agreement"]), f"{one['lift']:.1f}×" if one["lift"] else "–"]
        rows.append([*cells, shown(within["cosine"])])
    head.append("cosine within prefix")
    unseen = table("", head, rows, numeric=head[1:])
    return [folded(f"Consistency of {found['items']:,} items that a twin's fit left out", unseen)]


def _vectors(read: Mapping[str, Any]) -> list[Block]:
    """What each choice of `tokenizer.vectors` is worth on what people did in validation days."""
    border = read.get("border")
    if not border:
        return []
    head = ["vectors", "met together", "unseen pairs", "pairs", "of them unseen"]
    rows = [
        [
            f"{name} (read)" if name == read["read"] else name,
            *(shown(found.get(which)) for which in ("met", "unseen")),
            *(f"{found[f'pairs_{which}']:,}" for which in ("met", "unseen")),
        ]
        for name, found in read["worth"].items()
    ]
    until = border["trained_until"] or "each person's last two events"
    told = note(
        f"How often what a person took to next in validation days is nearer to what came before "
        f"than a random item is; chance is 0.5. Who took to what is known before {until}: "
        f"{border['events']:,} events of {read['items_taken_to']:,} items."
    )
    return [told, table("What the codes are made of", head, rows, numeric=head[1:])]


def _points(points: Any) -> tuple[list[list[float]], list[int]]:
    return [list(point[:2]) for point in points], [int(point[2]) for point in points]
