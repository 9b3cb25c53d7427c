"""The command of a bare GPU machine, at a tiny size on a CPU: every part, resumed and refused."""

import json
import os
import stat
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks.gpu import __main__ as command
from benchmarks.gpu import operations, parity, record
from benchmarks.gpu.configurations import CONFIGURATIONS, fresh
from benchmarks.gpu.machine import REPOSITORY, Machine
from benchmarks.gpu.parts import PARTS, Part
from benchmarks.gpu.synthetic import FEWEST, MOST, movielens_1m, small
from training.fit.fitting import LoopSettings
from training.fit.objective import NextItems
from training.models import _OURS
from training.settings.families import SasrecConfig, TigerConfig

CPU = Machine("cpu", is_small=True)


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gpu")
    code = command.main(["--device", "cpu", "--small", "--output", str(folder)])
    found = json.loads((folder / "gpu.json").read_text())
    assert [part.get("trace") for part in found["parts"].values()] == [None] * len(PARTS)
    assert code == 0
    return found


def test_every_part_has_figures_of_this_machine_and_code(measured):
    assert measured["machine"] == CPU.identity()
    assert list(measured["parts"]) == list(PARTS)


def test_every_family_is_compared_and_agrees_with_itself(measured):
    figures = measured["parts"]["parity"]["figures"]
    assert {CONFIGURATIONS[name].family for name in figures} == {family.name for family in _OURS}
    assert all(each["agrees"] and each.get("equal_lists", 1) == 1 for each in figures.values())
    assert figures["unigrf"]["probability_difference"] == 0
    rankers = [name for name, each in figures.items() if "equal_lists" not in each]
    assert rankers == ["groupce", "groupce, din", "rates"]
    uncompared = [name for name, each in figures.items() if each["loss_difference"] is None]
    assert uncompared == ["unigrf, drawn", "item_knn", "popularity", "rates"]
    assert sum(each["loss_difference"] or 0 for each in figures.values()) == 0


def test_both_ways_of_saying_codes_are_compared():
    by_beam = CONFIGURATIONS["tiger, by beam"]
    large = small(num_items=by_beam.num_items, num_levels=by_beam.num_levels)
    assert not fresh(by_beam, large)._is_exact
    assert fresh(CONFIGURATIONS["tiger"], small())._is_exact


def test_bfloat16_changes_a_loss_a_little_and_a_cpu_compiles_nothing(measured):
    for part in ("bfloat16", "compiled"):
        for variants in measured["parts"][part]["figures"].values():
            assert 0 < abs(variants["bfloat16"]["loss_difference"]) < 0.01
            assert variants["float32"]["loss"] < variants["float32"]["first_loss"]
    compiled = measured["parts"]["compiled"]["figures"]["tiger"]["bfloat16, compiled"]
    assert compiled["is_compiled"] is False


def test_what_is_timed_takes_time_and_no_card_has_no_mfu(measured):
    parts = {name: part["figures"] for name, part in measured["parts"].items()}
    for row in parts["epochs"]["rows"].values():
        assert row["mfu"] is None
        assert min(row["seconds"], row["tokens_per_second"], row["operations"]) > 0
    for beam in parts["constrained_beam"].values():
        assert beam["mask_share"] == 1 - beam["ms_without_mask"] / beam["ms"]
    assert {name for name, each in parts["slate_decode"].items() if each["ratio"] > 0} == {
        "item",
        "latent",
    }


def test_a_copy_with_other_weights_does_not_agree():
    world, loop = small(), LoopSettings(max_history=20, tokens_per_batch=1024)
    one, other = (
        fresh(CONFIGURATIONS["sasrec"], world, max_history=20, dropout=0.0) for _ in range(2)
    )
    assert parity.compare(one, other, world, loop)["agrees"]
    with torch.no_grad():
        other.items_VD.mul_(1.5)
    figures = parity.compare(one, other, world, loop)
    assert not figures["agrees"]
    assert min(figures["loss_difference"], figures["gradient_difference"]) > 0.001
    assert figures["score_difference"] > 0


def parts_that_count(calls, fails=()):
    def of(name):
        def measure(machine):
            calls.append(name)
            if name in fails:
                raise RuntimeError("out of memory")
            return {"is_small": machine.is_small}

        return Part(measure, 10)

    return {name: of(name) for name in ("first", "second", "third")}


def test_a_rerun_measures_what_failed_and_nothing_else(tmp_path):
    calls, told = [], []
    parts = parts_that_count(calls, fails=("second",))
    assert not record.measure_all(parts, CPU, tmp_path, told.append)
    kept = json.loads((tmp_path / "gpu.json").read_text())["parts"]
    assert kept["second"]["error"] == "RuntimeError: out of memory"
    assert "raise RuntimeError" in kept["second"]["trace"]
    assert told[1].startswith("second: RuntimeError: out of memory, 0")
    assert record.measure_all(parts_that_count(calls), CPU, tmp_path, told.append)
    assert calls == ["first", "second", "third", "second"]
    kept = json.loads((tmp_path / "gpu.json").read_text())["parts"]
    assert all(part["figures"] == {"is_small": True} for part in kept.values())


