"""Seconds that a ranker takes to learn rows: ours, and the way public code does it.

Ours is an epoch of the training loop: rows are taken from arrays a batch at a time, all fields have
one table, and the optimizer is fused. The network is dcn_v2 without towers, learnt by LogLoss. The
peer is the same network with rows that a torch `DataLoader` gathers one by one, a tensor for each
field, and a table for each field, as torch-rechub has them. Where torch-rechub is installed
(`pip install --no-deps torch-rechub`), its own DCN-v2 of the same widths and its trainer learn the
same rows in the same run; it has a batch norm in each layer of the perceptron beside.
"""

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from benchmarks.clicks import drawn
from benchmarks.group_loss_share import SIZES, USERS
from benchmarks.rankgr_answers import device_of
from feature_store.settings import Settings
from training.data.impressions import Impressions
from training.fit.fitting import Fitting, LoopSettings
from training.fit.loop import fit_objective
from training.models.groupce.batches import Rows
from training.models.groupce.model import Groupce
from training.models.groupce.objective import ImpressionObjective
from training.settings.groupce import GroupceConfig

GOAL = 0.5
LIBRARY = "torch_rechub"
CONFIG = GroupceConfig(ranking_loss="none", tower_layers=0)


def measure(settings: Settings, *, quick: bool = False) -> dict[str, Any]:
    """Median seconds for the rows of an epoch, each way in turn.

    Args:
        settings: the device.
        quick: an eighth of the rows and one round, to see that it runs.
    """
    device = device_of(settings)
    rows, batch, rounds = (4096, 1024, 1) if quick else (32_768, 4096, 3)
    impressions = drawn(rows, SIZES, num_users=USERS)
    ways: dict[str, Callable[[], float]] = {
        "ours": lambda: seconds_of_loop(impressions, batch, device),
        "the same network, rows one by one, a table for each field": (
            lambda: seconds_of_rows(impressions, batch, device)
        ),
    }
    if find_spec(LIBRARY) is not None:
        ways["torch-rechub's DCNv2"] = lambda: seconds_of_library(impressions, batch, device)
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            taken[name].append(way())
    medians = {name: statistics.median(each) for name, each in taken.items()}
    ours = medians.pop("ours")
    return {
        "name": "ranker_rows",
        "work": f"{rows:,} impressions of {len(SIZES)} fields in batches of {batch:,}; dcn_v2 of"
        f" {CONFIG.cross_layers} crosses and {CONFIG.hidden_layers} layers of"
        f" {CONFIG.hidden_width}; {device}, {torch.get_num_threads()} threads",
        "unit": "s",
        "ours": ours,
        "peers": medians,
        "ratio": ours / min(medians.values()),
        "goal": GOAL,
    }


def seconds_of_loop(impressions: Impressions, batch: int, device: str) -> float:
    """The loop's own second epoch; the first warms up."""
    torch.manual_seed(0)
    model = Groupce(CONFIG, impressions.features)
    rows = Rows.of(impressions, 2, None, 0)
    loop = LoopSettings(max_epochs=2, tokens_per_batch=batch, validation_metric="logloss")
    nobody = rows.where(np.zeros(len(rows), dtype=bool))
    objective = ImpressionObjective(model, rows, nobody, loop)
    report = fit_objective(model, objective, Fitting(loop, device=device))
    return float(report.epochs[1]["seconds"])


def seconds_of_rows(impressions: Impressions, batch: int, device: str) -> float:
    """An epoch of the public way, after a step that warms up."""
    torch.manual_seed(0)
    model = RowByRow(impressions).to(device).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=1e-5)
    loader = DataLoader(OneByOne(impressions), batch_size=batch, shuffle=True)

    def step(fields: dict[str, Tensor], label_B: Tensor) -> None:
        fields = {name: codes_B.to(device) for name, codes_B in fields.items()}
        loss = F.binary_cross_entropy_with_logits(model(fields), label_B.to(device).float())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        float(loss.detach())

    step(*next(iter(loader)))
    started = time.perf_counter()
    for fields, label_B in loader:
        step(fields, label_B)
    return time.perf_counter() - started


def seconds_of_library(impressions: Impressions, batch: int, device: str) -> float:
    """The second epoch of torch-rechub's trainer, with its own generator of data."""
    os.environ["TQDM_DISABLE"] = "1"  # read when tqdm is imported
    from torch_rechub.basic.features import SparseFeature  # type: ignore[import-not-found]
    from torch_rechub.models.ranking.dcn_v2 import DCNv2  # type: ignore[import-not-found]
    from torch_rechub.trainers.ctr_trainer import CTRTrainer  # type: ignore[import-not-found]
    from torch_rechub.utils.data import DataGenerator  # type: ignore[import-not-found]

    torch.manual_seed(0)
    columns = columns_of(impressions)
    features = [
        SparseFeature(field.name, field.size, CONFIG.field_width)
        for field in impressions.features.fields
    ]
    perceptron = {"dims": [CONFIG.hidden_width] * CONFIG.hidden_layers, "dropout": CONFIG.dropout}
    model = DCNv2(features, CONFIG.cross_layers, perceptron, use_low_rank_mixture=False)
    label_N = (impressions.strength >= 2).astype(np.float32)
    loader, _, _ = DataGenerator(columns, label_N).generate_dataloader(
        x_val=columns, y_val=label_N, x_test=columns, y_test=label_N, batch_size=batch
    )
    with tempfile.TemporaryDirectory() as folder:
        trainer = CTRTrainer(model, device=device, model_path=folder)
        trainer.train_one_epoch(loader)
        started = time.perf_counter()
        trainer.train_one_epoch(loader)
        return time.perf_counter() - started


def columns_of(impressions: Impressions) -> dict[str, np.ndarray]:
    """Codes of each field, int64, [N]."""
    codes = [impressions.user_NF, impressions.item_NF, impressions.context_NF]
    joined_NF = np.concatenate(codes, 1).astype(np.int64)
    names = (field.name for field in impressions.features.fields)
    return dict(zip(names, joined_NF.T.copy(), strict=True))


class OneByOne(Dataset):
    """Rows as dicts of numbers."""

    def __init__(self, impressions: Impressions) -> None:
        self.columns = columns_of(impressions)
        self.label_N = impressions.strength >= 2

    def __getitem__(self, row: int) -> tuple[dict[str, Any], Any]:
        return {name: codes_N[row] for name, codes_N in self.columns.items()}, self.label_N[row]

    def __len__(self) -> int:
        return len(self.label_N)


class RowByRow(nn.Module):
    """dcn_v2's main network behind a table for each field."""

    def __init__(self, impressions: Impressions) -> None:
        super().__init__()
        self.network = Groupce(CONFIG, impressions.features).backbone
        self.network.table.rows_NE.requires_grad_(requires_grad=False)
        self.tables = nn.ModuleDict(
            {
                field.name: nn.Embedding(field.size, CONFIG.field_width)
                for field in impressions.features.fields
            }
        )

    def forward(self, fields: dict[str, Tensor]) -> Tensor:
        """Logits, [B]."""
        vectors = [self.tables[name](code_B) for name, code_B in fields.items()]
        x_BW = torch.cat(vectors, 1)
        width = self.network.user_width
        logits_B: Tensor = self.network(x_BW[:, :width], x_BW[:, width:])[:, 0]
        return logits_B
