"""An encoder and a decoder around a residual quantizer: the network of RQ-VAE and CRQ-VAE.

`z = E(x)`, codes and codewords by level as in `training.tokenizers.quantize`, `x̂ = Dec(Σ_d e_d)`.
Encoder and decoder are a linear map with a perceptron beside it. The linear maps begin as the main
axes of the items and the perceptrons at zero: training begins with what k-means on the axes gives,
and the zero vector, which is the mean item, means itself.

Legend: N items, B items of a batch, D embedding width, H latent width, Q levels, K codes of a
level.
"""

import math
from collections.abc import Mapping
from typing import Any, Self

import torch
from torch import Tensor, nn

from training.losses.candidates import unit
from training.tokenizers.kmeans import ResidualClustering, residual_kmeans, revive
from training.tokenizers.quantize import nearest, residual_quantize

SMALLEST_SCALE = 1e-12
"""Of a catalogue whose items are all equal: nothing is divided by 0."""


class LinearAndPerceptron(nn.Module):
    """`W x + V gelu(U x + a) + b`, with V, a and b zero at first."""

    def __init__(self, width_in: int, width_hidden: int, width_out: int) -> None:
        super().__init__()
        self.straight = nn.Linear(width_in, width_out, bias=False)
        self.inner = nn.Linear(width_in, width_hidden)
        self.outer = nn.Linear(width_hidden, width_out)
        for zero in (self.inner.bias, self.outer.weight, self.outer.bias):
            nn.init.zeros_(zero)

    def forward(self, x: Tensor) -> Tensor:
        """Shape [B, width_out]."""
        return self.straight(x) + self.outer(nn.functional.gelu(self.inner(x)))


