"""How RQ-VAE and CRQ-VAE are trained: one loop, full float32, the same bits for the same seed.

Legend: N items, B items of a batch, D embedding width, H latent width, Q levels, K codes of a
level, P pairs.
"""

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from training.fit.fitting import PROGRESS
from training.fit.optimizer import learning_rate_share
from training.losses.quantization import (
    global_loss,
    global_targets,
    layerwise_loss,
    reconstruction_loss,
    residuals,
    straight_through,
)
from training.settings.tokenizers import AutoencoderConfig
from training.tokenizers.autoencoder import QuantizedAutoencoder
from training.tokenizers.interface import require_items

log = logging.getLogger(__name__)

REVIVAL_SHARE = 0.75
"""Of the epochs, from the first on, dead codes are revived; what was revived settles after that."""
WARMUP_STEPS = 50
SMOOTHING = 1e-5
"""Laplace smoothing of the moving counts, so that no code has none (docs/mechanics.md,
Moving-average codebooks)."""


@dataclass(frozen=True)
class Quantization:
    """How far codewords are from what they stand for.

    Args:
        loss: of (latent_BH, words_BQH, commitment=β), [B].
        targets: of (latent_BH, words_BQH): what each codeword is the moving average of, [B,Q,H].
    """

    loss: Callable[..., Tensor]
    targets: Callable[[Tensor, Tensor], Tensor]


LAYERWISE = Quantization(layerwise_loss, residuals)
GLOBAL = Quantization(global_loss, global_targets)


@dataclass(frozen=True)
class Encoded:
    """A batch in the latent space; without codes before there are codebooks."""

    latent_BH: Tensor
    codes_BQ: Tensor | None = None
    words_BQH: Tensor | None = None
    codebooks_QKH: Tensor | None = None
    is_used_QK: Tensor | None = None


Encode = Callable[[Tensor], Encoded]
"""What rows of the items (on the CPU) are encoded to."""
Contrast = Callable[[Encode, Tensor, Encoded, torch.Generator], Tensor]
"""The loss's third term, a number: of what encodes other rows, the rows of the batch (on the CPU),
what they were encoded to, and the source of draws."""


