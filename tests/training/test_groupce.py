"""groupce: three networks and eight ranking losses, fitted, kept and asked."""

import math
import os
import subprocess
import sys
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from benchmarks.clicks import features_of, impressions_of
from tests.impressions_world import world
from tests.suites.ranker import RankerSuite
from tests.training import groupce_processes
from tests.worlds import histories_of
from training import inference
from training.data.histories import DAY, SECOND
from training.data.queries import PAD, Queries
from training.data.splits import split_leave_last_out, split_random
from training.fit.fitting import Fitting, LoopSettings, Observer
from training.models import weights
from training.models.families import family_of
from training.models.groupce.batches import (
    Rows,
    ends_before,
    last_items,
    of_known_values,
    order_of,
    split_impressions,
)
from training.models.groupce.model import Groupce
from training.models.groupce.objective import ImpressionObjective, chosen_users
from training.models.groupce.ranking_loss import click
from training.settings.groupce import GroupceConfig

SMALL = {"field_width": 8, "hidden_width": 16, "levels": 2, "codes": 3}
LOOP = LoopSettings(
    max_epochs=6,
    tokens_per_batch=64,
    max_history=20,
    validation_metric="gauc",
    learning_rate=1e-2,
    warmup_steps=5,
    patience_epochs=9,
)
LOSSES = (
    "none",
    "pairwise_batch",
    "pairwise_user",
    "softmax",
    "listce",
    "listce_user",
    "jrc",
    "groupce",
)


@pytest.fixture(scope="module")
def tribes():
    return world()


def rows_of(model, impressions, histories):
    reads = histories if model.backbone.reads_history else None
    return Rows.of(impressions, model.config.positive_strength, reads, model.config.max_history)


def model_of(tribes, **settings):
    torch.manual_seed(0)
    config = GroupceConfig(**(SMALL | {"max_history": 20} | settings))
    return Groupce(config, tribes.impressions.features)


def batch_of(model, tribes, rows):
    histories = tribes.split.test.histories
    return rows_of(model, tribes.impressions, histories).batch(np.array(rows), len(rows))


class GroupceSuite(RankerSuite):
    family = "groupce"
    settings: ClassVar[dict] = SMALL

    @pytest.fixture(scope="class")
    def world(self):
        return world(num_users=30)

    def said(self, model, world, rows):
        batch = rows_of(model, world.impressions, world.split.test.histories).batch(rows, len(rows))
        network = model.eval().backbone
        with torch.no_grad():
            item_BD = network.item(batch.item_BF, batch.context_BF, batch.history_BLF)
            return click(network(network.user(batch.user_BF), item_BD)).sigmoid().numpy()

    def test_every_parameter_learns(self, world):
        torch.manual_seed(0)
        model = model_of(world, **self.settings).train()
        batch = batch_of(model, world, range(0, 300, 2))
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
        for _ in range(2):  # weights of levels begin where they have no gradient
            optimizer.zero_grad()
            model(batch).backward()
            optimizer.step()
        silent = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
        assert silent == []

    def test_one_batch_can_be_learnt_by_heart(self, world):
        torch.manual_seed(0)
        model = model_of(world, **self.settings, dropout=0.0, ranking_loss="none").train()
        batch = batch_of(model, world, range(0, 120, 3))
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.0)
        losses = []
        for _ in range(150):
            loss = model(batch)
            losses.append(float(loss.detach()))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        assert losses[-1] < 0.1 * losses[0]


class TestDcnV2(GroupceSuite):
    settings: ClassVar[dict] = SMALL | {"network": "dcn_v2"}


class TestDeepFm(GroupceSuite):
    settings: ClassVar[dict] = SMALL | {"network": "deepfm"}