class QuantizedAutoencoder(nn.Module):
    """Network and codebooks; what is saved is its `state_dict`.

    Embeddings are centred and scaled to a mean square of 1 before they are encoded, by figures of
    the fitted items, so that weights of losses mean the same whatever encoder made the embeddings.

    Args:
        embedding_width: D.
        latent_width: H.
        hidden_width: of both perceptrons.
        sphere: whether latents are brought to length √H, so that nearness is cosine.
        num_levels: Q.
        codebook_size: K of every level.
    """

    def __init__(
        self,
        embedding_width: int,
        *,
        latent_width: int,
        hidden_width: int,
        num_levels: int,
        codebook_size: int,
        sphere: bool,
    ) -> None:
        super().__init__()
        self.sphere = sphere
        self.encoder = LinearAndPerceptron(embedding_width, hidden_width, latent_width)
        self.decoder = LinearAndPerceptron(latent_width, hidden_width, embedding_width)
        self.codebooks = nn.Parameter(torch.zeros(num_levels, codebook_size, latent_width))
        self.register_buffer("is_used", torch.zeros(num_levels, codebook_size, dtype=torch.bool))
        self.register_buffer("is_initialised", torch.zeros((), dtype=torch.bool))
        self.register_buffer("is_sphere", torch.tensor(sphere))
        self.register_buffer("mean", torch.zeros(embedding_width))
        self.register_buffer("scale", torch.ones(()))

    @classmethod
    def of_state(cls, state: Mapping[str, Tensor]) -> Self:
        """The network whose `state_dict` was kept, for use, not for training."""
        num_levels, codebook_size, latent_width = state["codebooks"].shape
        hidden_width, embedding_width = state["encoder.inner.weight"].shape
        with torch.device("meta"):  # no weights are drawn only to be replaced
            network = cls(
                embedding_width,
                latent_width=latent_width,
                hidden_width=hidden_width,
                num_levels=num_levels,
                codebook_size=codebook_size,
                sphere=bool(state["is_sphere"]),
            )
        network.load_state_dict(state, assign=True)
        network.requires_grad_(False)
        return network

    def normalised(self, embeddings_BD: Tensor) -> Tensor:
        """Embeddings as they are encoded."""
        return (embeddings_BD.float() - self.mean) / self.scale

    @torch.no_grad()
    def begin_with_axes(self, embeddings_ND: Tensor) -> None:
        """Set mean and scale, and the linear maps to the main axes of the items and back.

        Each axis is turned so that its largest component is positive: equal items, equal bits.
        Axes beyond those that the items have stay as they were drawn in the encoder, and the
        decoder passes them over.
        """
        self.mean.copy_(embeddings_ND.float().mean(0))
        centred_ND = embeddings_ND.float() - self.mean
        self.scale.copy_(centred_ND.square().mean().sqrt().clamp(min=SMALLEST_SCALE))
        x_ND = centred_ND / self.scale
        _, axes_DD = torch.linalg.eigh((x_ND.T @ x_ND).double())
        width = min(self.encoder.straight.out_features, len(axes_DD))
        axes_DW = axes_DD.flip(1)[:, :width]
        axes_DW = axes_DW * axes_DW.gather(0, axes_DW.abs().argmax(0, keepdim=True)).sign()
        self.encoder.straight.weight[:width] = axes_DW.T.float()
        self.decoder.straight.weight.zero_()
        self.decoder.straight.weight[:, :width] = axes_DW.float()

    @torch.no_grad()
    def initialise_codebooks(
        self, x_ND: Tensor, *, iterations: int, generator: torch.Generator, max_points: int
    ) -> ResidualClustering | None:
        """k-means on the latents of the items, each once; None where that was done before.

        Whether it was is part of the state: a network that was saved and loaded keeps its codes.
        """
        if bool(self.is_initialised):
            return None
        num_levels, num_codes, _ = self.codebooks.shape
        found = residual_kmeans(
            self.latent(x_ND),
            num_levels,
            num_codes,
            iterations=iterations,
            generator=generator,
            max_points=max_points,
        )
        self.codebooks.copy_(found.codebooks_QKH)
        self.is_used.copy_(found.is_used_QK)
        self.is_initialised.fill_(True)
        return found

    def encode(self, embeddings_BD: Tensor) -> Tensor:
        """Latents of embeddings as they come, [B,H]."""
        return self.latent(self.normalised(embeddings_BD))

    def latent(self, x_BD: Tensor) -> Tensor:
        """Latents of normalised embeddings, [B,H]; the mean item's is 0, on a sphere, too."""
        latent_BH = self.encoder(x_BD)
        if not self.sphere:
            return latent_BH
        return unit(latent_BH) * math.sqrt(latent_BH.shape[1])

    def decode(self, latent_BH: Tensor) -> Tensor:
        """Embeddings as they came, [B,D]."""
        return self.decoder(latent_BH) * self.scale + self.mean

    def quantize(self, latent_BH: Tensor) -> tuple[Tensor, Tensor]:
        """Codes [B,Q] and codewords [B,Q,H]; gradient goes to the codebooks alone.

        The codewords are a product with the one-hot codes, not a look-up: the order of additions
        of its gradient, and with it every bit, is the same in every run, on a GPU too.
        """
        codes_BQ, _ = residual_quantize(latent_BH.detach(), self.codebooks.detach(), self.is_used)
        one_hot_BQK = nn.functional.one_hot(codes_BQ, self.codebooks.shape[1]).float()
        return codes_BQ, torch.einsum("bqk,qkh->bqh", one_hot_BQK, self.codebooks)

    @torch.no_grad()
    def revive_codes(self, x_ND: Tensor) -> Tensor:
        """Move codes that no item has to the residuals described worst, level by level.

        Returns:
            Which codes were moved, [Q,K], bool.
        """
        residual_NH = self.latent(x_ND)
        revived_QK = torch.zeros_like(self.is_used)
        for level, codebook_KH in enumerate(self.codebooks):
            code_N, _ = nearest(residual_NH, codebook_KH, self.is_used[level])
            reached_K = torch.bincount(code_N, minlength=len(codebook_KH)) > 0
            is_used_K = reached_K.clone()
            revive(codebook_KH, is_used_K, residual_NH, code_N)
            self.is_used[level] = is_used_K
            revived_QK[level] = is_used_K & ~reached_K
            code_N, _ = nearest(residual_NH, codebook_KH, is_used_K)
            residual_NH = residual_NH - codebook_KH[code_N]
        return revived_QK

    @torch.no_grad()
    def retire_codes(self, x_ND: Tensor) -> list[dict[str, Any]]:
        """Mark codes that no item has as unused, and say what each level describes.

        Returns:
            Per level `used_codes` and `residual_share`, `Σ ‖r_d‖² / Σ ‖z‖²`.
        """
        residual_NH = self.latent(x_ND)
        energy, levels = float(residual_NH.double().square().sum()), []
        for level, codebook_KH in enumerate(self.codebooks):
            code_N, _ = nearest(residual_NH, codebook_KH, self.is_used[level])
            self.is_used[level] = torch.bincount(code_N, minlength=len(codebook_KH)) > 0
            codebook_KH.masked_fill_(~self.is_used[level].unsqueeze(1), 0.0)
            residual_NH = residual_NH - codebook_KH[code_N]
            levels.append(
                {
                    "used_codes": int(self.is_used[level].sum()),
                    "residual_share": float(residual_NH.double().square().sum())
                    / max(energy, 1e-30),
                }
            )
        return levels
