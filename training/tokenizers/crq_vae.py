"""CRQ-VAE: prefixes shared by items that belong together (HiGR, arXiv:2512.24787).

`L = L_recon + λ1 · L_gq + λ2 · L_cont` (docs/mechanics.md, CRQ-VAE loss): RQ-VAE's network, with
the quantization loss on the sum of the codewords, and InfoNCE on all levels but the last; by
default of the chance that two items share a prefix. The last level is there to tell apart what
shares the others, and is taught to. Both are ours (DECISIONS §35). Reconstruction and quantization
are of the anchors, every item once per epoch; positives, of which popular items are more, are
contrasted and nothing else.

Legend: N items, B anchors of a batch, D embedding width, H latent width, Q levels, P pairs.
"""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from training.losses.quantization import (
    contrast_loss,
    prefix_contrast_loss,
    residuals,
    shared_prefix_loss,
    sibling_loss,
)
from training.settings.tokenizers import CrqVaeConfig
from training.tokenizers.autoencoder_fit import (
    GLOBAL,
    Encode,
    Encoded,
    fit_autoencoder,
)
from training.tokenizers.interface import require_items
from training.tokenizers.positives import Positives
from training.tokenizers.rq_vae import AutoencoderTokenizer


class CrqVae(AutoencoderTokenizer):
    """Residual quantization of a latent that was learnt with its neighbours."""

    kind = "crq_vae"
    config_class = CrqVaeConfig

    @classmethod
    def fit(
        cls, embeddings_ND: Tensor, config: CrqVaeConfig, pairs_P2: Tensor | None = None
    ) -> Self:
        """Positives are neighbours by embedding and the pairs. See `Tokenizer.fit`."""
        require_items(embeddings_ND)
        positives = Positives.of(
            embeddings_ND,
            pairs_P2,
            num_neighbours=config.num_neighbours,
            share=config.given_share,
        )
        contrast = PrefixContrast(positives, config)
        state, report = fit_autoencoder(embeddings_ND, config, GLOBAL, contrast)
        return cls(config, state, {**report, "positives": positives.facts()})


@dataclass(frozen=True)
class PrefixContrast:
    """`λ2 · L_cont` of a batch."""

    positives: Positives
    config: CrqVaeConfig

    def __call__(
        self, encode: Encode, rows_B: Tensor, anchors: Encoded, generator: torch.Generator
    ) -> Tensor:
        """A number; 0 where no anchor has a positive and none a sibling."""
        positive_B, has_B = self.positives.draw(rows_B, generator)
        positives = encode(positive_B)
        if anchors.codes_BQ is None:
            weight = self.config.warmup_contrast_weight
            loss_B = self._of_latents(anchors, positives)
        else:
            weight = self.config.contrast_weight
            loss_B = self._of_prefixes(anchors, positives)
        has_B = has_B.to(loss_B.device)
        loss = weight * loss_B.masked_fill(~has_B, 0.0).sum() / has_B.sum().clamp(min=1)
        if anchors.codes_BQ is None or self.config.contrasted != "assignment":
            return loss
        return loss + self.config.sibling_weight * sibling_loss(
            torch.cat([self._chances(batch, last=True) for batch in (anchors, positives)]),
            torch.cat([rows_B, positive_B]).to(loss.device),
            torch.cat([anchors.codes_BQ, positives.codes_BQ]),
        )

    def _of_latents(self, anchors: Encoded, positives: Encoded) -> Tensor:
        """Before there are codes the latents themselves, which level 1 will round, [B]."""
        latent_BH = anchors.latent_BH
        nobody_BB = torch.zeros(
            (len(latent_BH), len(latent_BH)), dtype=torch.bool, device=latent_BH.device
        )
        return contrast_loss(
            latent_BH, positives.latent_BH, nobody_BB, temperature=self.config.temperature
        )

    def _of_prefixes(self, anchors: Encoded, positives: Encoded) -> Tensor:
        config = self.config
        if config.contrasted == "assignment":
            return shared_prefix_loss(self._chances(anchors), self._chances(positives))
        return prefix_contrast_loss(
            self._carriers(anchors),
            self._carriers(positives),
            anchors.codes_BQ,
            positives.codes_BQ,
            temperature=config.temperature,
            level_weights=[config.level_decay**level for level in range(config.num_levels - 1)],
        )

    def _chances(self, batch: Encoded, *, last: bool = False) -> Tensor:
        """Log-probabilities of codes given those above, [B,Q,K], or of the last alone, [B,K]."""
        config, width = self.config, batch.latent_BH.shape[1]
        softness = config.sibling_softness if last else config.softness
        levels = slice(-1, None) if last else slice(None)
        assert batch.words_BQH is not None  # contrasted once there are codebooks
        assert batch.codebooks_QKH is not None
        assert batch.is_used_QK is not None
        residuals_BQH = residuals(batch.latent_BH, batch.words_BQH.detach())[:, levels]
        codebooks_QKH = batch.codebooks_QKH[levels]
        squares_QK = codebooks_QKH.square().sum(2)
        inner_BQK = torch.einsum("bqh,qkh->bqk", residuals_BQH, codebooks_QKH)
        nearness_BQK = (2 * inner_BQK - squares_QK) / (softness * width)
        chances_BQK = nearness_BQK.masked_fill(~batch.is_used_QK[levels], -torch.inf).log_softmax(2)
        return chances_BQK[:, 0] if last else chances_BQK

    def _carriers(self, batch: Encoded) -> Tensor:
        """What stands for each level in the contrast, [B,Q,H]."""
        assert batch.words_BQH is not None  # contrasted once there are codebooks
        if self.config.contrasted == "codeword":
            return batch.words_BQH
        residuals_BQH = residuals(batch.latent_BH, batch.words_BQH.detach())
        if self.config.contrasted == "residual":
            return residuals_BQH
        # The codeword's value; gradient to the codeword and to what it stands for.
        return batch.words_BQH + residuals_BQH - residuals_BQH.detach()
