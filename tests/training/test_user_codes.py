"""Codes of users: codebooks that follow them, expire, and are kept."""

import numpy as np
import pytest
import torch

from training.models.groupce.user_codes import UserCodes, churn, occupancy, prefixes


def crowd(*, tribes=4, each=40, width=6, spread=0.05, seed=0):
    """Users around as many centres as there are tribes."""
    draw = torch.Generator().manual_seed(seed)
    centres = 3 * torch.randn((tribes, width), generator=draw)
    return (centres[:, None] + spread * torch.randn((tribes, each, width), generator=draw)).flatten(
        0, 1
    )


def codebooks(**changes):
    settings = {"num_levels": 2, "num_codes": 4, "width": 6, "decay": 0.9, "expiry": 0.02}
    settings |= changes
    levels, codes, width = (settings.pop(name) for name in ("num_levels", "num_codes", "width"))
    torch.manual_seed(0)
    return UserCodes(levels, codes, width, **settings)


def learn(codes, user_UD, steps):
    """Steps as a fit does them; codes that expired, by level."""
    expired_Q = 0
    for _ in range(steps):
        codes.begin(user_UD)
        expired_Q = expired_Q + codes.update(user_UD, codes.assign(user_UD).codes_BQ)
    return expired_Q


def test_the_first_level_finds_who_is_alike():
    users, codes = crowd(), codebooks()
    learn(codes, users, 3)
    found = codes.assign(users)
    tribes = found.codes_BQ[:, 0].view(4, 40)
    assert (tribes == tribes[:, :1]).all() and len(tribes[:, 0].unique()) == 4
    error = (found.quantised_BD - users).square().sum() / users.square().sum()
    assert float(error) < 0.01


def test_a_codeword_is_the_moving_average_of_its_users():
    users, codes = crowd(), codebooks(num_levels=1, expiry=0.0)
    codes.begin(users)
    count_K, sum_KD = codes.count_QK[0].clone(), codes.sum_QKD[0].clone()
    codes.num_updates.fill_(10_000)  # long after the first, which forget faster
    moved = users + 0.1
    codes_U1 = codes.assign(moved).codes_BQ
    codes.update(moved, codes_U1)
    for code in range(4):
        own = moved[codes_U1[:, 0] == code]
        count = 0.9 * count_K[code] + 0.1 * len(own)
        expected = (0.9 * sum_KD[code] + 0.1 * own.sum(0)) / count
        torch.testing.assert_close(codes.codebooks_QKD[0, code], expected, rtol=1e-4, atol=1e-4)


def test_a_code_that_nobody_has_any_more_expires_and_is_put_on_a_user():
    codes = codebooks(num_levels=1, decay=0.5, expiry=0.5)
    learn(codes, crowd(), 3)
    elsewhere = crowd(tribes=4, seed=9) + 40
    assert len(codes.assign(elsewhere).codes_BQ.unique()) < 4
    expired_Q = learn(codes, elsewhere, 12)
    assert int(expired_Q[0]) >= 1
    assert len(codes.assign(elsewhere).codes_BQ.unique()) == 4


def test_users_who_all_move_fast_at_first_keep_their_codes_apart():
    codes = codebooks(decay=0.99)
    for step in range(60):
        users = crowd() + 0.4 * step
        learn(codes, users, 1)
    assert occupancy(codes.assign(users).codes_BQ, 4)["code_perplexity_1"] > 0.7


def test_nothing_expires_where_all_codes_are_had():
    codes = codebooks(num_levels=1)
    assert int(learn(codes, crowd(), 40)[0]) == 0


def test_more_codes_than_users_work():
    codes = codebooks(num_codes=16)
    few = crowd(tribes=3, each=1)
    learn(codes, few, 5)
    found = codes.assign(few)
    assert len(found.codes_BQ[:, 0].unique()) == 3 and found.quantised_BD.isfinite().all()


def test_users_who_are_all_alike_get_one_code_and_numbers_stay_finite():
    codes, same = codebooks(), torch.ones(20, 6)
    learn(codes, same, 10)
    found = codes.assign(same)
    assert len(found.codes_BQ[:, 0].unique()) == 1  # what is left for a second is rounding
    torch.testing.assert_close(found.quantised_BD, same, rtol=1e-3, atol=1e-3)
    assert all(each.isfinite().all() for each in codes.buffers() if each.is_floating_point())
    assert occupancy(found.codes_BQ, 4)["code_perplexity_1"] == 0.25


def test_no_users_change_nothing():
    codes = codebooks()
    learn(codes, crowd(), 2)
    before = {name: value.clone() for name, value in codes.state_dict().items()}
    nobody = torch.zeros(0, 6)
    assert codes.update(nobody, codes.assign(nobody).codes_BQ).tolist() == [0, 0]
    for name, value in codes.state_dict().items():
        if name in ("codebooks_QKD", "has_begun"):
            torch.testing.assert_close(value, before[name], rtol=1e-3, atol=1e-3)


def test_what_is_kept_gives_the_same_codes_and_goes_on_the_same():
    users, codes = crowd(), codebooks()
    learn(codes, users, 3)
    again = codebooks()
    again.load_state_dict(codes.state_dict())
    assert torch.equal(again.assign(users).codes_BQ, codes.assign(users).codes_BQ)
    for each in (codes, again):
        torch.manual_seed(5)
        learn(each, users + 1, 2)  # a codebook that has begun is not begun anew
    for name, value in codes.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name


def test_no_gradient_passes():
    users, codes = crowd().requires_grad_(), codebooks()
    learn(codes, users, 1)
    assert not codes.assign(users).quantised_BD.requires_grad
    assert not list(codes.parameters())


def test_prefixes_are_the_same_groups_whichever_way_they_are_numbered():
    codes_BQ = torch.from_numpy(np.random.default_rng(0).integers(0, 5, (200, 3)))
    for depth in (1, 2, 3):
        dense, num_dense = prefixes(codes_BQ, 5, depth, 1000)
        counted, num_counted = prefixes(codes_BQ, 5, depth, 2)
        assert int(dense.max()) < num_dense == 5**depth and int(counted.max()) < num_counted
        assert torch.equal(dense[:, None] == dense, counted[:, None] == counted)
        assert torch.equal(
            dense[:, None] == dense, (codes_BQ[:, None, :depth] == codes_BQ[:, :depth]).all(2)
        )


def test_churn_is_of_each_level():
    before = torch.tensor([[0, 0], [1, 1], [2, 2], [3, 3]])
    after = torch.tensor([[0, 0], [1, 2], [0, 2], [3, 0]])
    assert churn(before, after) == {"churn_1": pytest.approx(0.25), "churn_2": pytest.approx(0.5)}
