import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.numpy import save_file

from tests.recommender_world import trained_bundle
from training.registry.bundle import (
    BundleCorruptError,
    BundleError,
    BundleFormatError,
    BundleMixError,
    Origin,
    digest_of,
    generation_digest,
    inputs_digest,
    open_bundle,
    write_bundle,
)
from training.registry.predictor import BundlePredictor
from training.tokenizers.rq_kmeans import RqKMeans

ITEMS = pa.table({"item_index": pa.array([1, 0, 2], pa.int32()), "item_id": ["b", "a", "c"]})
DOCUMENTS = {"split": {"day": "2024-03-31"}, "config": {"width": 8}, "training": {"seconds": 3.0}}


def sid_rows(generation, items=("a", "b", "c")):
    return pa.table(
        {
            "generation": [generation] * len(items),
            "item_id": list(items),
            "item_index": pa.array(range(len(items)), pa.int32()),
            "codes": pa.array([[n, 0] for n in range(len(items))], pa.list_(pa.int32())),
        }
    )


def save_weights(directory):
    save_file({"w": np.arange(6, dtype=np.float32)}, directory / "weights.safetensors")


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    """A saved tokenizer and the generation that it makes."""
    folder = tmp_path_factory.mktemp("tokenizer") / "saved"
    config = RqKMeans.config_from({"num_levels": 2, "codebook_size": 2, "iterations": 2})
    fitted = RqKMeans.fit(torch.eye(4), config)
    fitted.save(folder)
    return folder, f"2024-03-31-{generation_digest(fitted.digest, 'suffix')}"


def origin(generation=None, **changes):
    facts = {
        "family": "tiger",
        "preset": "world",
        "day": "2024-03-31",
        "code_revision": "0" * 40,
        "inputs": {"items": {"snapshot_id": 7, "content_hash": "abc"}},
        "generation": generation,
    }
    return Origin(**{**facts, **changes})


def write(directory, tokenizer, *, documents=DOCUMENTS, sids=None, **changes):
    folder, generation = tokenizer
    return write_bundle(
        directory,
        origin=origin(generation, **changes),
        items=ITEMS,
        documents=documents,
        save_model=save_weights,
        semantic_ids=sid_rows(generation) if sids is None else sids,
        tokenizer=folder,
    )


@pytest.fixture
def bundle(tmp_path, tokenizer):
    return write(tmp_path / "bundle", tokenizer)


FILES = (
    "model/weights.safetensors",
    "tokenizer/tokenizer.safetensors",
    "tokenizer/tokenizer.json",
    "semantic_ids.parquet",
    "items.parquet",
    "split.json",
    "config.json",
    "training.json",
)


def test_a_bundle_is_opened_as_it_was_written(bundle):
    again = open_bundle(bundle.directory)
    assert again == bundle
    assert again.origin.family == again.family == "tiger"
    assert again.items().to_pydict() == {"item_index": [0, 1, 2], "item_id": ["a", "b", "c"]}
    assert again.semantic_ids()["codes"].to_pylist() == [[0, 0], [1, 0], [2, 0]]
    assert again.document("config") == {"width": 8}
    assert set(FILES) == {
        path.relative_to(bundle.directory).as_posix()
        for path in bundle.directory.rglob("*")
        if path.is_file() and path.name != "bundle.json"
    }


def test_the_digest_is_the_same_for_the_same_training_anywhere(bundle, tmp_path, tokenizer):
    other = write(
        tmp_path / "other",
        tokenizer,
        documents={**DOCUMENTS, "training": {"seconds": 4.0}},
        code_revision="1" * 40,
        inputs={"items": {"snapshot_id": 8, "content_hash": "abc"}},
    )
    assert other.digest == bundle.digest
    assert other.inputs_digest == bundle.inputs_digest


@pytest.mark.parametrize(
    "changes",
    [
        {"day": "2024-04-01"},
        {"family": "sasrec"},
        {"preset": "elsewhere"},
        {"inputs": {"items": {"snapshot_id": 7, "content_hash": "other rows"}}},
        {"documents": {**DOCUMENTS, "config": {"width": 16}}},
    ],
)
def test_another_training_has_another_digest(bundle, tmp_path, tokenizer, changes):
    assert write(tmp_path / "other", tokenizer, **changes).digest != bundle.digest


@pytest.mark.parametrize("name", FILES)
def test_a_changed_bit_in_any_file_is_refused(bundle, name):
    path = bundle.directory / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(BundleCorruptError, match=f"{name} was changed: its SHA-256"):
        open_bundle(bundle.directory)


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_was_cut_short_is_refused(bundle, name):
    path = bundle.directory / name
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(BundleCorruptError, match=f"{name} has .* bytes, expected"):
        open_bundle(bundle.directory)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_refused(bundle, name):
    (bundle.directory / name).unlink()
    with pytest.raises(BundleCorruptError, match=f"{name} is missing"):
        open_bundle(bundle.directory)


def test_a_surplus_file_is_refused(bundle):
    (bundle.directory / "model" / "extra.pkl").write_bytes(b"x")
    with pytest.raises(BundleCorruptError, match=r"model/extra\.pkl is not in the manifest"):
        open_bundle(bundle.directory)


def test_all_problems_are_named_at_once(bundle):
    (bundle.directory / "items.parquet").unlink()
    (bundle.directory / "new.txt").write_text("x")
    with pytest.raises(BundleCorruptError, match=r"(?s)items.parquet is missing.*new.txt is not"):
        open_bundle(bundle.directory)


