"""MovieLens from its own files, as histories: for experiments where there is no Spark.

The same rows in the same order as the daily run's tables hold: by user, time, then film; ratings
become strengths by the rules of the preset `movielens-100k`.

| layout           | ratings                     |
|------------------|-----------------------------|
| 100K, RecBole    | `ml-100k.inter`, header     |
| 100K, official   | `u.data`, tabs              |
| 1M, 10M          | `ratings.dat`, `::`         |
| 20M, 25M, 32M    | `ratings.csv`, header       |
"""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc

from training.data.histories import SECOND, Histories

STRENGTH_FROM = ((4.5, 3), (3.5, 2), (2.5, 1))
"""A rating from here on has this strength; the first that holds; below all of them it is -1."""
DISLIKED = -1


def read_movielens(folder: Path) -> tuple[Histories, int]:
    """All ratings as histories, and the number of films that were ever rated.

    Args:
        folder: holds the files of one MovieLens dataset, whichever it is.
    Raises:
        FileNotFoundError: there are no ratings; says what was found and what was looked for.
    """
    for name, read in _LAYOUTS.items():
        if (folder / name).is_file():
            return _histories(read(folder / name))
    found = sorted(path.name for path in folder.iterdir())[:10] if folder.is_dir() else "no folder"
    raise FileNotFoundError(
        f"no MovieLens ratings in {folder}: found {found}, expected one of {list(_LAYOUTS)}; get"
        " the dataset from grouplens.org and give the folder that it was unpacked to"
    )


def _delimited(delimiter: str, *, header: bool) -> Callable[[Path], pa.Table]:
    def read(path: Path) -> pa.Table:
        options = pc.ReadOptions(autogenerate_column_names=not header)
        return pc.read_csv(path, options, pc.ParseOptions(delimiter=delimiter))

    return read


def _two_colons(path: Path) -> pa.Table:
    plain = io.BytesIO(path.read_bytes().replace(b"::", b"\t"))
    return pc.read_csv(
        plain,
        pc.ReadOptions(autogenerate_column_names=True),
        pc.ParseOptions(delimiter="\t"),
    )


_LAYOUTS: dict[str, Callable[[Path], pa.Table]] = {
    "ml-100k.inter": _delimited("\t", header=True),
    "u.data": _delimited("\t", header=False),
    "ratings.dat": _two_colons,
    "ratings.csv": _delimited(",", header=True),
}
"""File of the ratings → what reads user, film, rating and second as its first four columns."""


def _histories(rows: pa.Table) -> tuple[Histories, int]:
    user, film, rating, second = (rows.column(place).to_numpy() for place in range(4))
    second = second.astype(np.int64)
    order = np.lexsort((film, second, user))
    users, lengths = np.unique(user, return_counts=True)
    films, item = np.unique(film, return_inverse=True)
    strengths = np.full(len(rating), DISLIKED, dtype=np.int8)
    for least, strength in reversed(STRENGTH_FROM):
        strengths[rating >= least] = strength
    histories = Histories(
        user_ids=users.astype(str).astype(object),
        offsets=np.concatenate([[0], np.cumsum(lengths)]),
        items=item[order].astype(np.int32),
        strengths=strengths[order],
        times=second[order] * SECOND,
    )
    return histories, len(films)