class TestDin(GroupceSuite):
    settings: ClassVar[dict] = SMALL | {"network": "din"}

    def test_events_of_the_questions_own_second_are_not_read(self, fitted, queries, candidates):
        last = queries.times_BL[5, 4]
        at_once = replace(
            queries, asked_at_B=np.where(np.arange(21) == 5, last, queries.asked_at_B)
        )
        without = replace(
            at_once,
            items_BL=np.where(queries.times_BL >= at_once.asked_at_B[:, None], 7, queries.items_BL),
        )
        np.testing.assert_array_equal(
            inference.rank(fitted, at_once, candidates)[5],
            inference.rank(fitted, without, candidates)[5],
        )


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_learns_whose_kind_an_item_is(tribes, loss):
    config = family_of("groupce").configure(SMALL | {"network": "deepfm", "ranking_loss": loss})
    model, report = family_of("groupce").fit(
        tribes.split, config, Fitting(LOOP), tribes.vocabulary, tribes.data
    )
    assert report.epochs[-1]["validation_gauc"] > 0.85
    assert report.facts["best_validation"] == max(e["validation"] for e in report.epochs)
    points = report.epochs[-1]
    assert ("loss_level_1" in points) == (loss != "none")
    assert ("code_perplexity_2" in points) == (loss == "groupce")
    assert model.sizes["features"]["counting"]["history_events"] == 20


def test_codes_are_the_tribes(tribes):
    config = family_of("groupce").configure(SMALL | {"network": "deepfm"})
    model, report = family_of("groupce").fit(
        tribes.split, config, Fitting(LOOP), tribes.vocabulary, tribes.data
    )
    assert report.epochs[-1]["code_perplexity_1"] > 0.95
    features = tribes.impressions.features
    user_UF = torch.from_numpy(features.user_UF)
    with torch.no_grad():
        code_U = model.codes.assign(model.backbone.user(user_UF)).codes_BQ[:, 0].numpy()
    by_tribe = [np.bincount(code_U[tribe::3], minlength=3).max() / 20 for tribe in range(3)]
    assert min(by_tribe) >= 0.9 and len(set(code_U[:3])) == 3


@pytest.mark.parametrize("by", ["auc", "logloss", "loss"])
def test_what_may_stop_a_fit(tribes, by):
    config = family_of("groupce").configure(SMALL | {"ranking_loss": "none"})
    loop = replace(LOOP, max_epochs=1, validation_metric=by)
    _, report = family_of("groupce").fit(
        tribes.split, config, Fitting(loop), tribes.vocabulary, tribes.data
    )
    [points] = report.epochs
    name = "logloss" if by == "loss" else by
    assert points["validation"] == points[f"validation_{name}"]
    assert points["validation_floor"] == pytest.approx(
        0.5 if by == "auc" else points["validation_logloss_floor"]
    )


class _Killed(Exception):
    pass


class _Killer(Observer):
    def __init__(self, epoch, step):
        self.when = (epoch, step)

    def on_step(self, epoch, step, num_steps, loss):
        if (epoch, step) == self.when:
            raise _Killed


@pytest.mark.parametrize("batches", ["shuffled", "by_prefix"])
def test_a_killed_fit_goes_on_to_the_same_weights(tribes, tmp_path, batches):
    loop = replace(LOOP, max_epochs=3, checkpoint_every_steps=5)
    config = family_of("groupce").configure(SMALL | {"batches": batches})

    def fit(folder, *observers):
        fitting = Fitting(loop, checkpoints=folder, observers=observers)
        return family_of("groupce").fit(
            tribes.split, config, fitting, tribes.vocabulary, tribes.data
        )

    whole, report = fit(tmp_path / "whole")
    with pytest.raises(_Killed):
        fit(tmp_path / "killed", _Killer(1, 13))
    again, resumed = fit(tmp_path / "killed")
    assert resumed.facts["resumed_from"] == {"epoch": 1, "step": 10}
    for name, value in whole.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name
    for one, other in zip(report.epochs, resumed.epochs, strict=True):
        assert {k: v for k, v in one.items() if "second" not in k} == {
            k: v for k, v in other.items() if "second" not in k
        }


