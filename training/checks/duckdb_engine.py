"""DuckDB as the engine of a check: exact, without Java, in the process that wrote the stage."""

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
import pyarrow.dataset as ds

from feature_store.arrow import arrow_schema, contract_type
from feature_store.checks.interface import STAGED
from feature_store.rules import KNOWN_INDEX
from feature_store.stage import Stage
from training.checks.dialect import connect

_FILES, _CATALOGUE = "files", "catalogue"


class DuckDbEngine:
    """Reads the Parquet files of a stage through the store's own file system, batch by batch.

    Args:
        stage: what is staged.
        known_items: item_id and item_index of the catalogue; None: no rule looks at it.
    """

    def __init__(self, stage: Stage, known_items: pa.Table | None = None) -> None:
        self._rows = _dataset(stage)
        self._connection = connect()
        self._connection.register(_FILES, self._rows)
        joined = ""
        if known_items is not None and "item_id" in self._rows.schema.names:
            self._connection.register(_CATALOGUE, known_items)
            # Grouped, so that it is plain that the join adds no rows.
            joined = (
                f"LEFT JOIN (SELECT item_id, max(item_index) AS {KNOWN_INDEX} FROM {_CATALOGUE} "
                "GROUP BY item_id) AS known USING (item_id)"
            )
        index = f", {KNOWN_INDEX}" if joined else ""
        self._connection.execute(
            f"CREATE TEMP VIEW {STAGED} AS SELECT {_FILES}.*{index} FROM {_FILES} {joined}"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._connection.close()

    def columns(self) -> dict[str, str]:
        """Type by name of the staged columns."""
        return {field.name: contract_type(field.type) for field in self._rows.schema}

    def query(self, sql: str) -> list[dict[str, Any]]:
        """Rows of a query, maps as dicts, instants without a zone, as Spark's are."""
        cursor = self._connection.execute(sql)
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, map(_plain, row), strict=True)) for row in cursor.fetchall()]

    def repeated(self, columns: Sequence[str]) -> int:
        """Rows beyond the first of each key."""
        [row] = self.query(
            f"SELECT coalesce(sum(n - 1), 0) AS surplus FROM (SELECT count(1) AS n FROM {STAGED} "
            f"GROUP BY {', '.join(columns)}) AS keys WHERE n > 1"
        )
        return int(row["surplus"])


def _dataset(stage: Stage) -> Any:
    files = [stage.folder.path_of(uri) for uri in stage.files()]
    if not files:
        return ds.dataset(arrow_schema(stage.contract).empty_table())
    return ds.dataset(files, filesystem=stage.folder.filesystem, format="parquet")


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return value.replace(tzinfo=None) if getattr(value, "tzinfo", None) else value
