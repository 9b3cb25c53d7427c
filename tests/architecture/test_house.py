"""The mirror of `make house` counts what it says it counts."""

import importlib.util
from pathlib import Path

from click.testing import CliRunner

REPOSITORY = Path(__file__).resolve().parents[2]
spec = importlib.util.spec_from_file_location("house", REPOSITORY / "infra" / "house.py")
house = importlib.util.module_from_spec(spec)
spec.loader.exec_module(house)


def test_docstrings_are_no_lines_of_a_function():
    long = "def f():\n    '''Says.\n\n    More.\n    '''\n" + "    x = 1\n" * 41
    short = "async def _g():\n" + "    x = 1\n" * 40
    found = {m.name: m.value for m in house.function_measures({Path("a.py"): long + short})}
    assert found["functions above 40"] == "2 (100.0%)"
    shorter = short.replace("    x = 1\n", "", 1)
    found = {m.name: m.value for m in house.function_measures({Path("a.py"): long + shorter})}
    assert found["functions above 40"] == "1 (50.0%)"
    assert found["public functions with a return type"] == "0%"


def test_fields_are_those_of_sections_and_of_shapes():
    section = "class A(Section):\n    a: int\n    b: int = 2\nclass B(Other):\n    c: int\n"
    shape = "class C:\n    d: int\n"
    texts = {Path("pipelines/x.py"): section, Path("training/settings/y.py"): shape}
    assert house.config_fields(texts).value == "3"


def test_numbers_in_code_blocks_do_not_count():
    assert house.number_density("one 2 three four\n```\n5 6 7\n```\n") == 25.0


def test_the_mirror_prints_every_measure_and_never_refuses():
    done = CliRunner().invoke(house.house)
    assert done.exit_code == 0, done.output
    for name in ("files above 300", "import circles", "lines under mypy", "README.md"):
        assert name in done.output


def test_no_modules_import_each_other():
    circles, *members = house.import_circles()
    assert circles.value == "0", [each.value for each in members]