def test_a_fit_begins_with_earlier_weights_by_field_and_value(tribes, tmp_path):
    family = family_of("groupce")
    config = family.configure(SMALL)
    fitting = Fitting(replace(LOOP, max_epochs=1))
    earlier, _ = family.fit(tribes.split, config, fitting, tribes.vocabulary, tribes.data)
    weights.save(earlier, tmp_path)
    grown = world(num_users=70, num_items=33)  # more people and items: every offset moves
    loop = replace(LOOP, max_epochs=1, learning_rate=1e-12, weight_average_decay=0.0)
    path = weights.tensors_path(tmp_path, "groupce")
    begun, _ = family.fit(
        grown.split, config, Fitting(loop, first_weights=path), grown.vocabulary, grown.data
    )
    old, new = earlier.table, begun.table
    for place, field in enumerate(old.fields):
        first, then = int(old.offsets_F[place]), int(new.offsets_F[place])
        torch.testing.assert_close(
            new.rows_NE[then : then + field.size], old.rows_NE[first : first + field.size]
        )
    torch.testing.assert_close(begun.backbone.head.weight, earlier.backbone.head.weight)
    other = family.configure(SMALL | {"hidden_width": 8})
    with pytest.raises(ValueError, match=r"is of another model: .*weight is \[8, .*16"):
        family.fit(
            grown.split, other, Fitting(loop, first_weights=path), grown.vocabulary, grown.data
        )


def test_the_quantised_loss_stops_at_items_and_where_asked_at_the_main_network(tribes):
    for trains_main in (True, False):
        model = model_of(tribes, quantised_trains_main=trains_main).train()
        batch = batch_of(model, tribes, range(0, 400, 4))
        network = model.backbone
        user_BD = network.user(batch.user_BF)
        item_BD = network.item(batch.item_BF, batch.context_BF, None)
        loss = model._quantised_loss(
            user_BD, torch.zeros_like(user_BD), item_BD, batch.labels_B.float()
        )
        loss.backward()
        touched = {name for name, p in model.named_parameters() if p.grad is not None}
        assert not [name for name in touched if "item_tower" in name]
        assert [name for name in touched if "user_tower" in name]
        assert bool([name for name in touched if "crosses" in name]) == trains_main
        items = slice(int(model.table.offsets_F[3]), None)
        assert not model.table.rows_NE.grad[items].any()
        assert model.table.rows_NE.grad[: items.start].any()


def test_rows_are_grouped_by_the_codes_of_the_epoch_before(tribes):
    for codes_of in ("epoch", "step"):
        model = model_of(tribes, codes_of=codes_of).train()
        rows = np.arange(0, len(tribes.impressions), 7)
        user_UF = tribes.impressions.features.user_UF
        model.prepare(user_UF, np.ones(60, dtype=bool))
        batch = batch_of(model, tribes, rows)
        user_BD = model.backbone.user(batch.user_BF)
        first_BQ, _ = model._coded(model.codes, user_BD, batch)
        assert model.roster.numbers() is None and len(first_BQ.unique()) > 1
        model.end_epoch(lambda values: values)
        kept_BQ = model.roster.codes_of(batch.user_B, first_BQ)
        model.codes.codebooks_QKD.copy_(model.codes.codebooks_QKD.flip(1))  # all codes change
        now_BQ = model.codes.assign(user_BD).codes_BQ
        assert not torch.equal(now_BQ, kept_BQ)
        then_BQ, _ = model._coded(model.codes, user_BD, batch)
        assert torch.equal(then_BQ, kept_BQ if codes_of == "epoch" else now_BQ)


def test_batches_of_users_hold_all_of_theirs_and_each_row_once_an_epoch(tribes):
    model = model_of(tribes, batches="by_user", ranking_loss="listce_user")
    train = rows_of(model, tribes.impressions, None)
    objective = ImpressionObjective(model, train, train, replace(LOOP, tokens_per_batch=400))
    for world_size in (1, 2):
        seen, shared = [], 0
        for parts in zip(
            *(
                objective.batches(1, first_step=0, rank=rank, world_size=world_size)
                for rank in range(world_size)
            ),
            strict=True,
        ):
            seen += [part.user_B.numpy() for part in parts]
            assert sum(len(part) for part in parts) == parts[0].num_targets
            shared += sum(len(np.unique(part.user_B)) for part in parts)
        assert (np.bincount(np.concatenate(seen)) == 40).all()
        assert shared <= 60 + 2 * len(seen)  # a user is cut where a batch ends, not else


