"""Every tokenizer there is."""

from pathlib import Path
from typing import Any

from feature_store.installed import TOKENIZERS_GROUP, Registry
from training.tokenizers.crq_vae import CrqVae
from training.tokenizers.interface import Tokenizer, TokenizerCorruptError, read_description
from training.tokenizers.rq_kmeans import RqKMeans
from training.tokenizers.rq_vae import RqVae


def _kind_of(name: str, kind: Any) -> type[Tokenizer]:
    """What an entry point names, as a kind of tokenizer."""
    if not (isinstance(kind, type) and issubclass(kind, Tokenizer)):
        raise ValueError(
            f"is {kind!r}, expected a class of training.tokenizers.interface.Tokenizer"
        )
    if kind.kind != name:
        raise ValueError(f"calls itself {kind.kind!r}, expected the name of its entry point")
    return kind


TOKENIZERS: Registry[type[Tokenizer]] = Registry(
    TOKENIZERS_GROUP, {kind.kind: kind for kind in (RqKMeans, RqVae, CrqVae)}, _kind_of
)


def load_tokenizer(directory: Path) -> Tokenizer:
    """The tokenizer saved in a folder, whatever its kind.

    Raises:
        TokenizerCorruptError: it can't be read, is of no known kind, or was changed.
    """
    kind = read_description(directory)["kind"]
    if kind not in TOKENIZERS:
        raise TokenizerCorruptError(
            f"{directory} holds a tokenizer of kind {kind!r}; known are {sorted(TOKENIZERS)}"
        )
    return TOKENIZERS[kind].load(directory)
