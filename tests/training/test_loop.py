import json
import math
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests import worlds
from tests.training.fit_chain import Recorder, fit
from training.fit import loop
from training.fit.checkpoint import FILE_NAME
from training.fit.fitting import Fitting, LoopSettings
from training.fit.optimizer import learning_rate_share, make_optimizer
from training.models.sasrec.fit import fit as fit_sasrec
from training.models.sasrec.model import Sasrec
from training.settings.families import SasrecConfig

SCRIPT = Path(__file__).with_name("fit_chain.py")
ROOT = SCRIPT.parents[2]
DURATIONS = {"seconds", "tokens_per_second", "validation_seconds"}


def start(*arguments, launcher=(sys.executable,)):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [*launcher, str(SCRIPT), *map(str, arguments)],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def written(out):
    """Report and weights that a process left."""
    return json.loads((out / "report.json").read_text()), load_file(out / "model.safetensors")


def without_durations(epochs):
    return [{k: v for k, v in epoch.items() if k not in DURATIONS} for epoch in epochs]


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


@pytest.fixture
def one_thread():
    """As many threads as the other processes have: sums depend on it in the last bit."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("family", ["sasrec", "unigrf"])
def test_a_fit_killed_mid_epoch_ends_with_the_same_losses_and_weights(family, tmp_path, one_thread):
    recorder = Recorder()
    model, undisturbed = fit(tmp_path / "undisturbed", family=family, observers=[recorder])
    in_first_epoch = sum(epoch == 0 for epoch, _, _ in recorder.losses)
    killed = start(tmp_path, "--families", family, "--kill-at", in_first_epoch + 4)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not (tmp_path / family / "report.json").exists()
    assert start(tmp_path, "--families", family).returncode == 0
    resumed, weights = written(tmp_path / family)
    assert resumed["facts"]["resumed_from"] == {"epoch": 1, "step": 2}
    losses = [tuple(at) for at in resumed["losses"]]
    assert losses == recorder.losses[in_first_epoch + 2 :]
    assert without_durations(resumed["epochs"]) == without_durations(undisturbed.epochs)
    assert equal(model.state_dict(), weights)


def test_two_processes_do_what_one_does(tmp_path, one_thread):
    torchrun = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
    families = ("sasrec", "tiger", "unigrf_full")
    done = start(tmp_path, "--dropout", 0.0, "--families", *families, launcher=torchrun)
    assert done.returncode == 0, done.stderr
    for family in families:
        recorder = Recorder()
        model, one = fit(
            tmp_path / "one" / family,
            family=family,
            dropout=0.0,
            tokens=800,
            observers=[recorder],
        )
        two, weights = written(tmp_path / family)
        assert two["facts"]["processes"] == 2
        assert len(two["losses"]) == len(recorder.losses)
        for (*at, loss), (*at_other, other) in zip(recorder.losses, two["losses"], strict=True):
            assert at == at_other
            assert other == pytest.approx(loss, abs=1e-5)
        for first, second in zip(one.epochs, two["epochs"], strict=True):
            assert first["targets"] == second["targets"]
            assert second["validation"] == pytest.approx(first["validation"], abs=1e-2)
        # A key's bias gets no gradient but rounding, of which Adam makes steps.
        for name, value in model.state_dict().items():
            torch.testing.assert_close(weights[name], value, rtol=1e-3, atol=5e-4)


def test_the_same_fit_twice_gives_the_same_losses_and_weights(tmp_path):
    recorders = Recorder(), Recorder()
    fits = [
        fit(tmp_path / str(number), observers=[recorder])
        for number, recorder in enumerate(recorders)
    ]
    assert recorders[0].losses == recorders[1].losses
    assert equal(fits[0][0].state_dict(), fits[1][0].state_dict())


def test_a_finished_fit_is_read_and_not_repeated(tmp_path):
    model, report = fit(tmp_path)
    recorder = Recorder()
    again, repeated = fit(tmp_path, observers=[recorder])
    assert recorder.losses == []
    assert equal(model.state_dict(), again.state_dict())
    assert repeated.epochs == report.epochs


@pytest.mark.parametrize("change", [{"seed": 1}, {"exclude_seen": False}])
def test_a_checkpoint_of_another_fit_is_not_continued(tmp_path, change):
    fit(tmp_path)
    _, report = fit(tmp_path, **change)
    assert report.facts["resumed_from"] is None
    assert "is of another fit" in report.facts["checkpoint_refused"]


def test_a_checkpoint_is_continued_however_often_is_saved(tmp_path):
    _, report = fit(tmp_path)
    _, again = fit(tmp_path, checkpoint_every_steps=3)
    assert again.epochs == report.epochs
    assert again.facts["resumed_from"] == {"epoch": 3, "step": 0}


def test_a_broken_checkpoint_is_said_and_not_continued(tmp_path, caplog):
    fit(tmp_path)
    path = tmp_path / "checkpoints" / FILE_NAME
    path.write_bytes(path.read_bytes()[:-100])
    _, report = fit(tmp_path)
    assert report.facts["resumed_from"] is None
    assert "is not a whole checkpoint" in report.facts["checkpoint_refused"]
    assert "training starts anew" in caplog.text


class Diverging(Sasrec):
    """Loses its mind at the fifth batch."""

    calls = 0

    def forward(self, batch):
        self.calls += self.training
        loss = super().forward(batch)
        return loss * math.nan if self.calls == 5 else loss


def test_a_loss_that_is_no_number_stops_and_leaves_the_last_checkpoint(tmp_path):
    world = worlds.chain(num_users=80)
    settings = LoopSettings(tokens_per_batch=400, max_history=15, checkpoint_every_steps=2)
    model = Diverging(SasrecConfig(width=16, hidden_width=16, max_history=15), 30)
    with pytest.raises(
        loop.TrainingDiverged,
        match=r"loss is nan at epoch 1, step 5: a batch of \[\d+, \d+\] \(rows, positions\) with"
        r" items \[0, .*the checkpoint in .* is from before\. Lower training.learning_rate \(now",
    ):
        loop.fit_model(model, world.split, Fitting(settings, checkpoints=tmp_path))
    kept = load_file(tmp_path / FILE_NAME)
    assert all(value.isfinite().all() for value in kept.values())
    state = loop.checkpoint_of(tmp_path, "")[1]
    assert "another fit" in state


def test_without_checkpoints_divergence_says_that_there_is_none():
    world = worlds.chain(num_users=80)
    settings = LoopSettings(tokens_per_batch=400, max_history=15)
    model = Diverging(SasrecConfig(width=16, hidden_width=16, max_history=15), 30)
    with pytest.raises(loop.TrainingDiverged, match="no checkpoint was asked for"):
        loop.fit_model(model, world.split, Fitting(settings))


def test_training_stops_when_nothing_improves_and_keeps_the_best(tmp_path, monkeypatch):
    values = iter([0.1, 0.3, 0.2, 0.25, 0.9])
    seen = []

    def validate(model, *_):
        seen.append({name: value.clone() for name, value in model.state_dict().items()})
        return {"validation": next(values)}

    monkeypatch.setattr("training.fit.objective.validate", validate)
    model, report = fit(tmp_path, max_epochs=10, patience_epochs=2)
    assert len(report.epochs) == 4
    assert report.facts["best_epoch"] == 2
    assert report.facts["best_validation"] == 0.3
    assert report.facts["stopped_because"] == "no better validation for 2 epochs"
    assert equal(model.state_dict(), seen[1])


def test_patience_is_not_lost_in_the_warm_up(tmp_path, monkeypatch):
    monkeypatch.setattr("training.fit.objective.validate", lambda *_: {"validation": 0.0})
    found = {
        steps: len(
            fit(tmp_path / str(steps), max_epochs=9, patience_epochs=2, warmup_steps=steps)[
                1
            ].epochs
        )
        for steps in (0, 30, 10_000)
    }
    assert found[0] == 3 < found[30] < found[10_000] == 9


@pytest.mark.parametrize(
    ("error", "num_epochs"),
    [(0.04, 3), (0.06, 7)],  # the first epoch beats the floor by 2.5 standard errors, and by 1.7
)
def test_patience_begins_when_an_epoch_clearly_beats_the_floor(
    tmp_path, monkeypatch, error, num_epochs
):
    values = iter([0.3, 0.29, 0.28, 0.31, 0.33, 0.32, 0.32])
    measured = {"validation_floor": 0.2, "validation_error": error}
    monkeypatch.setattr(
        "training.fit.objective.validate", lambda *_: {"validation": next(values), **measured}
    )
    _, report = fit(tmp_path, max_epochs=9, patience_epochs=2, warmup_steps=0)
    assert len(report.epochs) == num_epochs
    assert report.facts["stopped_because"] == "no better validation for 2 epochs"


def test_a_fit_at_the_floor_goes_on_to_its_last_epoch(tmp_path, monkeypatch):
    at_the_floor = {"validation": 0.02, "validation_floor": 0.02, "validation_error": 0.001}
    monkeypatch.setattr("training.fit.objective.validate", lambda *_: at_the_floor)
    _, report = fit(tmp_path, max_epochs=7, patience_epochs=2, warmup_steps=0)
    assert report.facts["stopped_because"] == "max_epochs"


def test_a_clip_that_cuts_most_gradients_is_told(tmp_path):
    _, report = fit(tmp_path / "tight", gradient_clip_factor=1e-3)
    assert report.epochs[-1]["clipped_share"] == 1
    assert len(report.facts["alarms"]) == 1
    assert report.facts["alarms"][0].startswith(
        "100% of the gradients after the warm-up were longer than 0.001 times their mean"
        " (gradient_clip_factor), expected at most 10%"
    )
    _, report = fit(tmp_path / "wide", gradient_clip_factor=1e3)
    assert report.epochs[-1]["clipped_share"] == 0
    assert report.facts["alarms"] == []


def test_steps_of_the_warm_up_may_be_clipped(tmp_path):
    _, report = fit(tmp_path, gradient_clip_factor=1e-3, warmup_steps=10_000)
    assert all(epoch["clipped_share"] == 0 for epoch in report.epochs)
    assert report.facts["alarms"] == []


def test_a_smaller_validation_loss_is_better(tmp_path, monkeypatch):
    values = iter([0.3, 0.1, 0.2])
    monkeypatch.setattr("training.fit.objective.validate", lambda *_: {"validation": next(values)})
    _, report = fit(tmp_path, validation_metric="loss")
    assert report.facts["best_epoch"] == 2
    assert report.facts["stopped_because"] == "max_epochs"


@pytest.mark.parametrize("metric", ["loss", "ndcg@10"])
def test_without_validation_targets_the_last_epoch_is_kept(metric):
    world = worlds.chain(num_users=40)
    nobody = world.split.validation.where(world.split.validation.user < 0)
    settings = LoopSettings(
        max_epochs=3, patience_epochs=1, max_history=15, validation_metric=metric
    )
    config = SasrecConfig(width=16, hidden_width=16)
    _, report = fit_sasrec(
        replace(world.split, validation=nobody), config, Fitting(settings), world.vocabulary
    )
    assert report.facts["best_epoch"] == 3
    assert report.facts["best_validation"] is None
    assert all("validation" not in epoch for epoch in report.epochs)


def test_the_validation_loss_is_that_of_the_targets():
    world = worlds.chain(num_users=10)
    settings = LoopSettings(max_epochs=1, max_history=40, validation_metric="loss")
    config = SasrecConfig(width=16, hidden_width=16)
    model, report = fit_sasrec(world.split, config, Fitting(settings), world.vocabulary)
    validation, total = world.split.validation, 0.0
    for user, position in zip(validation.user, validation.position, strict=True):
        first = validation.histories.offsets[user]
        items = torch.from_numpy(validation.histories.items[first : first + position + 1]).long()
        with torch.no_grad():
            scores_V = model.encode(items[None, :-1])[0, -1] @ model.items_VD.T
        total -= float(scores_V.log_softmax(0)[items[-1]])
    assert report.epochs[0]["validation"] == pytest.approx(total / 10, rel=1e-5)


def test_a_cpu_trains_uncompiled_whatever_is_asked_and_says_so():
    world = worlds.chain(num_users=10)
    settings = LoopSettings(max_epochs=1, max_history=20, compile_backbone=True)
    config = SasrecConfig(width=16, backbone="hstu")
    _, report = fit_sasrec(world.split, config, Fitting(settings), world.vocabulary)
    assert report.facts["compiled"] is False


def test_each_epoch_reports_its_curves(tmp_path):
    _, report = fit(tmp_path)
    assert [epoch["epoch"] for epoch in report.epochs] == [1, 2, 3]
    for epoch in report.epochs:
        assert epoch["targets"] == 80 * 22
        assert 0 <= epoch["padding_share"] < 0.2
        assert epoch["tokens_per_second"] > 0
        assert 0 < epoch["learning_rate"] <= 1e-3
        assert epoch["gradient_norm"] > 0
        assert epoch["validation_error"] > 0
        assert 0 < epoch["validation_floor"] < 1
    assert report.facts["precision"] == "float32"
    assert report.facts["parameters"] > 0
    assert 0 < report.facts["validation_share"] < 1


def test_the_learning_rate_rises_then_falls():
    shares = [learning_rate_share(step, warmup_steps=10, num_steps=100) for step in range(120)]
    assert shares[:10] == sorted(shares[:10])
    assert max(shares) == shares[10] == 1.0
    assert shares[10:] == sorted(shares[10:], reverse=True)
    assert shares[100:] == pytest.approx([0.05] * 20)
    assert learning_rate_share(0, warmup_steps=0, num_steps=0) == 1.0


def test_vectors_are_not_decayed():
    model = torch.nn.Linear(3, 2)
    groups = make_optimizer(model, LoopSettings(weight_decay=0.5)).param_groups
    decays = {group["params"][0].dim(): group["weight_decay"] for group in groups}
    assert decays == {2: 0.5, 1: 0.0}


def test_the_core_can_be_imported_first_and_alone_on_a_bare_machine():
    """The loop's import is the one that a cycle would break; the rest are not installed there."""
    code = (
        "import sys, training.fit.loop, training.models\n"
        "absent = {'pydantic', 'mlflow', 'pandas', 'rich', 'click', 'airflow'} & set(sys.modules)\n"
        "ours = {name for name in sys.modules if name.startswith('feature_store.')}\n"
        "known = ('installed', 'features', 'feature_codes')\n"  # standard library and pyarrow alone
        "absent |= ours - {f'feature_store.{name}' for name in known}\n"
        "sys.exit(', '.join(absent) or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
