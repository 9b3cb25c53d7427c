"""The report's sections: each reads the day's run records and returns one card, or nothing.

A section whose step left no record is left out, so that a report of half a day can be read, too.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from feature_store import steps as chain
from training.evaluation.metrics import (
    FEEDBACK,
    HEADLINE_CUTOFF,
    LISTS,
    METRICS,
    READINGS,
    SLATES,
    metric_of,
    names_of,
    parse,
)
from training.evaluation.record import (
    ALL,
    BoardRow,
    Comparison,
    Evaluation,
    Slice,
    evaluation_of,
)
from training.report import charts
from training.report.blocks import Block, Entry, Row, Section, facts, note, picture, shown

Steps = Mapping[str, Mapping[str, Any]]
Rows = Sequence[Mapping[str, Any]]


def verdict(steps: Steps) -> Section | None:
    """What was decided, and every rule that led there."""
    record = steps.get("promote_recommender")
    if not record or "verdict" not in record:
        return None
    found = record["verdict"]
    tone, headline = _headline(found, record)
    reasons = [
        Entry(f"{reason['rule']}: {reason['detail']}", "good" if reason["passed"] else "bad")
        for reason in found["reasons"]
    ]
    warnings = steps.get("evaluate_recommender", {}).get("warnings", ())
    reasons += [Entry(text, "warn") for text in (*warnings, *_alarms(steps))]
    return Section(
        anchor="verdict", title="Verdict", headline=headline, tone=tone,
        say=record.get("message", ""),
        blocks=[Block(kind="list", heading="Every rule that was applied", entries=reasons)],
    )  # fmt: skip


def _alarms(steps: Steps) -> list[str]:
    """What is wrong with the embeddings and semantic IDs that the models were taught."""
    facts = {**steps.get("train_tokenizer", {}), **steps.get("build_semantic_ids", {})}
    embeddings = [f"embeddings: {alarm}" for alarm in _embedding_alarms(steps)]
    return [*embeddings, *(f"tokenizer: {alarm}" for alarm in facts.get("alarms") or ())]


def _embedding_alarms(steps: Steps) -> list[str]:
    return list(steps.get("embed_items", {}).get("alarms") or ())


def _headline(found: Mapping[str, Any], record: Mapping[str, Any]) -> tuple[Any, str]:
    decision, promoted, challenger = found["decision"], found["promoted"], found["challenger"]
    if decision == "promote":
        return "good", f"{promoted} was promoted to champion"
    if decision == "promote_baseline":
        return "warn", f"{promoted}, a baseline, was promoted: {challenger} did not beat it"
    if decision == "unchanged":
        return "good", "The champion stays: it is the very bundle that was trained"
    if record.get("champion_version") is None:
        return (
            "bad",
            f"{challenger} was refused; there is no champion yet, and nothing to recommend",
        )
    return "bad", f"{challenger} was refused; the champion before it stays"


def data_health(steps: Steps, volume: Mapping[str, Any] | None) -> Section | None:
    """What arrived, what was refused, and how the day compares with the days before it."""
    ingest = steps.get("ingest_interactions")
    if not ingest:
        return None
    blocks = [
        facts(
            ("rows delivered", ingest.get("rows_in")),
            ("published", ingest.get("published")),
            ("duplicates dropped", ingest.get("duplicates")),
            ("quarantined", ingest.get("quarantined")),
            *([("withheld with their day", held)] if (held := ingest.get("withheld")) else []),
        )
    ]
    if "added" in ingest:
        blocks.append(
            facts(
                ("events added", ingest["added"]),
                ("corrected", ingest["corrected"]),
                ("as they were", ingest["unchanged"]),
                ("withdrawn", ingest["withdrawn"]),
                ("of earlier days", ingest["late_rows"]),
                ("files not read", ingest["num_left_out"]),
            )
        )
    if volume:
        blocks.append(
            picture(
                charts.daily_volume(volume["days"], volume["counts"]),
                heading="Published rows per day, by strength",
            )
        )
    reasons = ingest.get("reasons") or {}
    if reasons:
        blocks.append(
            _table(
                "Why rows were quarantined", ["reason", "rows"], reasons.items(), numeric=["rows"]
            )
        )
    return Section(
        anchor="data",
        title="Data health",
        say="Every delivered row is published, a duplicate, or in quarantine with its reasons; "
        "the three add up or the run fails. Of a day that is refused the good rows are withheld "
        "until it runs again. What the day's delivery said before and says no more "
        "is withdrawn.",
        blocks=blocks,
    )


def validation(steps: Steps) -> Section | None:
    """Every rule of every table that was checked before its commit."""
    checked = {
        name: record["validation"]
        for name, record in steps.items()
        if record.get("validation", {}).get("rules")
    }
    if not checked:
        return None
    rules = [(name, rule) for name, found in checked.items() for rule in found["rules"]]
    failed = [(name, rule) for name, rule in rules if not rule["success"]]
    seconds = sum(found["seconds"] for found in checked.values())
    total = sum(steps[name].get("seconds", 0) for name in checked)
    head = [
        "step",
        "table",
        "rule",
        "column",
        "result",
        "rows failed",
        "observed",
        "expected",
        "meaning",
    ]

    def cells(name: str, rule: Mapping[str, Any]) -> list[Any]:
        return [
            name, rule["table"], rule["rule"], rule.get("column") or "", rule["success"],
            shown(rule.get("rows_failed")), rule.get("observed", ""), rule.get("expected", ""),
            rule.get("description", ""),
        ]  # fmt: skip

    blocks = [
        facts(
            ("rules checked", len(rules)),
            ("rules failed", len(failed)),
            ("seconds added", round(seconds, 1)),
            ("share of the steps' time", f"{seconds / total:.0%}" if total else "–"),
        )
    ]
    if failed:
        blocks.append(_table("Failed", head, [cells(*item) for item in failed]))
        examples = [
            Entry(f"{rule['rule']}: {example}", "bad")
            for _, rule in failed
            for example in rule.get("examples", ())
        ]
        blocks.append(Block(kind="list", heading="Examples", entries=examples))
    blocks.append(_table("", head, [cells(*item) for item in rules], folded="All rules"))
    return Section(
        anchor="validation",
        title="Validation",
        say="Great Expectations ran these on the staged files of every table, before the commit.",
        blocks=blocks,
    )


def tokenizer(steps: Steps) -> Section | None:
    """How good the semantic IDs are, before any generator saw them."""
    record = {**steps.get("train_tokenizer", {}), **steps.get("build_semantic_ids", {})}
    quality = record.get("quality") or steps.get("train_tokenizer", {}).get("quality")
    if not quality:
        return None
    levels = quality["levels"]
    collision = quality["collision"]
    blocks = [
        facts(
            ("items", quality["items"]),
            ("unique before resolution", f"{1 - collision['share']:.1%}"),
            ("largest bucket", collision["largest_bucket"]),
            ("reconstruction MSE", quality["reconstruction_mse"]),
        ),
        picture(charts.code_usage([level["counts"] for level in levels]), heading="Code usage"),
        _table(
            "Levels",
            ["level", "codes used", "largest share", "perplexity", "H(code | prefix), nats",
             "residual left", "cosine within prefix"],
            [_level_cells(number, quality) for number in range(len(levels))],
        ),
        *_held_out(quality.get("held_out", {})),
    ]  # fmt: skip
    pairs = steps.get("train_tokenizer", {}).get("cooccurrence", {})
    if pairs.get("note"):
        blocks.append(note(pairs["note"]))
    points = record.get("points") or steps.get("train_tokenizer", {}).get("points")
    if points:
        xy, first = _points(points)
        blocks.append(
            picture(
                charts.prefix_clusters(xy, first),
                heading="Prefix clusters",
                note="Embeddings on their two main axes; a colour is a level-1 code.",
            )
        )
    alarms = [*_embedding_alarms(steps), *(record.get("alarms") or quality.get("alarms") or ())]
    entries = [Entry(text, "warn") for text in alarms] or [Entry("no alarm", "good")]
    blocks.append(Block(kind="list", heading="Alarms", entries=entries))
    return Section(
        anchor="tokenizer",
        title="Semantic IDs",
        say=f"Generation {record.get('generation', '–')}. {record.get('message', '')}",
        blocks=blocks,
    )


def _level_cells(number: int, quality: Mapping[str, Any]) -> list[str]:
    level, purity = quality["levels"][number], quality.get("purity", [])
    within = purity[number] if number < len(purity) else {}
    return [
        str(number + 1),
        f"{level['used_codes']} of {len(level['counts'])}",
        f"{level['largest_share']:.1%}",
        shown(float(level["perplexity"])),
        shown(float(level["conditional_entropy_nats"])),
        f"{level['residual_share']:.1%}",
        shown(within.get("cosine")),
    ]


def _held_out(found: Mapping[str, Any]) -> list[Block]:
    """Consistency of items that a twin of the tokenizer was not fitted on, by depth of prefix."""
    if not found:
        return []
    sources = {"consistency": "neighbours agree", "consistency_given": "taken to together"}
    there = {name: title for name, title in sources.items() if name in found}
    head = ["depth", "random pairs"]
    head += [column for title in there.values() for column in (title, "lift")]
    rows = []
    for depth, within in enumerate(found["purity"]):
        agree = [found[name][depth] for name in there]
        cells = [str(depth + 1), shown(agree[0]["random"])]
        for one in agree:
            cells += [shown(one["agreement"]), f"{one['lift']:.1f}×" if one["lift"] else "–"]
        rows.append([*cells, shown(within["cosine"])])
    title = f"Consistency of {found['items']:,} items held out from a twin's fit"
    return [_table(title, [*head, "cosine within prefix"], rows)]


def _points(points: Any) -> tuple[list[list[float]], list[int]]:
    if isinstance(points, Mapping):
        xy = points.get("xy") or [list(pair) for pair in zip(points["x"], points["y"], strict=True)]
        return xy, points.get("prefix") or points.get("first_code") or points["code"]
    return [list(point[:2]) for point in points], [int(point[2]) for point in points]


def training(steps: Steps) -> Section | None:
    """How the models were fitted."""
    fits: dict[str, Mapping[str, Any]] = {}
    for name in ("train_recommender", "train_baselines"):
        fits |= steps.get(name, {}).get("families", {})
    if not fits:
        return None
    curves = {family: epochs for family, fit in fits.items() if (epochs := _epochs(fit))}
    blocks = [picture(charts.training_curves(curves))] if curves else []
    rows = [_fit_cells(family, fit) for family, fit in fits.items()]
    head = ["family", "begins with", "epochs", "best", "seconds", "tokens/s", "padding"]
    blocks.append(_table("", [*head, "parameters", "stopped"], rows))
    pace = {family: epochs for family, fit in fits.items() if (epochs := _both_tasks(fit))}
    if pace:
        blocks.append(
            picture(
                charts.task_curves(pace),
                heading="Both tasks, epoch by epoch",
                note="One that falls while the other rises is left behind.",
            )
        )
    alarms = [
        Entry(f"{family}: {text}", "warn")
        for family, fit in fits.items()
        for text in fit.get("alarms", ())
    ]
    if alarms:
        blocks.append(Block(kind="list", heading="Alarms", entries=alarms))
    return Section(anchor="training", title="Training", blocks=blocks)


def alignment(steps: Steps) -> Section | None:
    """What the challenger learnt of preferences, and what that did to what it could do before."""
    record = steps.get("align_recommender", {})
    if "before" not in record:
        return None
    last = record["epochs"][-1] if record["epochs"] else {}
    watched = [
        [name.replace("_", " "), shown(was), *(shown(e.get(name)) for e in record["epochs"])]
        for name, was in record["before"].items()
    ]
    head = ["watched on later slates", "before", *(f"epoch {e['epoch']}" for e in record["epochs"])]
    blocks = [
        facts(
            ("method", record["alignment"]["method"]),
            *((f"{kind} pairs", count) for kind, count in record["train_pairs"].items()),
            ("kept", "the weights from before" if record["collapsed"] else
             f"epoch {record['best_epoch'] or last.get('epoch', '–')}"),
        ),
        _table("", head, watched, numeric=head[1:]),
    ]  # fmt: skip
    if record["collapsed"]:
        alarm = Entry(f"stopped: {record['collapsed']}", "bad")
        blocks.append(Block(kind="list", heading="Alarms", entries=[alarm]))
    return Section(
        anchor="alignment",
        title="Alignment",
        say="The challenger learnt which of two slates is better, beside saying them. What that "
        "may ruin is measured on validation slates before it and after each epoch.",
        blocks=blocks,
    )


def _both_tasks(fit: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Epochs of a fit that learnt to retrieve and to rank."""
    return [e for e in fit.get("epochs", ()) if {"validation_auc", "loss_retrieval"} <= e.keys()]


