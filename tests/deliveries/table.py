"""What came of every case and input, as one Markdown table: `python -m tests.deliveries.table`.

Ends with 1 where an answer isn't the right one.
"""

import os
import tempfile
from pathlib import Path

import click

from tests.deliveries.cases import CASES, through
from tests.deliveries.corpus import CORPUS
from tests.deliveries.night import go_through

REPOSITORY = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("SIDEREAL_TEST_DATA", REPOSITORY / ".." / "shared" / "data"))
HEAD = "| input | exit | message | rows in = published + duplicates + quarantined | right |"


@click.command()
@click.option("--only", default="", help="Inputs whose kind or name holds this.")
@click.option("--wrong", "only_wrong", is_flag=True, help="Only those that aren't right.")
def table(only: str, only_wrong: bool) -> None:
    """Run every input and print a row for each night."""
    click.echo(f"{HEAD}\n|---|---|---|---|---|")
    wrong = total = 0
    for name, nights in _inputs(only):
        with tempfile.TemporaryDirectory() as folder:
            for place, (night, outcome, found) in enumerate(nights(Path(folder))):
                total, wrong = total + 1, wrong + bool(found)
                if found or not only_wrong:
                    label = name if not place else f"{name}, night {place + 1}"
                    click.echo(_row(label, night, outcome, found))
    click.echo(f"\n{total - wrong} of {total} right.")
    raise SystemExit(bool(wrong))


def _inputs(only):
    cases = DATA / "cases"
    if cases.is_dir():
        for name, nights in CASES.items():
            if only in f"case: {name}":
                yield f"case: {name}", lambda f, n=name, k=nights: through(cases / n, k, f)
    for kind, inputs in CORPUS.items():
        for each in inputs:
            if only in f"{kind}: {each.name}":
                yield f"{kind}: {each.name}", lambda f, e=each: go_through(e, f)


def _row(name, night, outcome, found):
    record = outcome.record or {}
    counts = [record.get(key) for key in ("rows_in", "published", "duplicates", "quarantined")]
    held = f" + {record['withheld']} withheld" if record.get("withheld") else ""
    rows = "" if None in counts else "{} = {} + {} + {}{}".format(*counts, held)
    message = outcome.first_line if night.exit_code or outcome.exit_code else ""
    verdict = "yes" if not found else "no: " + "; ".join(found)
    return "| " + " | ".join(map(_cell, (name, outcome.exit_code, message, rows, verdict))) + " |"


def _cell(value):
    text = " ".join(str(value).split()).replace("|", "\\|")
    return text if len(text) <= 200 else text[:199] + "…"


if __name__ == "__main__":
    table()
