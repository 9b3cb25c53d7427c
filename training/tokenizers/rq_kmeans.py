"""RQ-KMeans: k-means on the embeddings, then on what each level leaves over (OneRec; MiniOneRec).

`r_0 = x`; level d clusters the residuals `r_{d−1}` into K groups and passes on
`r_d = r_{d−1} − C^d_{c_d}`. No encoder is trained: a strong and stable baseline.
"""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from training.tokenizers.interface import Tokenizer, require_finite
from training.tokenizers.kmeans import kmeans


@dataclass(frozen=True)
class RqKMeansConfig:
    """Shape and fit of RQ-KMeans.

    Args:
        num_levels: Q.
        codebook_size: K of every level.
        iterations: most k-means passes per level.
        seed: of the sample and of the seeding.
        max_points: a larger catalogue is fitted on a sample of so many items; all are encoded.
    """

    num_levels: int = 3
    codebook_size: int = 64
    iterations: int = 50
    seed: int = 0
    max_points: int = 262_144


class RqKMeans(Tokenizer):
    """Residual k-means on the embeddings themselves: the latent space is the embedding space."""

    kind = "rq_kmeans"
    config_class = RqKMeansConfig

    @classmethod
    def fit(cls, embeddings_ND: Tensor, config: RqKMeansConfig) -> Self:
        """Codebooks level by level; see `Tokenizer.fit`."""
        if len(embeddings_ND) == 0:
            raise ValueError("no embeddings to fit a tokenizer on; build item_embeddings first")
        require_finite(embeddings_ND)
        generator = torch.Generator().manual_seed(config.seed)
        residual_ND = embeddings_ND.float()
        if len(residual_ND) > config.max_points:
            chosen = torch.randperm(len(residual_ND), generator=generator)[: config.max_points]
            residual_ND = residual_ND[chosen.sort().values.to(residual_ND.device)]
        num_points, energy = len(residual_ND), float(residual_ND.square().sum(1).mean())
        codebooks, used, levels = [], [], []
        for _ in range(config.num_levels):
            found = kmeans(
                residual_ND, config.codebook_size, iterations=config.iterations, generator=generator
            )
            residual_ND = residual_ND - found.codebook_KH[found.code_N]
            codebooks.append(found.codebook_KH)
            used.append(found.is_used_K)
            levels.append(
                {
                    "used_codes": int(found.is_used_K.sum()),
                    "iterations": found.iterations,
                    "revived_codes": found.revived,
                    "residual_share": float(residual_ND.square().sum(1).mean())
                    / max(energy, 1e-30),
                }
            )
        state = {"codebooks": torch.stack(codebooks), "is_used": torch.stack(used)}
        return cls(config, state, {"fitted_points": num_points, "levels": levels})

    def latent(self, embeddings_ND: Tensor) -> Tensor:
        """The embeddings."""
        return embeddings_ND.float()

    def expand(self, latent_NH: Tensor) -> Tensor:
        """The quantized vectors."""
        return latent_NH