def _epochs(fit: Mapping[str, Any]) -> list[dict[str, Any]]:
    about = {**fit, **fit.get("facts", {})}
    return [
        {
            "epoch": epoch.get("epoch", number),
            "train_loss": epoch.get("train_loss", epoch.get("loss")),
            "validation_metric": epoch.get("validation_metric", epoch.get("validation")),
            "validated_by": about.get("validation_metric", "metric"),
        }
        for number, epoch in enumerate(fit.get("epochs", ()), 1)
    ]


def _fit_cells(family: str, fit: Mapping[str, Any]) -> list[str]:
    epochs = fit.get("epochs", ())
    about = {**fit, **fit.get("facts", {})}
    last = epochs[-1] if epochs else {}
    padding = last.get("padding_share")
    return [
        family,
        f"weights of {day}" if (day := fit.get("warm_start", {}).get("day")) else "nothing",
        str(len(epochs)) if epochs else "counts, no epochs",
        shown(about.get("best_epoch")),
        shown(about.get("seconds")),
        shown(int(last["tokens_per_second"])) if last.get("tokens_per_second") else "–",
        "–" if padding is None else f"{padding:.1%}",
        shown(about.get("parameters") or about.get("num_parameters")),
        str(about.get("stopped_because") or about.get("message") or ""),
    ]


