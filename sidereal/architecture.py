"""The part of ARCHITECTURE.md that is made of the list of steps: the picture, and the DAGs."""

from collections.abc import Iterator

from feature_store.settings import REPOSITORY
from feature_store.step import HELD, Step
from feature_store.steps import dags, steps, steps_before, steps_of, tables_that_start
from feature_store.tables import CATALOG

PAGE = REPOSITORY / "ARCHITECTURE.md"
BEGIN = (
    "<!-- Made by `sidereal presets reference --write` from `feature_store/steps.py`: do not edit. "
    "-->"
)
END = "<!-- End of what is made. -->"


def architecture_page() -> str:
    """ARCHITECTURE.md with the part between the markers made anew.

    Raises:
        ValueError: the page has lost a marker.
    """
    before, begin, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{PAGE} holds no part between {BEGIN!r} and {END!r}; put them back")
    return f"{before}{begin}\n\n{_made()}\n\n{end}{after}"


def _made() -> str:
    picture = ["```mermaid", "flowchart TB", *_picture(), "```"]
    table = ["| DAG | starts | steps | writes |", "|---|---|---|---|", *map(_row, dags())]
    held = ["| no table | what it is |", "|---|---|", *(f"| {k} | {v} |" for k, v in HELD.items())]
    return "\n".join([*picture, "", *table, "", *held])


def _picture() -> Iterator[str]:
    """A box per DAG with its steps, and an arrow to each step from those that it waits for.

    An arrow carries what the one writes and the other reads.
    """
    for dag in dags():
        yield f"  subgraph {dag}"
        yield from (f"    {step.name}" for step in steps_of(dag))
        yield "  end"
    for step in steps().values():
        for before in map(steps().__getitem__, steps_before(step.name)):
            read = [name for name in before.writes if name in step.reads]
            yield f"  {before.name} -- {', '.join(read)} --> {step.name}"


def _row(dag: str) -> str:
    starting = tables_that_start(dag, CATALOG)
    starts = f"{_listed(starting)} of the day" if starting else "every night, for the day before"
    tables = [name for step in steps_of(dag) for name in step.writes if name in CATALOG]
    return f"| `{dag}` | {starts} | {'; '.join(_orders(steps_of(dag)))} | {', '.join(tables)} |"


def _listed(names: tuple[str, ...]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _orders(own: tuple[Step, ...]) -> Iterator[str]:
    """What comes after what within a DAG, as chains that are as long as they can be."""
    names = {step.name for step in own}
    before = {name: [each for each in steps_before(name) if each in names] for name in names}
    after = {name: [each for each in names if name in before[each]] for name in names}

    def goes_on(name: str) -> bool:
        return len(before[name]) == 1 and len(after[before[name][0]]) == 1

    for name in (step.name for step in own if not goes_on(step.name)):
        chain = [name]
        while len(after[chain[-1]]) == 1 and goes_on(after[chain[-1]][0]):
            chain.append(after[chain[-1]][0])
        if len(chain) > 1 or before[name] or not after[name]:
            yield " → ".join([*filter(None, [", ".join(before[name])]), *chain])
