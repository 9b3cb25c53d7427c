"""What importing a module loads, seen in a fresh process: import-linter can't see a parent's
`__init__`, nor what a library drags in."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from feature_store.tables import CATALOG

REPOSITORY = Path(__file__).resolve().parent.parent.parent
HEAVY = {"pyspark", "torch", "airflow", "mlflow", "great_expectations", "sentence_transformers"}
ENGINES = {"pyiceberg", "sqlalchemy"}


def loaded_by(module: str) -> set[str]:
    """Top-level names of what `import module` loads into a fresh interpreter."""
    code = (
        f"import json, sys; before = set(sys.modules); import {module}; "
        "print(json.dumps(sorted({name.partition('.')[0] for name in set(sys.modules) - before})))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    return set(json.loads(done.stdout))


@pytest.mark.parametrize("module", ["tables", "contract", "steps"])
def test_contracts_and_steps_load_the_standard_library_alone(module):
    assert loaded_by(f"feature_store.{module}") - set(sys.stdlib_module_names) == {"feature_store"}


def test_the_store_loads_no_engine_but_its_own():
    loaded = loaded_by("feature_store.store")
    assert loaded & HEAVY == set()
    assert {"pyiceberg", "pyarrow"} <= loaded


@pytest.mark.parametrize("module", ["settings", "preset", "run_record"])
def test_what_dags_and_commands_read_first_loads_no_tables_engine(module):
    assert loaded_by(f"feature_store.{module}") & (HEAVY | ENGINES | {"pyarrow", "numpy"}) == set()


def test_the_tables_commands_load_click_alone():
    assert loaded_by("feature_store.cli") - set(sys.stdlib_module_names) <= {
        "feature_store",
        "click",
    }


def test_only_the_iceberg_package_imports_pyiceberg():
    guilty = [
        str(path.relative_to(REPOSITORY))
        for package in ("feature_store", "pipelines", "training", "dags", "sidereal")
        for path in (REPOSITORY / package).rglob("*.py")
        if "import pyiceberg" in (text := path.read_text()) or "from pyiceberg" in text
    ]
    assert guilty and all(path.startswith("feature_store/iceberg/") for path in guilty)


def test_every_table_is_listed_in_the_catalogue():
    files = {path.stem for path in (REPOSITORY / "feature_store" / "tables").glob("[a-z]*.py")}
    assert files == set(CATALOG)