def metrics(steps: Steps) -> Section | None:
    """All entrants on the same users, with intervals, and the slices."""
    evaluation = evaluation_of(steps.get("evaluate_recommender", {}))
    boards = _boards(evaluation, LISTS) if evaluation else {}
    if evaluation is None or not boards:
        return None
    first = next(iter(boards.values())).slices[ALL]
    names = _list_metrics(evaluation.primary_metric, first)
    intervals = [
        {"metric": metric, "family": label, "value": v.point, "low": v.low, "high": v.high}
        for metric in names[:3]
        for label, board in boards.items()
        for v in [board.slices[ALL].metrics[metric]]
    ]
    blocks = [
        facts(
            ("users", first.num_users),
            ("targets", first.num_targets),
            ("protocol", evaluation.split.get("protocol", "–").replace("_", " ")),
            ("confidence", f"{evaluation.confidence:.0%}"),
        ),
        picture(charts.metric_intervals(intervals)),
        _metric_table("All targets", boards, ALL, names),
        *_differences(evaluation, names[0]),
    ]
    for name, own in _filled_slices(boards):
        counts = f"{own.num_users:,} users, {own.num_targets:,} targets"
        blocks.append(_metric_table(f"{name.replace('_', ' ')}: {counts}", boards, name, names))
    blocks.append(_meanings(names))
    return Section(
        anchor="metrics",
        title="Metrics",
        say="Full-catalogue ranking; weights saw nothing of the held-out events; each target is "
        "predicted from the events before it. Means over users, bootstrap intervals over users.",
        blocks=blocks,
    )