def test_batches_by_prefix_come_after_the_first_epoch(tribes):
    model = model_of(tribes, batches="by_prefix")
    train = rows_of(model, tribes.impressions, None)
    objective = ImpressionObjective(model, train, train, replace(LOOP, tokens_per_batch=240))
    model.prepare(tribes.impressions.features.user_UF, np.ones(60, dtype=bool))

    def prefixes_of_a_batch(epoch):
        codes = model.roster._codes_UQ[:, 0].numpy()
        batches = objective.batches(epoch, first_step=0, rank=0, world_size=1)
        return np.mean([len(np.unique(codes[batch.user_B.numpy()])) for batch in batches])

    assert objective._groups() is None
    model.train()(next(iter(objective.batches(0, first_step=0, rank=0, world_size=1))))
    model.end_epoch(lambda values: values)
    together = prefixes_of_a_batch(1)
    model.config = replace(model.config, batches="shuffled")
    assert together < prefixes_of_a_batch(1)


def test_an_epoch_is_an_order_of_its_own():
    one, two = (order_of(0, epoch, 50, None) for epoch in (0, 1))
    assert (np.sort(one) == np.arange(50)).all() and (one != two).any()
    np.testing.assert_array_equal(one, order_of(0, 0, 50, None))
    groups_N = np.arange(50) % 7
    grouped = groups_N[order_of(0, 0, 50, groups_N)]
    assert (np.diff(grouped) != 0).sum() == 6


def test_a_history_ends_before_the_second_of_the_impression():
    histories = histories_of([[5, 6, 7, 8], [], [9, 4]])
    user_N = np.array([0, 0, 1, 2, 2])
    time_N = np.array([2, 9, 5, 0, 1]) * SECOND + np.array([999, 0, 0, 0, 0])
    end_N = ends_before(histories, user_N, time_N)
    items = last_items(histories, user_N, end_N, 3)
    assert items.tolist() == [
        [5, 6, PAD],
        [6, 7, 8],
        [PAD, PAD, PAD],
        [PAD, PAD, PAD],
        [9, PAD, PAD],
    ]


def test_impressions_are_split_where_events_are(tribes):
    train, validation = split_impressions(tribes.impressions, tribes.split)
    assert len(train) == tribes.split.train.num_events
    until = (date.fromisoformat(tribes.split.facts["train_until"]) - date(1970, 1, 1)).days * DAY
    assert train.time.max() < until <= validation.time.min()
    held = tribes.split.test.times.min()
    assert validation.time.max() < held
    assert len(train) + len(validation) + len(tribes.split.test) == len(tribes.impressions)


def test_impressions_of_a_random_split_are_where_their_events_are(tribes):
    histories = tribes.split.test.histories
    split = split_random(histories, positive_strength=2)
    train, validation = split_impressions(tribes.impressions, split)
    np.testing.assert_array_equal(train.time, split.train.times)
    np.testing.assert_array_equal(train.item, split.train.items)
    np.testing.assert_array_equal(validation.item, split.validation.items)
    np.testing.assert_array_equal(validation.user, split.validation.user)


