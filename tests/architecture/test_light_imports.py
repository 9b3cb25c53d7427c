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


@pytest.mark.parametrize("module", ["tables", "contract", "step", "steps"])
def test_contracts_and_steps_load_the_standard_library_alone(module):
    assert loaded_by(f"feature_store.{module}") - set(sys.stdlib_module_names) == {"feature_store"}


def test_the_store_loads_no_engine_but_its_own():
    loaded = loaded_by("feature_store.store")
    assert loaded & HEAVY == set()
    assert {"pyiceberg", "pyarrow"} <= loaded


@pytest.mark.parametrize("module", ["settings", "preset", "run_record"])
def test_what_dags_and_commands_read_first_loads_no_tables_engine(module):
    assert loaded_by(f"feature_store.{module}") & (HEAVY | ENGINES | {"pyarrow", "numpy"}) == set()


@pytest.mark.parametrize("module", ["metrics", "record"])
def test_what_an_evaluation_found_is_read_with_the_standard_library_alone(module):
    loaded = loaded_by(f"training.evaluation.{module}")
    assert loaded - set(sys.stdlib_module_names) == {"training"}


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


def test_a_table_is_checked_without_spark_and_java(tmp_path):
    """As in the training image, which has neither."""
    code = f"""
import sys
sys.modules["pyspark"] = None
from datetime import date
from pathlib import Path
from feature_store.checks.check import check
from feature_store.rules import RuleInputs
from feature_store.settings import Settings
from feature_store.store import FeatureStore
from feature_store.tables import CATALOG
from feature_store.validation import Validation
from tests.suites.contract_rows import contract_rows
from training.checks.duckdb_engine import DuckDbEngine
contract, day = CATALOG["recommendations"], date(2024, 5, 7)
store = FeatureStore.open(Settings(home=Path({str(tmp_path)!r})), "shop")
stage = store.stage(contract.name, day=day, job="recommend")
stage.write(contract_rows(contract, 5))
with DuckDbEngine(stage) as engine:
    inputs = RuleInputs(day=day, config=Validation())
    result = check(engine, contract, inputs, preset="shop", data_docs=Path({str(tmp_path)!r}))
print(len(result.rules), result.docs_path.exists())
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    num_rules, has_page = done.stdout.split()
    assert int(num_rules) > 15 and has_page == "True"
    assert done.stderr == ""