def ranking(steps: Steps) -> Section | None:
    """What entrants that can rank know of people's feedback."""
    evaluation = evaluation_of(steps.get("evaluate_recommender", {}))
    boards = _boards(evaluation, FEEDBACK) if evaluation else {}
    if evaluation is None or not boards:
        return None
    first = next(iter(boards.values())).slices
    names = _first(evaluation.primary_metric, names_of(FEEDBACK))
    head = ["entrant", *names, "NE", "ECE", "COPC"]
    blocks = [
        facts(
            ("users", first[ALL].num_users),
            ("events", first[ALL].num_targets),
            ("positive", f"{first[ALL].facts['base_rate']:.1%}"),
            ("events that GAUC covers", f"{first[ALL].facts['gauc_covered_share']:.1%}"),
        )
    ]
    for name in (ALL, *(name for name, _ in _filled_slices(boards))):
        rows = [_ranking_cells(label, own.slices[name], names) for label, own in boards.items()]
        title = "All events" if name == ALL else name.replace("_", " ")
        blocks.append(_table(title, head, rows, numeric=head[1:]))
    differences = [
        [row.metric, row.theirs, *_difference_cells(row)]
        for row in evaluation.brief().comparisons
        if row.about.board == FEEDBACK
    ]
    if differences:
        heading = f"{evaluation.challenger} minus each opponent, paired by user"
        head = ["metric", "opponent", "difference", "interval", "probability of being better"]
        blocks.append(_table(heading, head, differences, numeric=head[2:3]))
    blocks.append(_meanings(names))
    return Section(
        anchor="ranking",
        title="Feedback",
        say="The probability of positive feedback that each entrant gave the held-out events, "
        "against the feedback. Entrants that can't say one are not here. Smaller is better of "
        "LogLoss, NE (1 is the share of positives) and ECE; COPC is 1 where sums agree.",
        blocks=blocks,
    )