def fit_autoencoder(
    embeddings_ND: Tensor,
    config: AutoencoderConfig,
    quantization: Quantization,
    contrast: Contrast | None = None,
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Train on the items, on the device that they are on.

    The loss of a batch is `‖x − x̂‖²/D + λ1 · L_q/H + L_contrast`: means over a vector's numbers, so
    that weights don't depend on widths.

    Args:
        embeddings_ND: the catalogue.
        config: shape and fit.
        quantization: layer by layer or of the sum.
        contrast: the third term, weighted; None for none.
    Returns:
        The network's state, and how the fit went.
    Raises:
        ValueError: no vectors, or some that are not finite.
    """
    require_items(embeddings_ND)
    with torch.autocast(embeddings_ND.device.type, enabled=False):
        return _Fit(embeddings_ND, config, quantization, contrast).run()


class MovingAverage:
    """Codewords as moving averages of what they stand for (van den Oord 2017).

    docs/mechanics.md, Moving-average codebooks:
    `N ← γN + (1−γ) n`, `M ← γM + (1−γ) m`, `C = M / Ñ`, with n_k items of a batch at code k, m_k
    the sum of their targets and Ñ the smoothed N.

    Args:
        codebooks_QKH: changed in place.
        is_used_QK: only used codes are moved.
        decay: γ.
    """

    def __init__(self, codebooks_QKH: Tensor, is_used_QK: Tensor, decay: float) -> None:
        self.codebooks_QKH, self.is_used_QK, self.decay = codebooks_QKH, is_used_QK, decay
        self.count_QK = is_used_QK.to(codebooks_QKH.dtype)
        self.sum_QKH = codebooks_QKH.clone()

    def update(self, codes_BQ: Tensor, targets_BQH: Tensor) -> None:
        """Take a batch in."""
        num_codes = self.codebooks_QKH.shape[1]
        one_hot_BQK = torch.nn.functional.one_hot(codes_BQ, num_codes).to(targets_BQH.dtype)
        self.count_QK.lerp_(one_hot_BQK.sum(0), 1 - self.decay)
        self.sum_QKH.lerp_(torch.einsum("bqk,bqh->qkh", one_hot_BQK, targets_BQH), 1 - self.decay)
        total_Q1 = self.count_QK.sum(1, keepdim=True)
        smooth_QK = (self.count_QK + SMOOTHING) / (total_Q1 + num_codes * SMOOTHING) * total_Q1
        moved_QKH = self.sum_QKH / smooth_QK.clamp(min=SMOOTHING).unsqueeze(2)
        is_moved_QK1 = (self.is_used_QK & (self.count_QK > SMOOTHING)).unsqueeze(2)
        self.codebooks_QKH.copy_(torch.where(is_moved_QK1, moved_QKH, self.codebooks_QKH))

    def restart(self, revived_QK: Tensor) -> None:
        """Codes that were moved elsewhere forget what they stood for."""
        self.count_QK.masked_fill_(revived_QK, 1.0)
        self.sum_QKH.copy_(torch.where(revived_QK.unsqueeze(2), self.codebooks_QKH, self.sum_QKH))


class _Fit:
    """One fit; draws are the CPU's, so that they are the same on every device."""

    def __init__(
        self,
        embeddings_ND: Tensor,
        config: AutoencoderConfig,
        quantization: Quantization,
        contrast: Contrast | None,
    ) -> None:
        self.config, self.quantization, self.contrast = config, quantization, contrast
        self._started = time.perf_counter()
        self.generator = torch.Generator().manual_seed(config.seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            network = QuantizedAutoencoder(
                embeddings_ND.shape[1],
                latent_width=config.latent_width,
                hidden_width=config.hidden_width,
                num_levels=config.num_levels,
                codebook_size=config.codebook_size,
                sphere=config.sphere,
            )
        self.network = network.to(embeddings_ND.device)
        self.network.begin_with_axes(embeddings_ND)
        self.x_ND = self.network.normalised(embeddings_ND)
        self.average: MovingAverage | None = None
        self.optimizer = self._optimizer()

    def run(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """All epochs."""
        warmup = self.config.warmup_epochs
        revived_Q = torch.zeros(self.config.num_levels, dtype=torch.int64)
        epochs = [self._told(epoch) for epoch in range(warmup)]
        begun = self._make_codebooks()
        for epoch in range(self.config.epochs):
            epochs.append(self._told(warmup + epoch))
            if epoch + 1 <= REVIVAL_SHARE * self.config.epochs:
                revived_QK = self.network.revive_codes(self.x_ND)
                revived_Q += revived_QK.sum(1).cpu()
                if self.average is not None:
                    self.average.restart(revived_QK)
        levels = self.network.retire_codes(self.x_ND)
        for level, revived in zip(levels, revived_Q.tolist(), strict=True):
            level["revived_codes"] = revived
        state = {name: value.detach() for name, value in self.network.state_dict().items()}
        report = {
            "fitted_points": len(self.x_ND),
            "levels": levels,
            "initialised": begun,
            "epochs": epochs,
        }
        return state, report

    def _make_codebooks(self) -> list[dict[str, Any]]:
        """k-means on the latents of every item once; positives, drawn more often, have no say."""
        found = self.network.initialise_codebooks(
            self.x_ND,
            iterations=self.config.iterations,
            generator=self.generator,
            max_points=self.config.max_points,
        )
        if self.config.codebooks == "ema":
            self.average = MovingAverage(
                self.network.codebooks.detach(), self.network.is_used, self.config.ema_decay
            )
        return found.levels if found is not None else []

    def _optimizer(self) -> torch.optim.Optimizer:
        decayed = [p for p in self._coders() if p.dim() > 1]
        plain = [p for p in self._coders() if p.dim() <= 1]
        if self.config.codebooks == "gradient":
            plain.append(self.network.codebooks)
        groups = [
            {"params": decayed, "weight_decay": self.config.weight_decay},
            {"params": plain, "weight_decay": 0.0},
        ]
        return torch.optim.AdamW(groups, lr=self.config.learning_rate, betas=(0.9, 0.98))

    def _coders(self) -> list[torch.nn.Parameter]:
        return [*self.network.encoder.parameters(), *self.network.decoder.parameters()]

    def _told(self, epoch: int) -> dict[str, float]:
        """An epoch, and a line of the log about it with the seconds that are left."""
        found, total = self._epoch(epoch), self.config.warmup_epochs + self.config.epochs
        left = (time.perf_counter() - self._started) / (epoch + 1) * (total - epoch - 1)
        losses = ", ".join(f"{name} {value:.4f}" for name, value in found.items())
        told = (epoch + 1, total, losses, left)
        log.info("tokenizer: epoch %d of %d, %s, %.0f s left", *told, extra=PROGRESS)
        return found

    def _epoch(self, epoch: int) -> dict[str, float]:
        """One pass over the items in an order of its own; mean losses over its batches."""
        batches = torch.randperm(len(self.x_ND), generator=self.generator).split(
            self.config.batch_size
        )
        sums: dict[str, float] = {}
        for number, rows_B in enumerate(batches):
            share = learning_rate_share(
                epoch * len(batches) + number,
                warmup_steps=WARMUP_STEPS,
                num_steps=(self.config.warmup_epochs + self.config.epochs) * len(batches),
            )
            for group in self.optimizer.param_groups:
                group["lr"] = self.config.learning_rate * share
            for name, value in self._step(rows_B).items():
                sums[name] = sums.get(name, 0.0) + float(value)
        return {name: total / len(batches) for name, total in sums.items()}

    def _step(self, rows_B: Tensor) -> dict[str, Tensor]:
        batch = self._encoded(rows_B)
        terms = self._terms(rows_B, batch)
        if self.contrast is not None:
            terms["contrast"] = self.contrast(self._encoded, rows_B, batch, self.generator)
        self.optimizer.zero_grad()
        torch.stack(list(terms.values())).sum().backward()
        self.optimizer.step()
        if self.average is not None and batch.words_BQH is not None and batch.codes_BQ is not None:
            latent_BH, words_BQH = batch.latent_BH.detach(), batch.words_BQH.detach()
            targets_BQH = self.quantization.targets(latent_BH, words_BQH)
            self.average.update(batch.codes_BQ, targets_BQH)
        return {name: value.detach() for name, value in terms.items()}

    def _terms(self, rows_B: Tensor, batch: Encoded) -> dict[str, Tensor]:
        """Weighted reconstruction and, once there are codebooks, quantization."""
        rounded_BH, terms = batch.latent_BH, {}
        if batch.words_BQH is not None:
            rounded_BH = straight_through(batch.latent_BH, batch.words_BQH.sum(1))
            loss_B = self.quantization.loss(
                batch.latent_BH, batch.words_BQH, commitment=self.config.commitment
            )
            weight = self.config.quantization_weight / self.config.latent_width
            terms["quantization"] = weight * loss_B.mean()
        x_BD = self.x_ND[rows_B.to(self.x_ND.device)]
        loss_B = reconstruction_loss(x_BD, self.network.decoder(rounded_BH))
        return {"reconstruction": loss_B.mean() / x_BD.shape[1], **terms}

    def _encoded(self, rows_B: Tensor) -> Encoded:
        x_BD = self.x_ND[rows_B.to(self.x_ND.device)]
        if self.config.noise:
            x_BD = x_BD + self._noise(len(rows_B))
        latent_BH = self.network.latent(x_BD)
        if not self.network.is_initialised:
            return Encoded(latent_BH)
        codes_BQ, words_BQH = self.network.quantize(latent_BH)
        codebooks_QKH = self.network.codebooks.detach()
        return Encoded(latent_BH, codes_BQ, words_BQH, codebooks_QKH, self.network.is_used)

    def _noise(self, count: int) -> Tensor:
        """Differences of items, so that it is spread as they are, [B,D]."""
        ends_XB = torch.randint(len(self.x_ND), (2, count), generator=self.generator)
        length_B1 = torch.rand((count, 1), generator=self.generator) * self.config.noise
        first_BD, second_BD = self.x_ND[ends_XB.to(self.x_ND.device)]
        return length_B1.to(self.x_ND.device) * (first_BD - second_BD) / math.sqrt(2)