def test_values_that_are_met_too_late_for_training_validate_as_unknown(tribes):
    """As a model that serves sees them: features are those of the day that training ends with."""
    item_NF = tribes.impressions.item_NF.copy()
    until = (date.fromisoformat(tribes.split.facts["train_until"]) - date(1970, 1, 1)).days * DAY
    is_late_N = tribes.impressions.time >= until
    item_NF[is_late_N, 0] = 77
    late = replace(tribes.impressions, item_NF=item_NF)
    known = of_known_values(late)
    assert not known.item_NF[is_late_N, 0].any()
    np.testing.assert_array_equal(known.item_NF[~is_late_N], item_NF[~is_late_N])
    np.testing.assert_array_equal(known.user_NF, late.user_NF)
    config = family_of("groupce").configure(SMALL | {"ranking_loss": "none"})
    loop = replace(LOOP, max_epochs=1)
    data = {"impressions": late}
    _, report = family_of("groupce").fit(
        tribes.split, config, Fitting(loop), tribes.vocabulary, data
    )
    assert math.isfinite(report.epochs[0]["validation_gauc"])


def test_impressions_of_the_last_events_are_held_out():
    histories = histories_of([[1, 2, 3, 4], [5, 6], [7, 8, 9]])
    user_ids = histories.user_ids
    features = features_of(np.array([0, 1, 0]), np.arange(10) % 3, user_ids)
    train, validation = split_impressions(
        impressions_of(histories, features), split_leave_last_out(histories)
    )
    assert train.item.tolist() == [1, 2, 5, 6, 7]
    assert validation.item.tolist() == [3, 8]


def test_whole_users_validate(tribes):
    model = model_of(tribes)
    rows = rows_of(model, tribes.impressions, None)
    few = chosen_users(rows, 170)
    assert len(few) == 160 and (np.unique(few.impressions.user, return_counts=True)[1] == 40).all()
    assert len(chosen_users(rows, 3)) == 40  # one user at least
    assert chosen_users(rows, len(rows)) is rows


def test_evaluation_says_the_log_loss_alone(tribes):
    model = model_of(tribes)
    batch = batch_of(model, tribes, range(50))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with torch.no_grad():
        loss = model.eval()(batch)
    logits = np.log(2) * 50
    assert float(loss) == pytest.approx(logits, rel=0.1)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_batch_of_one_label_teaches_the_log_loss(tribes):
    negative = np.flatnonzero(tribes.impressions.strength < 2)[:64]
    for loss in LOSSES:
        model = model_of(tribes, ranking_loss=loss, quantised_weight=0.0, dropout=0.0).train()
        batch = batch_of(model, tribes, negative)
        assert not batch.labels_B.any()
        total = model(batch)
        total.backward()
        with torch.no_grad():
            alone = float(model.eval()(batch))
        assert float(total.detach()) == pytest.approx(alone, rel=1e-5)
        assert math.isfinite(float(model.table.rows_NE.grad.abs().max()))


@pytest.mark.parametrize("loss", LOSSES)
def test_a_process_without_rows_goes_on_with_the_others(tribes, loss):
    model = model_of(tribes, ranking_loss=loss).train()
    model(batch_of(model, tribes, range(0, 2400, 30)))
    nothing = model(batch_of(model, tribes, np.empty(0, dtype=np.int64)))
    nothing.backward()
    assert float(nothing.detach()) == 0.0
    assert model.table.rows_NE.grad is not None and not model.table.rows_NE.grad.any()


def test_a_level_that_no_row_informs_counts_nothing(tribes):
    # As many codes as people, or more: the deepest groups hold one user with one row.
    model = model_of(tribes, levels=3, codes=64).train()
    batch = batch_of(model, tribes, range(0, 2400, 40))
    loss = model(batch)
    loss.backward()
    assert math.isfinite(float(loss.detach()))
    has_begun = model.ranking.weights.has_begun_Q.tolist()
    gradient = model.ranking.weights.log_sigma_Q.grad
    assert not has_begun[-1] and float(gradient[-1]) == 0.0
    points = model.end_epoch(lambda values: values)
    assert points["informative_share_3"] == 0.0 and points["loss_level_3"] == 0.0


def test_users_who_are_all_in_one_code_are_one_group(tribes):
    model = model_of(tribes).train()
    rows = np.arange(0, 2400, 9)
    one = replace(
        tribes, impressions=replace(tribes.impressions, user_NF=0 * tribes.impressions.user_NF)
    )
    loss = model(batch_of(model, one, rows))
    loss.backward()
    assert math.isfinite(float(loss.detach()))
    points = model.end_epoch(lambda values: values)
    assert points["users_per_group_1"] == pytest.approx(60, abs=1)


