"""What models that know items by semantic IDs have in common. V items, Q levels."""

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from training.decoding.trie import CodeTrie, ListedTrie


class CodedModel(nn.Module):
    """A model with a table of codes: its shape, how it is made of weights, and which IDs exist.

    Draws nothing: a family's own parameters are the first that chance decides.
    """

    codes_VQ: Tensor
    first_token_Q: Tensor

    def __init__(self, config: Any, codes_VQ: Tensor, level_sizes: tuple[int, ...]) -> None:
        super().__init__()
        self.config, self.level_sizes = config, tuple(level_sizes)
        # A copy: weights that are loaded later must not be written into the caller's array.
        self.register_buffer("codes_VQ", codes_VQ.clone())
        first_token_Q = torch.tensor([0, *np.cumsum(level_sizes)[:-1]])
        self.register_buffer("first_token_Q", first_token_Q, persistent=False)
        self._trie: CodeTrie | None = None
        self._listed = ListedTrie()

    @property
    def sizes(self) -> dict[str, Any]:
        """V, and the codes of each level."""
        return {"num_items": len(self.codes_VQ), "level_sizes": self.level_sizes}

    @classmethod
    def from_weights(
        cls, config: Any, sizes: Mapping[str, Any], tensors: Mapping[str, Tensor]
    ) -> Self:
        """The model that had these tensors, codes among them."""
        model = cls(config, tensors["codes_VQ"], tuple(sizes["level_sizes"]))
        model.load_state_dict(tensors)
        return model

    @property
    def trie(self) -> CodeTrie:
        """The semantic IDs that exist, on the model's device."""
        device = self.codes_VQ.device
        if self._trie is None or self._trie.device != device:
            codes = self.codes_VQ.cpu().numpy()
            self._trie = CodeTrie.from_codes(codes, num_codes=self.level_sizes).to(device)
        return self._trie
