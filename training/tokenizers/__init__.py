"""Every tokenizer there is."""

from pathlib import Path

from training.tokenizers.crq_vae import CrqVae
from training.tokenizers.interface import Tokenizer, TokenizerCorruptError, read_description
from training.tokenizers.rq_kmeans import RqKMeans
from training.tokenizers.rq_vae import RqVae

TOKENIZERS: dict[str, type[Tokenizer]] = {kind.kind: kind for kind in (RqKMeans, RqVae, CrqVae)}


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
