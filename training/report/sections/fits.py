"""How the day's models were fitted and aligned."""

from collections.abc import Mapping, Sequence
from typing import Any

from training.report import charts
from training.report.blocks import (
    Block,
    Entry,
    Section,
    entries,
    facts,
    picture,
    shown,
    table,
    words,
)
from training.report.outcome import Steps


def training(steps: Steps) -> Section | None:
    """Curves and speed of every fit of the day."""
    fits: dict[str, Mapping[str, Any]] = {}
    for name in ("train_recommender", "train_baselines"):
        fits |= steps.get(name, {}).get("families", {})
    if not fits:
        return None
    curves = {family: epochs for family, fit in fits.items() if (epochs := _epochs(fit))}
    blocks = [picture(charts.training_curves(curves), wide=True)] if curves else []
    blocks.append(_fits(fits))
    pace = {family: both for family, fit in fits.items() if (both := _both_tasks(fit))}
    if pace:
        blocks.append(
            picture(
                charts.task_curves(pace),
                heading="Both tasks, epoch by epoch",
                note="A task that falls while the other rises is left behind.",
                wide=True,
            )
        )
    alarms = [
        Entry(f"{family}: {text}", "warn")
        for family, fit in fits.items()
        for text in fit.get("alarms", ())
    ]
    if alarms:
        blocks.append(entries("Alarms", alarms))
    return Section(anchor="training", title="Training", blocks=blocks)


def _fits(fits: Mapping[str, Mapping[str, Any]]) -> Block:
    """A row a family; columns that nobody has anything in are left out."""
    rows = [_fit_cells(family, fit) for family, fit in fits.items()]
    head = [
        "family", "begins with", "epochs", "best epoch", "steps", "tokens a second", "padding",
        "parameters", "seconds", "ended",
    ]  # fmt: skip
    kept = [place for place in range(len(head)) if any(row[place] != "–" for row in rows)]
    return table(
        "",
        [head[place] for place in kept],
        [[row[place] for place in kept] for row in rows],
        numeric=head[2:-1],
        wide=True,
    )


def _fit_cells(family: str, fit: Mapping[str, Any]) -> list[str]:
    epochs = fit.get("epochs", ())
    speed = _tokens_per_second(epochs)
    padding = epochs[-1].get("padding_share") if epochs else None
    began = fit.get("warm_start", {}).get("day")
    num_steps = sum(epoch.get("steps", 0) for epoch in epochs)
    ended = str(fit.get("stopped_because") or "") if epochs else "counted, not trained by epochs"
    return [
        family,
        f"weights of {began}" if began else "nothing",
        shown(len(epochs) or None),
        shown(fit.get("best_epoch")),
        shown(num_steps or None),
        shown(speed),
        "–" if padding is None else f"{padding:.1%}",
        shown(fit.get("parameters")),
        "–" if fit.get("seconds") is None else f"{float(fit['seconds']):,.1f}",
        {"max_epochs": "after all its epochs"}.get(ended, ended) or "–",
    ]


def _tokens_per_second(epochs: Sequence[Mapping[str, float]]) -> int | None:
    """Over the whole fit, and not of its last epoch: the first one is often slower."""
    timed = [e for e in epochs if e.get("tokens_per_second") and e.get("seconds")]
    if not timed:
        return None
    tokens = sum(e["tokens_per_second"] * e["seconds"] for e in timed)
    return round(tokens / sum(e["seconds"] for e in timed))


def _both_tasks(fit: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Epochs of a fit that learnt to retrieve and to rank."""
    return [e for e in fit.get("epochs", ()) if {"validation_auc", "loss_retrieval"} <= e.keys()]


def _epochs(fit: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Epochs as the picture reads them."""
    return [
        {
            "epoch": epoch.get("epoch", number),
            "train_loss": epoch.get("loss"),
            "validation_metric": epoch.get("validation"),
            "validated_by": fit.get("validation_metric", "metric"),
        }
        for number, epoch in enumerate(fit.get("epochs", ()), 1)
    ]


def alignment(steps: Steps) -> Section | None:
    """What the challenger learnt of preferences, and what that did to what it could do before."""
    record = steps.get("align_recommender", {})
    if "before" not in record:
        return None
    last = record["epochs"][-1] if record["epochs"] else {}
    values = {
        words(name): [was, *(e.get(name) for e in record["epochs"])]
        for name, was in _once(record["before"]).items()
    }
    watched = [[name, *map(shown, row)] for name, row in values.items() if any(row)]
    still = [f"The {name} stayed 0." for name, row in values.items() if not any(row)]
    head = ["watched on later slates", "before", *(f"epoch {e['epoch']}" for e in record["epochs"])]
    kept = f"epoch {record['best_epoch'] or last.get('epoch', '–')}"
    blocks = [
        facts(
            ("method", record["alignment"]["method"]),
            *((f"{kind} pairs", count) for kind, count in record["train_pairs"].items()),
            ("kept", "the weights from before" if record["collapsed"] else kept),
        ),
        table("", head, watched, numeric=head[1:], note=" ".join(still)),
    ]
    if record["collapsed"]:
        blocks.append(entries("Alarms", [Entry(f"stopped: {record['collapsed']}", "bad")]))
    return Section(
        anchor="alignment",
        title="Alignment",
        say="The challenger learnt which of two slates is better. What that may ruin is measured "
        "on validation slates, before it and after each epoch.",
        folded="" if record["collapsed"] else _kept(record, kept),
        blocks=blocks,
    )


def _kept(record: Mapping[str, Any], kept: str) -> str:
    num_pairs = sum(record["train_pairs"].values())
    return f"{record['alignment']['method']} on {num_pairs:,} pairs; {kept} is kept"


def _once(values: Mapping[str, float]) -> dict[str, float]:
    """The values without `validation`, where that is the validation loss under another name."""
    same = values.get("validation") == values.get("validation_loss")
    return {name: value for name, value in values.items() if not (same and name == "validation")}
