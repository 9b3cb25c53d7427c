"""The measures of groupce: group_loss_share and ranker_rows."""

import numpy as np
import pytest
import torch

from benchmarks import group_loss_share, ranker_rows
from benchmarks.clicks import drawn
from feature_store.settings import Settings
from sidereal.bench import BENCHMARKS, FIELDS


def test_the_group_loss_is_timed_beside_its_step(tmp_path):
    found = group_loss_share.measure(Settings(home=tmp_path, device="cpu"), quick=True)
    assert found["name"] in BENCHMARKS and set(FIELDS) <= set(found)
    parts = found["parts"]
    assert found["ratio"] == pytest.approx(parts["loss"] / parts["step"])
    assert set(parts) == {"step", "without", "loss", "quantised"} and min(parts.values()) > 0
    assert "512 impressions of 26 fields, 16 codes on 3 levels" in found["work"]


def test_what_is_timed_is_what_a_step_does():
    """A step changes every parameter that it should, and groups are informative."""
    batch, model = group_loss_share.batch_of(2048), group_loss_share.model_of("groupce", "cpu")
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    step = group_loss_share.step_of(model, batch)
    for _ in range(2):
        step()
    same = [name for name, value in model.named_parameters() if torch.equal(value, before[name])]
    assert same == []
    points = model.end_epoch(lambda values: values)
    assert points["informative_share_1"] == 1.0 and points["loss_level_3"] > 0


def test_ways_of_learning_rows_are_timed(tmp_path, monkeypatch):
    impressions = drawn(256, ranker_rows.SIZES, num_users=40)
    monkeypatch.setattr(ranker_rows, "drawn", lambda *_, **__: impressions)
    found = ranker_rows.measure(Settings(home=tmp_path, device="cpu"), quick=True)
    assert found["name"] in BENCHMARKS and set(FIELDS) <= set(found)
    assert found["ratio"] == pytest.approx(found["ours"] / min(found["peers"].values()))
    assert found["ours"] > 0


def test_both_networks_say_the_same_of_a_row():
    """The peer's tables and ours hold the same vectors: the same logits."""
    impressions = drawn(64, ranker_rows.SIZES, num_users=20)
    torch.manual_seed(0)
    peer = ranker_rows.RowByRow(impressions).eval()
    table = peer.network.table
    for offset, field in zip(table.offsets_F.tolist(), table.fields, strict=True):
        rows = table.rows_NE[offset : offset + field.size].detach()
        peer.tables[field.name].weight.data.copy_(rows)
    rows = ranker_rows.Rows.of(impressions, 2, None, 0).batch(np.arange(64), 64)
    with torch.no_grad():
        user_BD = peer.network.user(rows.user_BF)
        item_BD = peer.network.item(rows.item_BF, rows.context_BF, None)
        ours_B = peer.network(user_BD, item_BD)[:, 0]
        fields, label_B = next(
            iter(torch.utils.data.DataLoader(ranker_rows.OneByOne(impressions), batch_size=64))
        )
        torch.testing.assert_close(peer(fields), ours_B)
    assert torch.equal(label_B, rows.labels_B)
