"""Rows of raw files, counted without a line of the product: what `rows in` must be."""

import bz2
import csv
import gzip
import io
import json

import pyarrow.parquet as pq
import zstandard

UNPACK = {
    ".gz": gzip.decompress,
    ".bz2": bz2.decompress,
    ".zst": lambda packed: zstandard.ZstdDecompressor().decompressobj().decompress(packed),
}


def rows_in(name, content, *, separator=",", lines_are_rows=False):
    """Rows of one raw file.

    Args:
        name: the file's; its suffixes say how it is read.
        content: its bytes.
        separator: of a CSV file.
        lines_are_rows: count a CSV file's lines, where quotes can't be trusted.
    """
    if not content:
        return 0
    stem = name.lower()
    for suffix, unpack in UNPACK.items():
        if stem.endswith(suffix):
            stem, content = stem.removesuffix(suffix), unpack(content)
    if stem.endswith((".parquet", ".parq", ".pq")):
        return pq.ParquetFile(io.BytesIO(content)).metadata.num_rows
    text = content.decode("utf-8-sig", errors="replace")
    if stem.endswith((".json", ".jsonl", ".ndjson")):
        return sum(1 for line in text.split("\n") if line.strip())
    if lines_are_rows:
        return sum(1 for line in text.splitlines() if line.strip()) - 1
    return len(csv_records(text, separator)[1])


def csv_records(text, separator=","):
    """Header and records of a CSV text; blank lines and repeated headers are no records."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    records = [record for record in reader if any(cell.strip() for cell in record)]
    header, *rest = records or [[]]
    return header, [record for record in rest if record != header]


def events_by_day(text, time_column="ts"):
    """Rows of a CSV log by the first ten characters of their time, with how often each occurs.

    Rows without a date stand under the empty text.
    """
    header, records = csv_records(text)
    place = header.index(time_column)
    days = {}
    for record in records:
        moment = record[place] if place < len(record) else ""
        is_dated = len(moment) >= 10 and moment[4:8:3] == "--"
        days.setdefault(moment[:10] if is_dated else "", []).append(json.dumps(record))
    return {day: sorted(rows) for day, rows in days.items()}
