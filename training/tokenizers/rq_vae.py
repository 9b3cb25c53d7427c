"""RQ-VAE: an encoder, residual codebooks and a decoder, each level taught what is left for it.

`‖x − x̂‖²/D + λ1 · Σ_d (‖sg(r_{d−1}) − e_d‖² + β ‖r_{d−1} − sg(e_d)‖²)/H`: Lee et al. 2022 and TIGER
(docs/mechanics.md, RQ-VAE loss), means over a vector's numbers.
"""

from collections.abc import Mapping
from typing import Any, Self

from torch import Tensor

from training.settings.tokenizers import RqVaeConfig
from training.tokenizers.autoencoder import QuantizedAutoencoder
from training.tokenizers.autoencoder_fit import LAYERWISE, fit_autoencoder
from training.tokenizers.interface import Tokenizer


class AutoencoderTokenizer(Tokenizer):
    """What RQ-VAE and CRQ-VAE do alike once they are fitted."""

    def __init__(self, config: Any, state: Mapping[str, Tensor], report: Mapping[str, Any]) -> None:
        super().__init__(config, state, report)
        self._network = QuantizedAutoencoder.of_state(self.state)

    def latent(self, embeddings_ND: Tensor) -> Tensor:
        """What the encoder makes of the embeddings."""
        return self._network.encode(embeddings_ND)

    def expand(self, latent_NH: Tensor) -> Tensor:
        """What the decoder makes of quantized latents."""
        return self._network.decode(latent_NH)


class RqVae(AutoencoderTokenizer):
    """Residual quantization of a learnt latent, level by level."""

    kind = "rq_vae"
    config_class = RqVaeConfig

    @classmethod
    def fit(
        cls, embeddings_ND: Tensor, config: RqVaeConfig, pairs_P2: Tensor | None = None
    ) -> Self:
        """Nothing is contrasted, so pairs are passed over. See `Tokenizer.fit`."""
        state, report = fit_autoencoder(embeddings_ND, config, LAYERWISE)
        return cls(config, state, report)
