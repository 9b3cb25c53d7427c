from itertools import islice

import numpy as np
import pytest
import torch

from training.tokenizers.collisions import CodesExhaustedError, nearest_tuples, resolve, spread
from training.tokenizers.rq_kmeans import RqKMeans, RqKMeansConfig

NONE = np.zeros((0, 2), dtype=np.int64)


def no_alternatives(row):
    return iter(())


@pytest.fixture(scope="module")
def tokenizer():
    points = torch.randn((64, 4), generator=torch.Generator().manual_seed(0))
    return RqKMeans.fit(points, RqKMeansConfig(num_levels=2, codebook_size=4))


def moving(tokenizer, embeddings):
    return lambda row: nearest_tuples(
        embeddings[row], tokenizer.codebooks_QKH, tokenizer.is_used_QK
    )


def test_suffixes_count_up_within_a_bucket_in_order():
    codes = np.array([[1, 2], [0, 0], [1, 2], [1, 2]])
    found = resolve(codes, "suffix", codebook_size=4, existing=NONE, alternatives=no_alternatives)
    assert found.codes.tolist() == [[1, 2, 0], [0, 0, 0], [1, 2, 1], [1, 2, 2]]
    assert (found.collided, found.moved) == (2, 0)


def test_buckets_keep_the_codes_of_the_quantizer():
    codes = np.array([[1, 2], [0, 0], [1, 2]])
    found = resolve(codes, "bucket", codebook_size=4, existing=codes, alternatives=no_alternatives)
    assert found.codes.tolist() == codes.tolist()
    assert (found.collided, found.moved) == (3, 0)


@pytest.mark.parametrize("policy", ["suffix", "reassign"])
def test_ids_are_unique_up_to_the_last_free_one(tokenizer, policy):
    # 16 tuples; all items have the same vector and want the same one.
    room = 16 if policy == "reassign" else 16 * 4
    embeddings = torch.ones((room + 1, 4))
    codes = tokenizer.encode(embeddings).numpy()
    arguments = {"codebook_size": 4, "existing": NONE}
    alternatives = moving(tokenizer, embeddings)
    found = resolve(codes[:room], policy, alternatives=alternatives, **arguments)
    assert len(np.unique(found.codes, axis=0)) == room
    assert found.collided == room - 1
    assert found.codes[:, 2:].max(initial=0) <= 3
    with pytest.raises(CodesExhaustedError, match=rf"new item {room} finds no free semantic ID"):
        resolve(codes, policy, alternatives=alternatives, **arguments)


def test_a_reassigned_item_takes_the_nearest_free_last_code(tokenizer):
    embeddings = torch.full((2, 4), 0.3)
    codes = tokenizer.encode(embeddings)
    found = resolve(
        codes.numpy(),
        "reassign",
        codebook_size=4,
        existing=NONE,
        alternatives=moving(tokenizer, embeddings),
    )
    first, second = found.codes
    assert first.tolist() == codes[0].tolist()
    assert second[0] == first[0]
    residual = embeddings[0] - tokenizer.codebooks_QKH[0, first[0]]
    order = (residual - tokenizer.codebooks_QKH[1]).square().sum(1).argsort().tolist()
    assert [first[1], second[1]] == order[:2]
    assert (found.collided, found.moved) == (1, 1)


@pytest.mark.parametrize("policy", ["suffix", "reassign", "bucket"])
def test_later_items_change_no_id_and_arrivals_in_two_days_equal_arrivals_in_one(tokenizer, policy):
    embeddings = torch.randn((12, 4), generator=torch.Generator().manual_seed(3))
    codes = tokenizer.encode(embeddings).numpy()

    def served(rows, existing):
        return resolve(
            codes[rows],
            policy,
            codebook_size=4,
            existing=existing,
            alternatives=moving(tokenizer, embeddings[rows]),
        ).codes

    at_once = served(slice(0, 12), NONE)
    first_day = served(slice(0, 7), NONE)
    second_day = served(slice(7, 12), first_day)
    assert np.concatenate([first_day, second_day]).tolist() == at_once.tolist()


def test_no_new_items_give_no_rows():
    found = resolve(NONE, "suffix", codebook_size=4, existing=NONE, alternatives=no_alternatives)
    assert found.codes.shape == (0, 3)


def test_nearest_tuples_start_with_the_quantizers_own_and_name_every_tuple_once(tokenizer):
    embedding = torch.tensor([0.5, -1.0, 0.2, 0.0])
    tuples = list(nearest_tuples(embedding, tokenizer.codebooks_QKH, tokenizer.is_used_QK))
    assert list(tuples[0]) == tokenizer.encode(embedding.unsqueeze(0))[0].tolist()
    assert len(set(tuples)) == len(tuples) == 16


def test_unused_codes_come_last():
    fitted = RqKMeans.fit(torch.eye(2, 4), RqKMeansConfig(num_levels=1, codebook_size=4))
    order = nearest_tuples(torch.eye(2, 4)[1], fitted.codebooks_QKH, fitted.is_used_QK)
    assert {code for (code,) in islice(order, 2)} == {0, 1}


def test_items_without_an_embedding_are_spread_by_their_id():
    ids = [f"item-{number}" for number in range(4000)]
    is_used = torch.ones((3, 9), dtype=torch.bool)
    is_used[1, 4] = False
    codes = spread(ids, is_used)
    assert codes.shape == (4000, 3)
    assert (codes == spread(ids, is_used)).all()
    counts = np.stack([np.bincount(column, minlength=9) for column in codes.T])
    assert counts[1, 4] == 0
    assert np.sort(counts.ravel())[1] > 350
    assert len(np.unique(codes, axis=0)) > 640
    assert spread([], is_used).shape == (0, 3)
