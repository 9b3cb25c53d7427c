import pyarrow as pa
import pytest

from training.data.vocabulary import Vocabulary


def rows(generations=("g", "g"), indices=(2, 0), codes=((1, 5), (3, 0))):
    return pa.table(
        {
            "generation": list(generations),
            "item_index": pa.array(indices, pa.int32()),
            "codes": pa.array([list(row) for row in codes], pa.list_(pa.int32())),
        }
    )


def test_items_without_codes_have_minus_one_in_every_level():
    vocabulary = Vocabulary.with_semantic_ids(4, rows())
    assert vocabulary.codes_VQ.tolist() == [[3, 0], [-1, -1], [1, 5], [-1, -1]]
    assert vocabulary.level_sizes == (4, 6)
    assert vocabulary.generation == "g"


def test_vectors_stand_at_their_items_and_the_rest_is_zero():
    vectors = pa.array([[1.0, 0.5], [0.0, 2.0]], pa.list_(pa.float32()))
    vocabulary = Vocabulary.with_semantic_ids(4, rows().append_column("vector", vectors))
    assert vocabulary.require_vectors().tolist() == [[0, 2], [0, 0], [1, 0.5], [0, 0]]
    assert vocabulary.require_vectors().dtype == "float32"


def test_a_generation_published_before_vectors_were_kept_is_refused_to_who_needs_them():
    vectors = pa.array([[1.0, 0.5], None], pa.list_(pa.float32()))
    for without in (rows(), rows().append_column("vector", vectors)):
        with pytest.raises(ValueError, match=r"'g' keeps no vectors of its items; run train_tok"):
            Vocabulary.with_semantic_ids(4, without).require_vectors()


def test_two_generations_are_refused():
    with pytest.raises(ValueError, match=r"must be of one generation, found \['g', 'h'\]"):
        Vocabulary.with_semantic_ids(4, rows(generations=("g", "h")))


def test_no_rows_are_refused():
    with pytest.raises(ValueError, match=r"must be of one generation, found \[\]"):
        Vocabulary.with_semantic_ids(4, rows().slice(0, 0))


def test_an_item_outside_the_catalogue_is_refused():
    with pytest.raises(ValueError, match="name item_index 0 to 2, the catalogue has 0 to 1"):
        Vocabulary.with_semantic_ids(2, rows())


def test_codes_of_differing_lengths_are_refused():
    with pytest.raises(ValueError, match=r"must have one length, found \[1, 2\]"):
        Vocabulary.with_semantic_ids(4, rows(codes=((1, 5), (3,))))


def test_a_plain_vocabulary_has_no_levels():
    with pytest.raises(ValueError, match="has no semantic IDs; build_semantic_ids makes them"):
        _ = Vocabulary(4).level_sizes
