"""What a step says of itself, and what a step of another package must say.

Imports no table: the module that holds a package's step may hold its table, too.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from feature_store.installed import TABLES_GROUP, PluginError

Kind = Literal["spark", "training"]

HELD: dict[str, str] = {
    "raw_files": "the files that the preset's `source` names",
    "tokenizer": "the current generation's tokenizer, in MLflow",
    "challenger": "the day's bundle of `models.challenger`, in MLflow",
    "aligned_challenger": "the same after alignment, in MLflow, where the preset aligns",
    "baselines": "the day's bundles of `models.baselines`, in MLflow",
    "blend": "the day's bundle of `models.blend`, in MLflow, where the preset blends",
    "evaluation": "what every entrant of the day is worth, in MLflow",
    "champion": "MLflow's alias of the version that recommends",
    "agreement": "that table, service and evaluation say the same, in the day's run records",
    "report": "the day's `report.html`, beside its run records",
}
"""What steps read and write and is no table of the catalogue, with where it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A step of the chain: a Spark job or a training program.

    Args:
        name: of the command's argument, the task, the run record, and the module.
        kind: what runs it; each kind has an image of its own.
        dag: the DAG that it is a task of.
        says: what it is for, in a line.
        reads: tables, or names of `HELD`, that must be there for the day before it runs.
        looks_back: those that it reads as earlier days left them; they order nothing within a day.
        writes: tables, committed in this order, or names of `HELD`.
        shared_task: the task that it is part of where the steps of a DAG share a process.
        trains: whether it computes gradients, so that several processes and GPUs help it.
        runs: `module:attribute` of what does the work: a `pipelines.jobs.interface.Job`, or a
            function of a `training.programs.interface.Task`. Empty: the step has a module of its
            own name.
    """

    name: str
    kind: Kind
    dag: str
    says: str
    reads: tuple[str, ...]
    looks_back: tuple[str, ...] = ()
    writes: tuple[str, ...]
    shared_task: str
    trains: bool = False
    runs: str = ""

    @property
    def may_read(self) -> tuple[str, ...]:
        """Everything that it declares to read, what it writes itself included."""
        return tuple(dict.fromkeys((*self.reads, *self.looks_back, *self.writes)))

    @property
    def flow(self) -> str:
        """What goes in and what comes out.

        Example:
            >>> from feature_store.steps import steps
            >>> steps()["build_slates"].flow
            'interactions, items; earlier slates → slates'
        """
        earlier = f"; earlier {', '.join(self.looks_back)}" if self.looks_back else ""
        return f"{', '.join(self.reads)}{earlier} → {', '.join(self.writes)}"


def step_of_package(name: str, thing: Any, dags: Sequence[str], tables: Collection[str]) -> Step:
    """What a package's entry point names, where it is a step of one of the DAGs.

    Raises:
        ValueError: it isn't; says what was expected.
    """
    if not isinstance(thing, Step):
        raise ValueError(f"is of type {type(thing).__name__}, expected a {__name__}.Step")
    kinds, unlisted = get_args(Kind), [n for n in thing.may_read if n not in {*tables, *HELD}]
    faults = (
        (thing.name != name, f"calls itself {thing.name!r}, expected {name!r}"),
        (thing.kind not in kinds, f"is of kind {thing.kind!r}, expected {' or '.join(kinds)}"),
        (thing.dag not in dags, f"is of DAG {thing.dag!r}, expected one of {', '.join(dags)}"),
        (not all(thing.runs.partition(":")), f"runs {thing.runs!r}, expected module:attribute"),
        (
            bool(unlisted),
            f"reads or writes {', '.join(unlisted)}, which is no table; a package adds its own by "
            f"an entry point of {TABLES_GROUP}",
        ),
    )
    for is_so, fault in faults:
        if is_so:
            raise ValueError(fault)
    return thing


def refuse_disorder(chain: Mapping[str, Step]) -> None:
    """Refuse two writers of one table, and a step before the writer of what it reads.

    Args:
        chain: steps by name, in the order in which a day runs them.
    Raises:
        PluginError: the order can't be kept; names the steps.
    """
    writers: dict[str, str] = {}
    for step in chain.values():
        for name in step.writes:
            if name in writers:
                raise PluginError(
                    f"{name} is written by {writers[name]} and by {step.name}; a table has one "
                    "writer: uninstall the package of one, or have it write a table of its own"
                )
            writers[name] = step.name
        late = [name for name in step.reads if name not in writers and name != "raw_files"]
        if late:
            raise PluginError(
                f"{step.name} reads {', '.join(late)}, which no step writes before it; its package "
                "has to name a later DAG, or say that it looks back"
            )
