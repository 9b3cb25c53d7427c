"""One night's delivery, the real commands that take it, and what must have come of it."""

import json
import logging
import re
import shutil
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import yaml
from click.testing import CliRunner

from feature_store.errors import FeatureStoreError
from feature_store.settings import Settings
from feature_store.store import FeatureStore
from sidereal.cli import main
from tests.deliveries.counted import rows_in

DAY = date(2024, 3, 10)
NOT_OURS = re.compile(
    r"Traceback|py4j|org\.apache\.|java\.\w+\.\w*(Exception|Error)|pydantic|JVM stacktrace"
)
"""What no message holds: words of a language or a library that the reader didn't choose."""
_ACCOUNT = re.compile(
    r"([\d,]+) rows in = ([\d,]+) published \+ ([\d,]+) duplicates \+ ([\d,]+) quarantined"
)


@dataclass(frozen=True, kw_only=True)
class Night:
    """What is delivered before a run, and what the run must make of it.

    Args:
        files: content by path below the folder of data; None takes the file away.
        day: the run's.
        steps: jobs, in order.
        overrides: `--set` of the command.
        exit_code: of the command.
        says: words that its output holds.
        hides: words that its output doesn't hold.
        published: rows of the run that stand in `interactions`.
        duplicates: rows that another row of equal key stands for.
        quarantined: rows in `quarantine` under the run's day.
        reasons: words that the quarantine's reasons hold, each in some row.
        left_out: names of files that aren't read, each named by the command and its record.
        table: (user_id, item_id, strength) of all rows of `interactions` after the run, in any
            order; None: as many as are published.
        facts: parts of the run's record.
        rows_in: where the files' own rows aren't what the run takes: their number, counted by the
            test on its own.
        separator: of the CSV files.
        lines_are_rows: whether a CSV file's lines are counted instead of its records.
        look: called with the outcome, for what is special to the night.
    """

    files: Mapping[str, bytes | None] = field(default_factory=dict)
    day: date = DAY
    steps: Sequence[str] = ("ingest_interactions",)
    overrides: Sequence[str] = ()
    exit_code: int = 0
    says: Sequence[str] = ()
    hides: Sequence[str] = ()
    published: int = 0
    duplicates: int = 0
    quarantined: int = 0
    reasons: Sequence[str] = ()
    left_out: Sequence[str] = ()
    table: Sequence[tuple] | None = None
    facts: Mapping[str, object] = field(default_factory=dict)
    rows_in: int | None = None
    separator: str = ","
    lines_are_rows: bool = False
    look: object = None

    def counted(self):
        """Rows of the delivered files that are data, by an independent count."""
        if self.rows_in is not None:
            return self.rows_in
        return sum(
            rows_in(path, content, separator=self.separator, lines_are_rows=self.lines_are_rows)
            for path, content in self.files.items()
            if content is not None
            and path.startswith("events")
            and not any(f"/{name}/" in f"{path}/" for name in self.left_out)
        )


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a command did.

    Args:
        exit_code: of the command.
        output: what it wrote, and what it logged.
        record: of `ingest_interactions`; None where there is none.
        table: rows of `interactions`, as mappings.
        quarantine: rows of `quarantine` under the run's day.
        store: the home's feature store.
    """

    exit_code: int
    output: str
    record: dict | None
    table: list[dict]
    quarantine: list[dict]
    store: FeatureStore

    @property
    def first_line(self):
        """The first line about what stood in the way, and the next where it ends in a colon."""
        lines = [line for line in self.output.splitlines() if line.strip()]
        starts = [n for n, line in enumerate(lines) if re.match(r"\w+: \w+: |Error: ", line)]
        first = starts[0] if starts else 0
        return " ".join(lines[first : first + 1 + lines[first].endswith(":")]) if lines else ""


class Home:
    """A home, a folder of data and a preset of one's own, and the commands that work on them."""

    def __init__(self, folder: Path, preset: Mapping | Path | str, *, data: Path | None = None):
        self.folder, self.data = folder, data or folder / "data"
        self.data.mkdir(parents=True, exist_ok=True)
        self.preset, self.name = folder / "own.yaml", "own"
        if isinstance(preset, Path):
            self.preset, self.name = preset, yaml.safe_load(preset.read_text())["name"]
        else:
            text = preset if isinstance(preset, str) else yaml.safe_dump(preset, sort_keys=False)
            self.preset.write_text(text, encoding="utf-8")

    @property
    def environment(self):
        """Variables of the commands."""
        return {
            "SIDEREAL_HOME": str(self.folder / "home"),
            "SIDEREAL_DATA": str(self.data),
            "SIDEREAL_SPARK_MASTER": "local[1]",
            "SIDEREAL_SPARK_DRIVER_MEMORY": "1g",
            "SIDEREAL_DEVICE": "cpu",
        }

    def deliver(self, files: Mapping[str, bytes | None]):
        """Put files in their place, or take them away."""
        for name, content in files.items():
            path = self.data / name
            if content is None:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)

    def run(self, *arguments: str):
        """A command of ours in this process; returns its exit code and all that it said."""
        log = _Kept()
        root = logging.getLogger()
        root.addHandler(log)
        try:
            result = CliRunner().invoke(main, arguments, env=self.environment)
        finally:
            root.removeHandler(log)
        output = result.output + "".join(f"{line}\n" for line in log.lines)
        if result.exception and not isinstance(result.exception, SystemExit):
            # What Python itself would have written.
            output += "".join(traceback.format_exception(result.exception))
        return result.exit_code, output

    def take(self, night: Night) -> Outcome:
        """Deliver a night's files and run its day."""
        self.deliver(night.files)
        settings = [part for pair in night.overrides for part in ("--set", pair)]
        day = ("--day", str(night.day))
        code, output = self.run("step", *night.steps, "--preset", str(self.preset), *day, *settings)
        return self.outcome(night.day, code, output)

    def outcome(self, day: date, exit_code: int, output: str) -> Outcome:
        """What stands in the home after a command."""
        store = FeatureStore.open(Settings(home=self.folder / "home"), self.name)
        quarantine = rows_of(store, "quarantine", partition=day)
        record = self.record(day, "ingest_interactions")
        return Outcome(
            exit_code=exit_code,
            output=output,
            record=record,
            table=rows_of(store, "interactions"),
            quarantine=quarantine,
            store=store,
        )

    def record(self, day: date, step: str):
        """A step's run record; None where there is none."""
        found = list((self.folder / "home" / "runs").glob(f"**/{day}/steps/{step}.json"))
        return json.loads(found[0].read_text()) if found else None


