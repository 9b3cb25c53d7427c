"""The best items of a catalogue: whatever is looked at first, they are those of every score."""

import numpy as np
import pytest
import torch

from training.data.queries import Queries
from training.models.coded.decoder import CodeDecoder
from training.models.coded.exact import best_of_all, most_prefixes, prefixes_of
from training.models.coded.items import ItemVectors

ITEMS, WIDTH, ROWS, PLACES = 400, 8, 6, 10


def queries(excluded):
    """A question a row, with items that it leaves out."""
    items_BL = np.array([row[:1] for row in excluded], dtype=np.int32)
    return Queries(
        items_BL=items_BL,
        strengths_BL=np.ones_like(items_BL, dtype=np.int8),
        times_BL=np.zeros(items_BL.shape, dtype=np.int64),
        asked_at_B=np.ones(len(excluded), dtype=np.int64),
        lengths_B=np.ones(len(excluded), dtype=np.int64),
        excluded=np.concatenate(excluded).astype(np.int32),
        excluded_offsets=np.cumsum([0, *map(len, excluded)]),
        unlisted=np.array([7], dtype=np.int32),
    )


def catalogue(num_levels, spread):
    torch.manual_seed(num_levels)
    codes_VQ = torch.randint(0, 12, (ITEMS, num_levels), dtype=torch.int32)
    codes_VQ[3] = -1
    items = ItemVectors(codes_VQ, torch.randn(ITEMS, 5), (12,) * num_levels, WIDTH)
    decoder = CodeDecoder((12,) * num_levels, WIDTH)
    for parameter in (*items.parameters(), *decoder.parameters()):
        torch.nn.init.normal_(parameter, std=spread)
    return items, decoder


@pytest.mark.parametrize("looked_at", [1, 64, ITEMS])
@pytest.mark.parametrize("spread", [1e-3, 0.5], ids=["knows nothing", "is sure"])
@pytest.mark.parametrize("by_item", [True, False], ids=["both", "codes"])
@pytest.mark.parametrize("num_levels", [1, 2, 4])
@torch.inference_mode()
def test_the_best_are_those_of_every_items_score(
    num_levels, by_item, spread, looked_at, monkeypatch
):
    monkeypatch.setattr("training.models.coded.exact.LOOKED_AT", looked_at)
    items, decoder = catalogue(num_levels, spread)
    y_BD, by_item_BV = torch.randn(ROWS, WIDTH), torch.randn(ROWS, ITEMS)
    asked = queries([np.arange(row, row + 3) * 11 for row in range(ROWS)])
    prefixes = prefixes_of(items.codes_VQ)
    assert len(prefixes) == num_levels - 1 == 0 or most_prefixes(prefixes) <= 12**3

    args = (y_BD, by_item_BV if by_item else None, asked, PLACES)
    answer = best_of_all(decoder, items, prefixes, *args)

    score_BV = torch.stack(
        [
            decoder.log_probs(y_D.expand(ITEMS, -1), items.codes(torch.arange(ITEMS)), items).sum(
                -1
            )
            for y_D in y_BD
        ]
    )
    score_BV = score_BV + by_item_BV if by_item else score_BV
    score_BV[:, [3, 7]] = -torch.inf
    score_BV[asked.excluded_rows, asked.excluded.astype(np.int64)] = -torch.inf
    best = score_BV.topk(PLACES)
    np.testing.assert_allclose(answer.scores_Bk, best.values, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(
        score_BV.gather(1, torch.from_numpy(answer.items_Bk).long()), best.values, atol=1e-4
    )


@torch.inference_mode()
def test_places_beyond_the_items_on_offer_are_empty():
    items, decoder = catalogue(2, 0.5)
    everything_but = np.setdiff1d(np.arange(ITEMS), [5, 6])
    asked = queries([everything_but, np.arange(ITEMS)])
    answer = best_of_all(
        decoder, items, prefixes_of(items.codes_VQ), torch.randn(2, WIDTH), None, asked, 4
    )
    assert sorted(answer.items_Bk[0].tolist()) == [-1, -1, 5, 6]
    assert answer.items_Bk[1].tolist() == [-1] * 4
    assert np.isneginf(answer.scores_Bk[1]).all()
