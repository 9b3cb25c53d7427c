"""What a search chose, as the YAML that a preset takes."""

from dataclasses import asdict
from typing import Any

import yaml

from training.experiments.result import RowResult, Searched
from training.experiments.table import Budget
from training.settings import FAMILIES


def preset_text(row: RowResult, budget: Budget | None) -> str:
    """The sections of a preset under which the row's fits are those that were chosen.

    Args:
        row: of a result; nothing is said of one that was not searched.
        budget: under which it was fitted, and which a preset therefore takes, too.
    """
    return "".join(_text(row.name, one, budget) for one in row.searched)


def _text(name: str, searched: Searched, budget: Budget | None) -> str:
    family = searched.family
    settings = dict(searched.settings)
    if budget is not None and FAMILIES[family].by_epochs:
        loop = asdict(budget).items()
        settings |= {f"training.overrides.{family}.{key}": value for key, value in loop}
    sections: dict[str, Any] = {}
    for path, value in settings.items():
        *places, key = path.split(".")
        section = sections
        for place in places:
            section = section.setdefault(place, {})
        section[key] = value
    title = (
        f"# {name}: {searched.metric} {searched.value:.4f} on {searched.num_targets:,} validation"
        f" targets, the preset's {searched.value_before:.4f}; {searched.trials} trials,"
        f" {searched.seconds:.0f} s\n"
    )
    return title + (yaml.safe_dump(sections, sort_keys=False) if searched.settings else "")
