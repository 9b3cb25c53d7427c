"""What an experiment is: rows of fits, what is measured of them, and what others published.

An experiment is a file of such values. Standard library alone, so that `sidereal reproduce --help`
lists rows without importing torch.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

Subject = Literal["recommenders", "tokenizers"]
LEAVE_LAST_OUT = (
    "evaluation.protocol=leave_last_out",
    "gate.primary_metric=ndcg@10",
    "models.challenger=tiger",
)
"""Each person's last event is asked for, as in most papers. No slate is held out by such a split,
and a row may only rank: a gate that asks for what its challenger then doesn't say is refused."""


@dataclass(frozen=True, kw_only=True)
class Fit:
    """What is fitted, once per seed.

    Attributes:
        of: a family of recommenders, or a kind of tokenizer.
        changes: of the preset, as `--set` takes them.
        like: a family whose loop it is fitted with, and whose settings it has as far as its own
            config knows them; empty: its own.
        after: the fit whose weights of the same seed it begins with.
        aligned: whether it learns preference pairs, as `align_recommender` does; needs `after`.
        parts: two fits of the same seed that answer together, as `blend_recommenders` makes them;
            `of` is then `blend`.
    """

    of: str
    changes: tuple[str, ...] = ()
    like: str = ""
    after: "Fit | None" = None
    aligned: bool = False
    parts: "tuple[Fit, ...]" = ()


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What a fit of any neural family of a table may spend; the loop's settings of these names.

    Attributes:
        max_epochs: most passes over the training histories.
        patience_epochs: epochs without better validation after which it stops.
        max_validation_targets: measured after each epoch.
    """

    max_epochs: int
    patience_epochs: int
    max_validation_targets: int


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of a table.

    Attributes:
        name: as it is shown and typed.
        fits: whose figures it has; several where one model retrieves and another ranks.
    """

    name: str
    fits: tuple[Fit, ...]


def fits_of(rows: Iterable[Row]) -> tuple[Fit, ...]:
    """The fits of some rows, each once; of a blend its parts."""
    fits = (fit for row in rows for fit in row.fits)
    return tuple(dict.fromkeys(one for fit in fits for one in fit.parts or (fit,)))


@dataclass(frozen=True, kw_only=True)
class Published:
    """Figures of others.

    Attributes:
        source: who published them.
        preset: whose data they are of.
        figures: by row, a value per metric of the table, in its order; None where there is none.
    """

    source: str
    preset: str
    figures: Mapping[str, tuple[float | None, ...]]


@dataclass(frozen=True, kw_only=True)
class Table:
    """An experiment.

    Attributes:
        name: as it is typed.
        says: a line about it.
        rows: in the order shown.
        metrics: names of metrics, in the order shown.
        comparisons: which row is compared with which.
        compared: the metrics that they are compared in.
        facts: further numbers of a cell that are kept, by name, with their column's title; empty
            where the page is not to show them.
        settings: changes of the preset, by its name; "" for every preset.
        budgets: of each neural fit, by preset; "" for those that are not named.
        reads: tables that the questions need, beside what the fits read.
        presets: whose data has what the experiment needs; empty: any.
        published: figures of others.
        subject: what is fitted.
        unit: what intervals are drawn over.
    """

    name: str
    says: str
    rows: tuple[Row, ...]
    metrics: tuple[str, ...]
    comparisons: tuple[tuple[str, str], ...]
    compared: tuple[str, ...]
    facts: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    budgets: Mapping[str, Budget] = field(default_factory=dict)
    reads: tuple[str, ...] = ()
    presets: tuple[str, ...] = ()
    published: tuple[Published, ...] = ()
    subject: Subject = "recommenders"
    unit: str = "people"

    def settings_for(self, preset: str) -> tuple[str, ...]:
        """What the experiment changes of a preset."""
        return (*self.settings.get("", ()), *self.settings.get(preset, ()))

    def budget_for(self, preset: str) -> Budget | None:
        """What each neural fit on a preset's data may spend; None: what the preset says."""
        return self.budgets.get(preset, self.budgets.get(""))

    @property
    def fits(self) -> tuple[Fit, ...]:
        """Every fit of a model: those of the rows, and the parts of blends."""
        return fits_of(self.rows)

    def chosen(self, names: tuple[str, ...]) -> tuple[Row, ...]:
        """The rows of these names, in the order of the table; all without names."""
        return tuple(row for row in self.rows if not names or row.name in names)