class _Kept(logging.Handler):
    """Keeps what is logged, with its traceback."""

    def __init__(self):
        super().__init__(logging.INFO)
        self.lines = []

    def emit(self, record):
        self.lines.append(logging.Formatter().format(record))


def rows_of(store, name, **where):
    """Rows of a table, [] where it was never published."""
    return store.read(name, **where).to_pylist() if store.exists(name) else []


def triples(table):
    """(user_id, item_id, strength) of rows of `interactions`, sorted."""
    return sorted((row["user_id"], row["item_id"], row["strength"]) for row in table)


def problems(night: Night, outcome: Outcome, before: list[dict]) -> list[str]:
    """Every difference between what had to come of a night and what came; [] where all is right.

    Args:
        night: what was delivered and expected.
        outcome: what the command did.
        before: rows of `interactions` before the run.
    """
    said = outcome.output
    found = []
    if outcome.exit_code != night.exit_code:
        found.append(f"exit code {outcome.exit_code}, expected {night.exit_code}")
    found += [f"the output doesn't say {words!r}" for words in night.says if words not in said]
    found += [f"the output says {words!r}" for words in night.hides if words in said]
    found += [f"the output says {foreign[0]!r}" for foreign in [NOT_OURS.search(said)] if foreign]
    found += _quarantine_problems(night, outcome)
    found += _left_out_problems(night, outcome)
    if night.exit_code:
        if triples(outcome.table) != triples(before):
            found.append("interactions changed although the command failed")
    else:
        found += _account_problems(night, outcome)
    if night.look and outcome.exit_code == night.exit_code:
        try:
            night.look(outcome)
        except (AssertionError, LookupError, FeatureStoreError) as error:
            found.append(f"{type(error).__name__}: {error}")
    return found


def _account_problems(night, outcome):
    """What is wrong with the rows: counted by the test, recorded, printed and published."""
    names = ("rows_in", "published", "duplicates", "quarantined")
    wanted = (night.counted(), night.published, night.duplicates, night.quarantined)
    assert wanted[0] == sum(wanted[1:]), f"the input contradicts itself: {wanted}"
    record = outcome.record or {}
    recorded = tuple(record.get(name) for name in names)
    found = []
    if recorded != wanted:
        found.append(f"recorded {dict(zip(names, recorded, strict=True))}, expected {wanted}")
    printed = [
        tuple(int(number.replace(",", "")) for number in match.groups())
        for match in _ACCOUNT.finditer(outcome.output)
    ]
    if printed[-1:] != [wanted]:
        found.append(f"printed {printed}, expected {wanted}")
    if night.table is None and len(outcome.table) != night.published:
        found.append(f"{len(outcome.table)} rows in interactions, expected {night.published}")
    if night.table is not None and triples(outcome.table) != sorted(night.table):
        found.append(f"interactions: {triples(outcome.table)}, expected {sorted(night.table)}")
    for name, value in night.facts.items():
        if record.get(name) != value:
            found.append(f"record's {name} is {record.get(name)!r}, expected {value!r}")
    return found


def _quarantine_problems(night, outcome):
    found = []
    if len(outcome.quarantine) != night.quarantined:
        found.append(f"{len(outcome.quarantine)} rows quarantined, expected {night.quarantined}")
    reasons = [reason for row in outcome.quarantine for reason in row["reasons"]]
    for words in night.reasons:
        if not any(words in reason for reason in reasons):
            found.append(f"no reason says {words!r}: {sorted(set(reasons))}")
    return found


def _left_out_problems(night, outcome):
    record = json.dumps((outcome.record or {}).get("left_out"), ensure_ascii=False)
    found = []
    for name in night.left_out:
        if name not in outcome.output:
            found.append(f"{name!r} was left out and the output doesn't name it")
        if name not in record:
            found.append(f"{name!r} was left out and the record's left_out doesn't name it")
    return found


@dataclass(frozen=True, kw_only=True)
class Input:
    """A preset and the nights on which it runs.

    Args:
        name: of the input, a sentence.
        nights: in order, in one home.
        preset: as plain data, or its text; see `tests.deliveries.presets`.
    """

    name: str
    nights: Sequence[Night]
    preset: Mapping | str


def go_through(case: Input, folder: Path):
    """Run all nights of an input; yields each with its outcome and its problems."""
    home = Home(folder, case.preset)
    before = []
    for place, night in enumerate(case.nights):
        outcome = home.take(night)
        label = f"night {place + 1}: " if len(case.nights) > 1 else ""
        yield night, outcome, [label + problem for problem in problems(night, outcome, before)]
        before = outcome.table
