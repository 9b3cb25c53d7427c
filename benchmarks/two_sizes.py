"""Contenders that write the rows of a table from the same files, at two sizes, in turns."""

import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from benchmarks.turns import CORES, take_turns
from feature_store.arrow import arrow_schema, conform
from feature_store.content_hash import Digest, digest
from feature_store.contract import Contract
from feature_store.settings import Settings

SMALLER = 4
"""How many times fewer rows the second size has."""
QUICK_ROWS = 20_000


def job_session(name: str) -> Any:
    """A Spark session as a job has it, with both of Java's compilers.

    So executors of a cluster run, and a driver should that is given days of this size
    (`SIDEREAL_SPARK_DRIVER_JAVA_OPTIONS`).
    """
    from pipelines.session import build_session

    settings = Settings(
        spark_master=f"local[{CORES}]", spark_driver_java_options="-XX:+TieredCompilation"
    )
    return build_session(settings, name=name)


def duckdb_connection() -> Any:
    """DuckDB on as many cores, in UTC."""
    import duckdb

    connection = duckdb.connect()
    connection.execute(
        f"SET threads = {CORES}; SET timezone = 'UTC'; SET enable_progress_bar = false"
    )
    return connection


@dataclass(frozen=True)
class TwoSizes:
    """One such comparison.

    Attributes:
        module: that has the contenders, by name.
        contenders: their names; `ours` and `duckdb`.
        writes: the table.
        generate: makes the files of a folder, so many rows of them.
    """

    module: str
    contenders: Iterable[str]
    writes: Contract
    generate: Callable[[Path, int], None]

    def measure(
        self, settings: Settings, *, rows: int, quick: bool, work: str, goal: float
    ) -> dict[str, Any]:
        """Median seconds of ours and of DuckDB on the same files, at two sizes.

        Args:
            settings: where the files go.
            rows: of the larger size.
            quick: `QUICK_ROWS`, one round.
            work: what is done, after the rows.
            goal: of the ratio.
        Returns:
            The measure; `growth` is the seconds per row at the larger size over those at the
            smaller one, by contender: 1 is linear.
        Raises:
            RuntimeError: a contender failed, or its rows differ from ours.
        """
        rows, rounds = (QUICK_ROWS, 1) if quick else (rows, 3)
        smaller = self._seconds(settings, rows // SMALLER, rounds)
        larger = self._seconds(settings, rows, rounds)
        return {
            "name": self.writes.name,
            "work": f"{rows:,} {work}",
            "unit": "s",
            "ours": larger["ours"],
            "peers": {"duckdb": larger["duckdb"]},
            "ratio": larger["ours"] / larger["duckdb"],
            "goal": goal,
            "smaller": smaller,
            "growth": {name: larger[name] / smaller[name] / SMALLER for name in larger},
        }

    def refuse_differences(self, folder: Path) -> None:
        """Compare what the contenders wrote.

        Raises:
            RuntimeError: their rows differ.
        """
        found = {name: self._digest(folder / name) for name in self.contenders}
        if len(set(found.values())) > 1:
            raise RuntimeError(f"the contenders' rows differ: {found}")

    def _seconds(self, settings: Settings, rows: int, rounds: int) -> dict[str, float]:
        folder = settings.home.absolute() / "bench" / self.writes.name
        shutil.rmtree(folder, ignore_errors=True)
        try:
            self.generate(folder, rows)
            seconds = take_turns(self.module, self.contenders, folder, rounds=rounds)
            self.refuse_differences(folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return seconds

    def _digest(self, folder: Path) -> Digest:
        schema, total = arrow_schema(self.writes), Digest()
        for path in sorted(folder.rglob("*.parquet")):
            batches = pq.ParquetFile(path).iter_batches(65_536)
            total += digest(conform(batch, schema) for batch in batches)
        return total
