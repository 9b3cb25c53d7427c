"""What a fit of groupce warns of: each shown on a case that is made for it."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.impressions_world import world
from training.fit.fitting import Fitting, LoopSettings
from training.losses.listwise import Groups, hardness
from training.models.families import family_of
from training.models.groupce.alarms import alarms, cold_users
from training.models.groupce.model import Groupce
from training.models.groupce.ranking_loss import expected_informative_share
from training.models.groupce.roster import Roster
from training.models.groupce.user_codes import UserCodes
from training.settings.groupce import GroupceConfig

CONFIG = GroupceConfig(levels=2, codes=4)
WELL = {
    "informative_share_1": 1.0,
    "informative_share_2": 0.6,
    "median_group_1": 200.0,
    "median_group_2": 20.0,
    "hardness_1": 0.4,
    "hardness_2": 0.5,
    "code_perplexity_1": 0.9,
    "code_perplexity_2": 0.8,
    "dead_codes_1": 0.0,
    "dead_codes_2": 0.0,
    "largest_code_1": 0.3,
    "largest_code_2": 0.3,
    "churn_1": 0.1,
    "quantisation_error": 0.3,
    "validation_copc": 1.02,
    "validation_logloss": 0.5,
    "validation_logloss_floor": 0.6,
}


@pytest.fixture(scope="module")
def tribes():
    return world(num_users=30)


def fitted(tribes, **changes):
    """Alarms and curves of a short fit."""
    loop = {"max_epochs": 3, "tokens_per_batch": 128, "max_history": 20, "learning_rate": 1e-2}
    names = ("max_epochs", "tokens_per_batch", "learning_rate")
    loop |= {name: changes.pop(name) for name in names if name in changes}
    settings = LoopSettings(validation_metric="gauc", warmup_steps=2, patience_epochs=9, **loop)
    family = family_of("groupce")
    shape = {"field_width": 8, "hidden_width": 16, "levels": 2, "codes": 3, "network": "deepfm"}
    config = family.configure(shape | changes)
    _, report = family.fit(tribes.split, config, Fitting(settings), tribes.vocabulary, tribes.data)
    return report.facts["alarms"], report.epochs, report.facts


def test_nothing_is_said_where_all_is_well():
    assert alarms([WELL, WELL], CONFIG, logloss_only=0.51) == []
    assert alarms([], CONFIG) == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"code_perplexity_2": 0.4, "dead_codes_2": 2.0},
            "codes of level 2 have collapsed: .* 40%",
        ),
        ({"informative_share_2": 0.1}, "groups of level 2 are too sparse: 10% of the rows"),
        ({"validation_copc": 1.3}, "calibration is lost: 1.30 times as many clicks"),
        ({"validation_copc": 0.8}, "calibration is lost: 0.80 times as many clicks"),
        ({"validation_logloss": 0.61}, "probabilities are worth nothing: LogLoss is 0.6100"),
        ({"quantisation_error": 0.5}, r"drift away from their codes: .* is 50.0% .* was 30.0%"),
        ({"churn_1": 0.6}, "60% of the users have another first code than an epoch ago"),
        ({"hardness_2": 0.4}, r"not harder where users are more alike: .* 0.4000, 0.4000"),
    ],
)
def test_each_is_said_once(changes, said):
    [sentence] = alarms([WELL, WELL | changes], CONFIG)
    assert re.search(said, sentence)


def test_a_ranking_loss_that_costs_log_loss_is_known_from_a_fit_without_it():
    [sentence] = alarms([WELL], CONFIG, logloss_only=0.49)
    assert "LogLoss is 0.5000, and 0.4900 without it; lower ranking_weight" in sentence


def test_users_who_are_alike_collapse_into_one_code(tribes):
    nobody = replace(
        tribes, impressions=replace(tribes.impressions, user_NF=0 * tribes.impressions.user_NF)
    )
    said, curves, _ = fitted(nobody)
    assert curves[-1]["largest_code_1"] == 1.0
    assert [s for s in said if "codes of level 1 have collapsed: perplexity is 33%" in s]


def test_too_many_codes_for_a_batch_are_said_before_and_after(tribes, caplog):
    many = world(num_users=600, each=4)
    said, curves, facts = fitted(many, levels=3, codes=16, tokens_per_batch=32, max_epochs=1)
    assert curves[-1]["informative_share_3"] < 0.2
    assert [s for s in said if "groups of level 3 are too sparse" in s]
    [before] = [s for s in said if s.startswith("batches of 32 impressions and 16 codes")]
    assert "4,096 possible groups" in before and before in caplog.text
    shares = facts["expected_informative_shares"]
    assert shares == sorted(shares, reverse=True) and shares[2] < 0.05
    small, _, _ = fitted(tribes, levels=1, codes=3)
    assert not [s for s in small if "possible groups" in s]


def test_shares_that_are_expected_are_those_of_uniform_codes():
    draw = torch.Generator().manual_seed(0)
    for rows, groups, share in ((1024, 512, 0.3), (512, 64, 0.1), (256, 1000, 0.5)):
        found = []
        for _ in range(60):
            labels_B = torch.rand(rows, generator=draw) < share
            group_B = torch.randint(groups, (rows,), generator=draw)
            found.append(float(Groups.of(labels_B, group_B, groups).counts_B.float().mean()))
        assert expected_informative_share(rows, groups, share) == pytest.approx(
            np.mean(found), abs=0.02
        )


def test_a_ranking_loss_without_groups_in_its_batches_is_said(tribes):
    said, curves, _ = fitted(tribes, ranking_loss="listce_user", tokens_per_batch=8)
    assert curves[-1]["informative_share_1"] < 0.2
    assert [s for s in said if "lists are too sparse" in s and "by_user" in s]
    said, curves, _ = fitted(tribes, ranking_loss="listce_user", batches="by_user")
    assert curves[-1]["informative_share_1"] > 0.8
    assert not [s for s in said if "too sparse" in s]


def test_a_ranking_loss_that_outweighs_the_log_loss_loses_calibration(tribes):
    heavy, curves, _ = fitted(
        tribes, ranking_loss="softmax", ranking_weight=300.0, max_epochs=5, learning_rate=3e-2
    )
    assert [s for s in heavy if "calibration is lost" in s or "are worth nothing" in s], curves[-1]
    # A fit by LogLoss alone on the same data is what it is held against, too.
    _, alone, _ = fitted(tribes, ranking_loss="none", max_epochs=5, learning_rate=3e-2)
    against = alarms(curves, CONFIG, logloss_only=alone[-1]["validation_logloss"])
    assert [s for s in against if "costs calibration" in s]


def test_users_who_move_on_drift_away_from_codebooks_that_stay():
    torch.manual_seed(0)
    users, codes = 3 * torch.randn(40, 6), UserCodes(2, 4, 6, decay=0.999, expiry=0.0)
    codes.begin(users)
    roster = Roster(codes, np.arange(40, dtype=np.int32)[:, None], np.ones(40, dtype=bool))
    curves = []
    for move in (0.0, 0.1, 4.0):
        moved = users.flip(0) * move + users
        curves.append(WELL | roster.end_epoch(lambda numbers, at=moved: at[numbers[:, 0].long()]))
    assert curves[-1]["quantisation_error"] > 1.5 * curves[0]["quantisation_error"]
    said = alarms(curves, CONFIG)
    assert [s for s in said if "drift away from their codes" in s]
    assert [s for s in said if "another first code" in s]


def test_codes_that_do_not_say_who_is_alike_make_nothing_harder():
    """Rows whose scores follow a tribe: within it they are hard to tell apart, at random not."""
    draw = torch.Generator().manual_seed(0)
    tribe_B = torch.randint(8, (4000,), generator=draw)
    logits_B = 3 * torch.linspace(-1, 1, 8)[tribe_B] - 1 + 0.1 * torch.randn(4000, generator=draw)
    labels_B = torch.rand(4000, generator=draw) < logits_B.sigmoid()
    whole = float(hardness(logits_B, Groups.one(labels_B)))
    by_tribe = float(hardness(logits_B, Groups.of(labels_B, tribe_B, 8)))
    shuffled_B = tribe_B[torch.randperm(4000, generator=draw)]
    at_random = float(hardness(logits_B, Groups.of(labels_B, shuffled_B, 8)))
    assert by_tribe > 1.1 * whole
    assert alarms([WELL | {"hardness_1": whole, "hardness_2": by_tribe}], CONFIG) == []
    for hard in (at_random, 0.99 * whole):
        assert hard < 1.05 * whole
    [sentence] = alarms([WELL | {"hardness_1": whole, "hardness_2": 0.99 * whole}], CONFIG)
    assert "not harder" in sentence


def test_cold_users_who_are_left_behind():
    gauc = {"at_most_20": 0.55, "more_than_50": 0.68}
    said = cold_users(gauc, "at_most_20", "more_than_50")
    assert said.startswith("GAUC of at_most_20 is 0.5500, of more_than_50 0.6800")
    assert cold_users(gauc | {"at_most_20": 0.6}, "at_most_20", "more_than_50") == ""
    assert cold_users({"more_than_50": 0.6}, "at_most_20", "more_than_50") == ""


def test_a_model_without_users_watches_no_codes(tribes):
    model = Groupce(GroupceConfig(ranking_loss="listce"), tribes.impressions.features)
    model.prepare(np.zeros((30, 3), dtype=np.int32), np.ones(30, dtype=bool))
    assert model.roster is None and model.codes is None
