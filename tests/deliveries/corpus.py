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
    "what is read": reading.INPUTS,
    "CSV": csv_files.INPUTS,
    "JSON": json_files.INPUTS,
    "Parquet": parquet_files.INPUTS,
    "what a row means": meaning.INPUTS,
    "what a rule may be": rules.INPUTS,
    "what a redelivery means": redelivery.INPUTS,
    "what an error is": errors.INPUTS,
}
