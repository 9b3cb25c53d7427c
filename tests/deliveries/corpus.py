"""All small inputs that the tests make themselves, by what they are about."""

from tests.deliveries.inputs import (
    csv_files,
    errors,
    json_files,
    meaning,
    parquet_files,
    reading,
    redelivery,
    rules,
)
from tests.deliveries.night import Input

CORPUS: dict[str, list[Input]] = {
    "reading": reading.INPUTS,
    "csv": csv_files.INPUTS,
    "json": json_files.INPUTS,
    "parquet": parquet_files.INPUTS,
    "meaning": meaning.INPUTS,
    "rules": rules.INPUTS,
    "redelivery": redelivery.INPUTS,
    "errors": errors.INPUTS,
}