def slates(steps: Steps) -> Section | None:
    """What each entrant would have shown in the place of each held-out slate."""
    evaluation = evaluation_of(steps.get("evaluate_recommender", {}))
    boards = _boards(evaluation, SLATES) if evaluation else {}
    if evaluation is None or not boards:
        return None
    every = next(iter(boards.values())).slices[ALL]
    names = _first(evaluation.primary_metric, sorted(every.metrics, key=_place))
    shape = ["coverage", "similarity", "repeated_share"]
    looks = [
        [label, *(shown(own.facts.get(name)) for name in shape)] for label, own in boards.items()
    ]
    blocks = [
        facts(("slates", every.num_targets), ("users", every.num_users)),
        _metric_table("All slates", boards, ALL, names),
        _table("How they look", ["entrant", *(n.replace("_", " ") for n in shape)], looks),
        *_differences(evaluation, names[0]),
    ]
    for name, own in _filled_slices(boards):
        title = f"{name.replace('_', ' ')}: {own.num_users:,} users"
        blocks.append(_metric_table(title, boards, name, names))
    blocks.append(_meanings(names))
    return Section(
        anchor="slates",
        title="Slates",
        say="Each held-out slate was asked for once, before its first exposure; what an entrant "
        "would have shown is measured against what was engaged with of what was really shown. "
        "Similarity is the mean cosine of a slate's items, coverage the share of the catalogue "
        "that some slate holds.",
        blocks=blocks,
    )


def _boards(evaluation: Evaluation, board: str) -> dict[str, BoardRow]:
    """What a board found of each entrant that answers it, and that it has a metric of."""
    rows = {
        label: entrant.boards[board]
        for label, entrant in evaluation.entrants.items()
        if board in entrant.boards
    }
    return {label: row for label, row in rows.items() if row.slices[ALL].metrics}


def _filled_slices(boards: Mapping[str, BoardRow]) -> list[tuple[str, Slice]]:
    """The slices that somebody is in, without that of all targets."""
    slices = next(iter(boards.values())).slices
    return [(name, own) for name, own in slices.items() if name != ALL and own.metrics]


def _ranking_cells(label: str, own: Slice, names: Sequence[str]) -> list[str]:
    cells = [label]
    for name in names:
        bounds = own.metrics.get(name)
        cells.append(
            f"{bounds.point:.4f} ({bounds.low:.4f} to {bounds.high:.4f})" if bounds else "–"
        )
    return [*cells, *(shown(own.facts.get(name)) for name in ("ne", "ece", "copc"))]


def _difference_cells(row: Comparison) -> list[str]:
    return [
        f"{row.difference.point:+.4f}",
        f"{row.difference.low:+.4f} to {row.difference.high:+.4f}",
        f"{row.probability_better:.0%}",
    ]


def _first(metric: str, names: Sequence[str]) -> list[str]:
    """The names with the metric that decides in front, where it is among them."""
    return [name for name in dict.fromkeys((metric, *names)) if name in names]


def _list_metrics(primary: str, measured: Slice) -> list[str]:
    """The metrics of lists that are shown: the one that decides, the usual cut-off's, the rest."""
    values = measured.metrics
    cutoffs = sorted({k for name in values if (k := parse(name).cutoff) is not None})
    usual = HEADLINE_CUTOFF if HEADLINE_CUTOFF in cutoffs else cutoffs[0]
    of_items = [name for name in values if not parse(name).reading]

    def place(name: str) -> tuple[int, int]:
        cutoff, order = _place(name)
        return (0 if cutoff in (0, usual) else cutoff), order

    shown_names = [*sorted(of_items, key=place), f"sid_hr@{usual}"]
    there = [name for name in (primary, *shown_names) if name in values]
    return _first(primary, there)


def _meanings(names: Sequence[str]) -> Block:
    """What the metrics of a section's tables say."""
    measured = [parse(name) for name in names]
    metrics = {m.metric.name: m.metric for m in measured}
    parts = [
        f"{name}{'@K' if metric.has_cutoff else ''}: {metric.explanation}"
        + ("" if metric.higher_is_better else " (less is better)")
        for name, metric in metrics.items()
    ]
    readings = dict.fromkeys(m.reading for m in measured if m.reading)
    parts += [f"{reading}…: of {READINGS[reading]}" for reading in readings]
    return note("; ".join(parts) + ".")


