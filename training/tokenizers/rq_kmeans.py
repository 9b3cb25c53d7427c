"""RQ-KMeans: k-means on the embeddings, then on what each level leaves over (OneRec; MiniOneRec).

`r_0 = x`; level d clusters the residuals `r_{d−1}` into K groups and passes on
`r_d = r_{d−1} − C^d_{c_d}`. No encoder is trained: a strong and stable baseline.
"""

from typing import Self

import torch
from torch import Tensor

from training.settings.tokenizers import RqKMeansConfig
from training.tokenizers.interface import Tokenizer, require_items
from training.tokenizers.kmeans import residual_kmeans


class RqKMeans(Tokenizer):
    """Residual k-means on the embeddings themselves: the latent space is the embedding space."""

    kind = "rq_kmeans"
    config_class = RqKMeansConfig

    @classmethod
    def fit(
        cls, embeddings_ND: Tensor, config: RqKMeansConfig, pairs_P2: Tensor | None = None
    ) -> Self:
        """Codebooks level by level; pairs say nothing to k-means. See `Tokenizer.fit`."""
        require_items(embeddings_ND)
        found = residual_kmeans(
            embeddings_ND.float(),
            config.num_levels,
            config.codebook_size,
            iterations=config.iterations,
            generator=torch.Generator().manual_seed(config.seed),
            max_points=config.max_points,
        )
        state = {"codebooks": found.codebooks_QKH, "is_used": found.is_used_QK}
        return cls(config, state, {"fitted_points": found.num_points, "levels": found.levels})

    def latent(self, embeddings_ND: Tensor) -> Tensor:
        """The embeddings."""
        return embeddings_ND.float()

    def expand(self, latent_NH: Tensor) -> Tensor:
        """The quantized vectors."""
        return latent_NH
