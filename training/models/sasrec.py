"""sasrec: self-attention over a history, softmax over the whole catalogue.

After Kang and McAuley 2018 (arXiv:1808.09781), with what is known to make it strong: normalisation
before each block, and cross-entropy over all items instead of one sampled negative (Klenitskiy and
Vasilev 2023, arXiv:2309.07602).

B rows, L events, D width, V items, H heads, N targets.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from training.data.batches import Batch
from training.data.splits import Split
from training.data.vocabulary import Vocabulary
from training.fitting import FitReport, Fitting
from training.loop import fit_model
from training.losses.next_item import chunked_softmax_loss, sampled_softmax_loss
from training.models.interface import Contexts, Family, TopK
from training.models.ranking import best_items, rows_within

CHUNK_CELLS = 4_000_000
"""Logits alive at a time while answering."""


@dataclass(frozen=True)
class SasrecConfig:
    """Shape of the model."""

    width: int = 64
    num_layers: int = 2
    num_heads: int = 2
    hidden_width: int = 64
    dropout: float = 0.2
    max_history: int = 50
    """Events of context; set by the loop's `max_history`."""
    loss: Literal["full", "sampled"] = "full"
    num_negatives: int = 512
    """Items drawn per batch for the sampled loss."""


class Block(nn.Module):
    """Causal attention, then a point-wise feed-forward; each on the normalised input."""

    def __init__(self, config: SasrecConfig) -> None:
        super().__init__()
        width, self.num_heads = config.width, config.num_heads
        self.attention_norm = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.attention_out = nn.Linear(width, width)
        self.hidden_norm = nn.LayerNorm(width)
        self.hidden_in = nn.Linear(width, config.hidden_width)
        self.hidden_out = nn.Linear(config.hidden_width, width)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x_BLD: Tensor) -> Tensor:
        """One vector per position from it and those before it."""
        B, L, D = x_BLD.shape
        qkv = self.query_key_value(self.attention_norm(x_BLD))
        q, k, v = qkv.view(B, L, 3, self.num_heads, D // self.num_heads).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        attended_BLD = attended.transpose(1, 2).reshape(B, L, D)
        x_BLD = x_BLD + self.dropout(self.attention_out(attended_BLD))
        hidden = F.gelu(self.hidden_in(self.hidden_norm(x_BLD)))
        return x_BLD + self.dropout(self.hidden_out(hidden))


class Sasrec(nn.Module):
    """Position t of a row is predicted from a start vector and the items before t."""

    family = "sasrec"
    positions_per_event = 1

    def __init__(self, config: SasrecConfig, num_items: int) -> None:
        super().__init__()
        self.config, self.num_items = config, num_items
        self.items_VD = nn.Parameter(torch.randn(num_items, config.width) * config.width**-0.5)
        self.start_D = nn.Parameter(torch.zeros(config.width))
        self.places_LD = nn.Parameter(torch.randn(config.max_history + 1, config.width) * 0.02)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.num_layers))
        self.norm = nn.LayerNorm(config.width)

    def encode(self, items_BL: Tensor) -> Tensor:
        """After each event, and before the first: what the model expects next, [B, L + 1, D]."""
        start_B1D = self.start_D.expand(len(items_BL), 1, -1)
        x_BLD = torch.cat([start_B1D, F.embedding(items_BL.clamp(min=0), self.items_VD)], 1)
        x_BLD = self.dropout(x_BLD + self.places_LD[: x_BLD.shape[1]])
        for block in self.blocks:
            x_BLD = block(x_BLD)
        return self.norm(x_BLD)

    def forward(self, batch: Batch) -> Tensor:
        """Loss of the batch's targets in nats, summed."""
        x_ND = self.encode(batch.items_BL[:, :-1])[batch.is_target_BL]
        target_N = batch.items_BL[batch.is_target_BL]
        if self.config.loss == "full":
            return chunked_softmax_loss(x_ND, self.items_VD, target_N)
        negative_R = torch.randint(self.num_items, (self.config.num_negatives,)).to(x_ND.device)
        return sampled_softmax_loss(x_ND, self.items_VD, target_N, negative_R).sum()

    @torch.inference_mode()
    def recommend(self, contexts: Contexts, k: int) -> TopK:
        """The k items with the largest logits after each context."""
        self.eval()
        device = self.items_VD.device
        width = max(self.num_items, contexts.items_BL.shape[1] * self.config.width)
        rows = rows_within(CHUNK_CELLS, width)
        parts = [TopK.empty(k)]
        for start in range(0, len(contexts), rows):
            part = contexts.rows(start, start + rows)
            items_BL = torch.from_numpy(part.items_BL).long().to(device)
            last_B = torch.from_numpy(part.lengths_B).to(device)
            x_BD = self.encode(items_BL)[torch.arange(len(last_B), device=device), last_B]
            parts.append(best_items(x_BD @ self.items_VD.T, part, k))
        return TopK.concatenate(parts)


def fit(
    split: Split, config: SasrecConfig, fitting: Fitting, vocabulary: Vocabulary
) -> tuple[Sasrec, FitReport]:
    """Train on every event of the training histories."""
    config = SasrecConfig(**{**asdict(config), "max_history": fitting.settings.max_history})
    torch.manual_seed(fitting.settings.seed)
    model = Sasrec(config, vocabulary.num_items)
    report = fit_model(model, split, fitting)
    return model, report


def save(model: Sasrec, directory: Path) -> None:
    """Write the weights as safetensors and the shape as JSON."""
    directory.mkdir(parents=True, exist_ok=True)
    weights = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    save_file(weights, directory / "sasrec.safetensors")
    shape = {"num_items": model.num_items, "config": asdict(model.config)}
    (directory / "sasrec.json").write_text(json.dumps(shape), encoding="utf-8")


def load(directory: Path, device: str = "cpu") -> Sasrec:
    """Read what `save` wrote."""
    shape = json.loads((directory / "sasrec.json").read_text(encoding="utf-8"))
    model = Sasrec(SasrecConfig(**shape["config"]), shape["num_items"])
    model.load_state_dict(load_file(directory / "sasrec.safetensors"))
    return model.to(device).eval()


FAMILY = Family("sasrec", SasrecConfig, fit, save, load)