def change_manifest(directory, **changes):
    path = directory / "bundle.json"
    manifest = {**json.loads(path.read_text()), **changes}
    manifest.pop("seal")
    manifest["seal"] = digest_of(manifest)
    path.write_text(json.dumps(manifest))


def test_a_changed_manifest_is_refused(bundle):
    path = bundle.directory / "bundle.json"
    path.write_text(path.read_text().replace('"world"', '"earth"'))
    with pytest.raises(BundleCorruptError, match="its seal is broken"):
        open_bundle(bundle.directory)


def test_an_unknown_format_version_is_refused(bundle):
    change_manifest(bundle.directory, format_version=99)
    with pytest.raises(BundleFormatError, match="has format version 99; this code reads 1"):
        open_bundle(bundle.directory)


def test_a_folder_without_a_manifest_is_no_bundle(tmp_path):
    with pytest.raises(BundleFormatError, match=r"bundle.json is missing"):
        open_bundle(tmp_path)


@pytest.mark.parametrize("text", ["{", "[]", '{"format_version": 1}'])
def test_a_manifest_that_is_none_is_refused(bundle, text):
    (bundle.directory / "bundle.json").write_text(text)
    with pytest.raises(BundleFormatError, match="is not a manifest"):
        open_bundle(bundle.directory)


def replace_file(directory, name, table):
    """What somebody does who mixes files of two bundles and knows the format."""
    pq.write_table(table, directory / name)
    files = json.loads((directory / "bundle.json").read_text())["files"]
    content = (directory / name).read_bytes()
    files[name] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    change_manifest(directory, files=files)


def test_a_sid_table_of_another_generation_is_refused(bundle):
    others = sid_rows("2024-01-01-abcdef012345")
    replace_file(bundle.directory, "semantic_ids.parquet", others)
    with pytest.raises(BundleMixError, match=r"is of generation .'2024-01-01-abcdef012345'., the"):
        open_bundle(bundle.directory)


def test_a_tokenizer_of_another_generation_is_refused(tmp_path, tokenizer):
    other = (tokenizer[0], "2024-03-31-abcdef012345")
    with pytest.raises(BundleMixError, match="the tokenizer has digest"):
        write(tmp_path / "bundle", other)


def test_a_sid_table_of_another_catalogue_is_refused(tmp_path, tokenizer):
    sids = sid_rows(tokenizer[1], items=("a", "x", "c", "d"))
    with pytest.raises(BundleMixError, match=r"2 rows of the SID table name items .*\(1, 'x'\)"):
        write(tmp_path / "bundle", tokenizer, sids=sids)


def test_a_vocabulary_with_holes_is_refused(tmp_path, tokenizer):
    items = pa.table({"item_index": pa.array([0, 2], pa.int32()), "item_id": ["a", "c"]})
    with pytest.raises(BundleMixError, match=r"items.parquet is not dense from 0: 2 rows"):
        write_bundle(
            tmp_path / "bundle",
            origin=origin(),
            items=items,
            documents=DOCUMENTS,
            save_model=save_weights,
        )


def test_a_generation_without_its_parts_is_refused(tmp_path, tokenizer):
    with pytest.raises(BundleMixError, match=r"but there is no .*semantic_ids.parquet"):
        write_bundle(
            tmp_path / "bundle",
            origin=origin(tokenizer[1]),
            items=ITEMS,
            documents=DOCUMENTS,
            save_model=save_weights,
        )


def test_semantic_ids_without_a_generation_are_refused(tmp_path, tokenizer):
    with pytest.raises(BundleMixError, match="but the manifest names no generation"):
        write_bundle(
            tmp_path / "bundle",
            origin=origin(),
            items=ITEMS,
            documents=DOCUMENTS,
            save_model=save_weights,
            semantic_ids=sid_rows(tokenizer[1]),
        )


def test_a_bundle_is_never_written_over_another(bundle, tokenizer):
    with pytest.raises(ValueError, match="is not empty"):
        write(bundle.directory, tokenizer)


def test_a_bundle_that_lacks_a_part_is_refused_when_written(tmp_path, tokenizer):
    with pytest.raises(BundleError, match=r"config.json is missing"):
        write(tmp_path / "bundle", tokenizer, documents={"split": {}, "training": {}})


def test_the_digest_of_inputs_does_not_depend_on_snapshot_ids_or_order():
    one = {"a": {"snapshot_id": 1, "content_hash": "x"}, "b": {"content_hash": "y"}}
    other = {"b": {"content_hash": "y"}, "a": {"snapshot_id": 2, "content_hash": "x"}}
    assert inputs_digest(one) == inputs_digest(other)
    assert inputs_digest(one) != inputs_digest({"a": {"content_hash": "y"}})


def test_nothing_in_a_trained_bundle_is_a_pickle(tmp_path):
    bundle = trained_bundle(tmp_path / "bundle")
    kinds = {path.suffix for path in bundle.directory.rglob("*") if path.is_file()}
    assert kinds <= {".json", ".parquet", ".safetensors", ".npz"}


def test_a_family_that_this_code_does_not_have_is_named(bundle):
    unknown = replace(bundle, origin=replace(bundle.origin, family="oracle"))
    with pytest.raises(BundleFormatError, match="of family 'oracle'; this code has"):
        BundlePredictor.of(unknown, device="cpu")


def test_the_world_trains_to_the_same_digest_twice(tmp_path):
    first, second = (trained_bundle(tmp_path / name) for name in ("one", "two"))
    assert first.digest == second.digest
    assert Path(first.directory) != Path(second.directory)
