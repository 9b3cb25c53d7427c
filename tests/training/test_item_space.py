import pytest
import torch

from training.tokenizers.item_space import ItemSpace, procrustes


def unit(rows, width, seed=0):
    drawn = torch.randn(rows, width, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(drawn, dim=1)


CONTENT = unit(200, 6)
PEOPLE = torch.nn.functional.normalize(CONTENT @ unit(6, 4, seed=1), dim=1)
TOOK = torch.arange(200) < 150


def space(**changes):
    people = PEOPLE * TOOK[:, None]
    return ItemSpace.of(CONTENT, people, TOOK, **{"reads_content": True, **changes})


def test_both_halves_stand_beside_each_other_and_count_alike():
    read = space().read(CONTENT, PEOPLE * TOOK[:, None], TOOK)
    assert torch.equal(read[:, :6], CONTENT)
    assert torch.allclose(read[TOOK, 6:], PEOPLE[TOOK], atol=1e-6)
    assert torch.allclose(read.square().sum(1), torch.tensor(2.0), atol=1e-5)


def test_an_item_that_nobody_took_to_has_what_its_content_lets_expect():
    read = space().read(CONTENT, PEOPLE * TOOK[:, None], TOOK)
    likeness = (read[~TOOK, 6:] * PEOPLE[~TOOK]).sum(1)
    assert likeness.min() > 0.9


def test_an_item_without_content_has_the_other_half_alone_and_one_without_both_has_nothing():
    content = CONTENT.clone()
    content[[0, 199]] = 0
    read = space().read(content, PEOPLE * TOOK[:, None], TOOK)
    assert not read[0, :6].any() and read[0, 6:].any()
    assert not read[199].any()


def test_a_catalogue_without_any_content_is_read_by_who_took_to_it():
    nothing = torch.zeros_like(CONTENT)
    alone = ItemSpace.of(nothing, PEOPLE * TOOK[:, None], TOOK, reads_content=True)
    read = alone.read(nothing, PEOPLE * TOOK[:, None], TOOK)
    assert torch.allclose(read[TOOK, 6:], PEOPLE[TOOK], atol=1e-6)
    assert not read[~TOOK].any()


def test_a_generation_is_turned_to_the_one_before():
    turn, _ = torch.linalg.qr(unit(4, 4, seed=5))
    earlier = (PEOPLE @ turn).clone()
    earlier[:20] = 0  # items that were new
    turned = space(earlier_NC=earlier)
    read = turned.read(CONTENT, PEOPLE * TOOK[:, None], TOOK)
    assert torch.allclose(read[TOOK, 6:], (PEOPLE @ turn)[TOOK], atol=1e-5)
    assert torch.allclose(turned.turn_CC @ turned.turn_CC.T, torch.eye(4), atol=1e-5)


def test_vectors_that_are_all_equal_make_a_space():
    same = torch.ones(5, 4) / 2
    took = torch.ones(5, dtype=torch.bool)
    one = ItemSpace.of(CONTENT[:1].expand(5, 6), same, took, reads_content=False)
    read = one.read(CONTENT[:1].expand(5, 6), same, took)
    assert torch.allclose(read, same, atol=1e-6)


def test_it_is_kept_by_its_tensors_and_content_alone_has_none():
    kept = ItemSpace.from_state(space().state)
    people = PEOPLE * TOOK[:, None]
    assert torch.equal(kept.read(CONTENT, people, TOOK), space().read(CONTENT, people, TOOK))
    assert ItemSpace.from_state({"codebooks": torch.zeros(1)}) is None


@pytest.mark.parametrize("seed", [0, 1])
def test_procrustes_is_a_rotation(seed):
    turn = procrustes(unit(9, 3, seed), unit(9, 3, seed + 7))
    assert torch.allclose(turn @ turn.T, torch.eye(3), atol=1e-6)