def _place(name: str) -> tuple[int, int]:
    """The smallest cut-off first, of each the metrics in their order."""
    measured = parse(name)
    return measured.cutoff or 0, list(METRICS).index(measured.metric.name)


def _metric_table(
    title: str, boards: Mapping[str, BoardRow], slice_name: str, names: Sequence[str]
) -> Block:
    """A row per entrant, the best by the first metric marked."""
    values = {label: board.slices[slice_name].metrics for label, board in boards.items()}
    sign = metric_of(names[0]).sign
    points = [sign * own[names[0]].point for own in values.values()]
    best = max(points) if points.count(max(points)) == 1 else None
    rows = []
    for label, own in values.items():
        first = own[names[0]]
        cells = [label, *(f"{own[name].point:.4f}" for name in names if name in own)]
        cells.insert(2, f"{first.low:.4f} to {first.high:.4f}")
        rows.append(Row(cells, "best" if sign * first.point == best else ""))
    head = ["entrant", *(name for name in names if name in next(iter(values.values())))]
    head.insert(2, "interval")
    return Block(
        kind="table", heading=title, head=head, rows=rows, numeric=head[1:2] + head[3:],
        quiet=["interval"],
    )  # fmt: skip


def _differences(evaluation: Evaluation, metric: str) -> list[Block]:
    """The challenger less each opponent, on all targets and each slice; no picture without any."""
    rows = [
        {
            "label": row.theirs + ("" if row.slice == ALL else f" · {row.slice.replace('_', ' ')}"),
            "low": row.difference.low,
            "high": row.difference.high,
            "difference": row.difference.point,
        }
        for row in evaluation.comparisons
        if row.ours == evaluation.challenger and row.metric == metric
    ]
    if not rows:
        return []
    wins = "Right" if metric_of(metric).higher_is_better else "Left"
    return [
        picture(
            charts.paired_differences(rows),
            heading=f"{evaluation.challenger} minus each opponent, {metric}, paired by user",
            note=f"{wins} of zero the challenger wins; a grey bar holds zero.",
        )
    ]


def cost(steps: Steps, price_per_hour: float) -> Section | None:
    """Where the time went."""
    ordered = [name for name in chain.steps() if name in steps and name != "write_report"]
    ordered += [name for name in steps if name not in chain.steps()]
    seconds = [(name, float(steps[name].get("seconds", 0.0))) for name in ordered]
    if not seconds:
        return None
    total = sum(value for _, value in seconds)
    price = total / 3600 * price_per_hour
    spent = f"{price:.4f}" if price_per_hour else "set SIDEREAL_MACHINE_COST_PER_HOUR"
    return Section(
        anchor="cost",
        title="Time and cost",
        say="Work inside each step; the scheduler's and the processes' start are beside it in "
        "summary.json.",
        blocks=[
            facts(("seconds in steps", round(total, 1)), ("cost, in your currency", spent)),
            picture(charts.step_seconds(seconds)),
        ],
    )


def lineage(steps: Steps, entries: Rows) -> Section | None:
    """From the recommendations back to the raw files."""
    if not entries:
        return None
    head = ["table", "rows", "snapshot", "made by", "day", "code", "from"]
    rows = [[entry[name] for name in head] for entry in entries]
    return Section(
        anchor="lineage",
        title="Lineage",
        say="Each table's snapshot says what it was made from; the chain ends at raw files. "
        "`sidereal tables lineage recommendations --preset P` walks it.",
        blocks=[_table("", head, rows), *_docs(steps)],
    )


def _docs(steps: Steps) -> list[Block]:
    checks = [record["validation"] for record in steps.values() if "validation" in record]
    pages = [path for each in checks for path in each["docs_paths"]]
    return [note(f"Data Docs: {pages[-1]}")] if pages else []


def _table(
    title: str, head: Sequence[str], rows: Any, *, numeric: Sequence[str] = (), folded: str = ""
) -> Block:
    return Block(
        kind="table",
        heading=title,
        head=list(head),
        rows=[Row(list(row)) for row in rows],
        numeric=list(numeric),
        folded=folded,
    )
