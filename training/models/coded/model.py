"""What models that know items by semantic IDs have in common. V items, Q levels, E of content."""

from collections.abc import Mapping
from typing import Any, Self

from torch import Tensor, nn

from training.decoding.trie import CodeTrie, ListedTrie
from training.models.coded.items import ItemVectors


class CodedModel(nn.Module):
    """A model with a table of codes: its shape, how it is made of weights, and which IDs exist."""

    def __init__(
        self, config: Any, codes_VQ: Tensor, content_VE: Tensor, level_sizes: tuple[int, ...]
    ) -> None:
        super().__init__()
        self.config, self.level_sizes = config, tuple(level_sizes)
        self.items = ItemVectors(codes_VQ, content_VE, self.level_sizes, config.width)
        self._trie: CodeTrie | None = None
        self._listed = ListedTrie()

    @property
    def codes_VQ(self) -> Tensor:
        """Semantic IDs, negative where an item has none."""
        return self.items.codes_VQ

    @property
    def sizes(self) -> dict[str, Any]:
        """V, and the codes of each level."""
        return {"num_items": len(self.codes_VQ), "level_sizes": self.level_sizes}

    @classmethod
    def from_weights(
        cls, config: Any, sizes: Mapping[str, Any], tensors: Mapping[str, Tensor]
    ) -> Self:
        """The model that had these tensors, codes and content among them."""
        codes_VQ, content_VE = tensors["items.codes_VQ"], tensors["items.content_VE"]
        model = cls(config, codes_VQ, content_VE, tuple(sizes["level_sizes"]))
        model.load_state_dict(tensors)
        return model

    @property
    def said_by(self) -> tuple[Tensor, tuple[int, ...]]:
        """The codes by which each item is said, [V, levels], and how many there are of each level.

        Semantic IDs, unless a model says otherwise.
        """
        return self.codes_VQ, self.level_sizes

    @property
    def trie(self) -> CodeTrie:
        """The IDs that items are said by and that exist, on the model's device."""
        device = self.codes_VQ.device
        if self._trie is None or self._trie.device != device:
            codes_VQ, num_codes = self.said_by
            trie = CodeTrie.from_codes(codes_VQ.cpu().numpy(), num_codes=num_codes)
            self._trie = trie.to(device)
        return self._trie