def test_a_killed_run_keeps_the_parts_before(tmp_path):
    def killed(machine):
        raise KeyboardInterrupt

    calls = []
    parts = parts_that_count(calls)
    with pytest.raises(KeyboardInterrupt):
        record.measure_all(parts | {"second": Part(killed, 10)}, CPU, tmp_path, calls.append)
    assert list(json.loads((tmp_path / "gpu.json").read_text())["parts"]) == ["first"]


def test_a_part_that_does_not_fit_into_the_time_is_left_to_the_next_run(tmp_path):
    told = []
    parts = parts_that_count([])
    parts["second"] = replace(parts["second"], seconds=record.LIMIT_SECONDS + 1)
    assert not record.measure_all(parts, CPU, tmp_path, told.append)
    assert told[1] == "second: left out, as it takes about 481 s; run again to measure it"
    assert list(json.loads((tmp_path / "gpu.json").read_text())["parts"]) == ["first", "third"]


def test_all_parts_are_expected_to_fit_into_one_run():
    assert sum(part.seconds for part in PARTS.values()) <= record.LIMIT_SECONDS


def test_figures_of_another_card_are_not_mixed_with_these(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(command, "PARTS", {})
    arguments = ["--device", "cpu", "--small", "--output", str(tmp_path)]
    (tmp_path / "gpu.json").write_text(
        json.dumps({"machine": CPU.identity() | {"card": "NVIDIA H100"}, "parts": {}})
    )
    assert command.main(arguments) == 2
    told = capsys.readouterr().err
    assert "card is 'cpu' here and was 'NVIDIA H100'; give another --output" in told


def test_without_cuda_the_command_says_what_is_missing(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert command.main(["--output", str(tmp_path)]) == 2
    assert "finds no CUDA device; expected a GPU with its driver" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_the_parts_load_what_a_bare_machine_has():
    code = "import sys, benchmarks.gpu.parts; print(*{n.partition('.')[0] for n in sys.modules})"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    lacking = {"pydantic", "pandas", "scipy", "mlflow", "airflow", "pyspark", "click", "duckdb"}
    loaded = set(done.stdout.split())
    assert loaded & lacking == set()
    assert {"torch", "pyarrow", "safetensors", "annotated_types"} <= loaded


def gpu_sh(python):
    return subprocess.run(
        ["bash", str(REPOSITORY / "infra" / "gpu.sh")],
        env=os.environ | {"GPU_PYTHON": str(python)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_python_that_is_not_there_or_has_no_torch_is_refused_in_a_line(tmp_path):
    absent = gpu_sh(tmp_path / "python")
    assert (absent.returncode, absent.stderr.count("\n")) == (2, 1)
    assert "is not on the PATH; pass GPU_PYTHON=" in absent.stderr
    bare = tmp_path / "bare"
    bare.write_text(f'#!/bin/sh\nexec "{sys.executable}" -I -S "$@"\n')
    bare.chmod(bare.stat().st_mode | stat.S_IXUSR)
    refused = gpu_sh(bare)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "has no torch numpy, expected torch 2.11 or newer for CUDA" in refused.stderr


def test_the_synthetic_data_have_movielens_1m_s_shape():
    world = movielens_1m()
    histories = world.split.test.histories
    lengths = histories.lengths
    assert (histories.num_users, world.vocabulary.num_items) == (6040, 3706)
    assert histories.num_events == pytest.approx(1_000_209, rel=0.03)
    assert np.median(lengths) == pytest.approx(96, rel=0.05)
    assert (lengths.min(), lengths.max()) == (FEWEST, MOST)
    assert len(np.unique(world.vocabulary.codes_VQ, axis=0)) == 3706
    later = world.split.train.items[1:] == world.split.train.items[:-1] + 1
    assert 0.75 < later.mean() < 0.85


def test_operations_of_an_epoch_are_those_of_its_rows_and_targets():
    world, loop = small(), LoopSettings(max_history=24, tokens_per_batch=1024)
    objective = NextItems(world.split, loop, 1)
    rows, length, width = 40, 22, 8  # the last two events are held out
    reader = 2 * rows * (10 * length * width**2 + 2 * length * (length + 1) * width)
    sampled = 2 * rows * length * width * (4 + 1)
    shape = SasrecConfig(width=width, loss="sampled", num_negatives=4)
    assert operations.of_epoch(shape, objective, 60, ()) == 3 * (reader + sampled)
    codes = sum(2 * rows * length * (5 * width**2 + width * size) for size in (6, 7))
    tiger = TigerConfig(width=width, learns="codes", answer="codes")
    assert operations.of_epoch(tiger, objective, 60, (6, 7)) == 3 * (reader + codes)
    items = 2 * rows * length * width * (width + 60)
    both = operations.of_epoch(TigerConfig(width=width), objective, 60, (6, 7))
    assert both == 3 * (reader + codes + items)