def test_values_that_were_never_seen_have_the_unknown_vector(tribes):
    model = model_of(tribes).eval()
    queries = Queries.at(
        tribes.split.test.histories, np.arange(3), np.full(3, 5), max_history=20, exclude_seen=False
    )
    strangers = replace(queries, user_ids_B=np.array(["x", "y", ""], dtype=object))
    codes_BF = model.features.user_codes(strangers)
    assert not codes_BF[:, :2].any()
    assert np.isfinite(inference.rank(model, strangers, np.zeros((3, 1), dtype=int))).all()


class TestRefusals:
    def fit(self, tribes, loop=LOOP, impressions=None, data=None, **settings):
        family = family_of("groupce")
        held = tribes.impressions if impressions is None else impressions
        return family.fit(
            tribes.split,
            family.configure(SMALL | settings),
            Fitting(loop),
            tribes.vocabulary,
            {"impressions": held} if data is None else data,
        )

    def test_no_impressions(self, tribes):
        with pytest.raises(ValueError, match="there are none; run build_impressions for the day"):
            self.fit(tribes, data={})
        none = tribes.impressions.where(np.zeros(2400, dtype=bool))
        with pytest.raises(ValueError, match="no impression may be trained on"):
            self.fit(tribes, impressions=none)

    @pytest.mark.parametrize(("strength", "which"), [(3, "positive"), (0, "negative")])
    def test_one_label_only(self, tribes, strength, which):
        same = replace(tribes.impressions, strength=np.full(2400, strength, dtype=np.int8))
        with pytest.raises(ValueError, match=f"training impressions are {which}, expected both"):
            self.fit(tribes, impressions=same)

    def test_codes_beyond_a_field(self, tribes):
        item_NF = tribes.impressions.item_NF.copy()
        item_NF[7, 1] = 99
        with pytest.raises(
            ValueError, match=r"codes of item.kind go from 1 to 99, expected 0 to 3"
        ):
            self.fit(tribes, impressions=replace(tribes.impressions, item_NF=item_NF))

    def test_fewer_events_in_questions_than_are_counted(self, tribes):
        loop = replace(LOOP, max_history=10)
        with pytest.raises(
            ValueError, match=r"max_history is 10, and impressions count the last 20"
        ):
            self.fit(tribes, loop)

    def test_stopping_by_lists(self, tribes):
        loop = replace(LOOP, validation_metric="ndcg@10")
        with pytest.raises(
            ValueError, match=r"groupce can't stop by ndcg@10; set .* to auc or gauc"
        ):
            self.fit(tribes, loop)

    def test_prefixes_without_codes(self):
        with pytest.raises(ValueError, match=r"'by_prefix', and ranking_loss 'listce' gives users"):
            GroupceConfig(batches="by_prefix", ranking_loss="listce")


def test_two_processes_fit_one_model(tmp_path):
    script = Path(groupce_processes.__file__)
    root = script.parents[2]
    torchrun = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
    done = subprocess.run(
        [*torchrun, str(script), str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"},
        cwd=root,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for loss in groupce_processes.LOSSES:
        first, second = (load_file(tmp_path / f"{loss}-{rank}.safetensors") for rank in (0, 1))
        for name, value in first.items():
            if name != "points":  # the loop's own losses are summed, ours of an epoch, too
                assert torch.equal(value, second[name]), (loss, name)
    one, report = groupce_processes.fit("none", 128)
    two = load_file(tmp_path / "none-0.safetensors")
    for name, value in one.state_dict().items():
        torch.testing.assert_close(two[name], value, rtol=1e-3, atol=5e-4)
    losses = [epoch["loss_click"] for epoch in report.epochs]
    torch.testing.assert_close(two["points"][:, 0], torch.tensor(losses), rtol=1e-3, atol=1e-4)
