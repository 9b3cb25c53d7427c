"""What every tokenizer is: item vectors in, codes out, and a folder that gives the same codes.

A kind implements `fit`, `latent` and `expand`; codes, reconstruction, saving and loading are the
same for all residual quantizers, because each has codebooks over a latent space.

Legend: N items, M of them in a chunk, D embedding width, H latent width, Q levels, K codes of a
level.
"""

import dataclasses
import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from training.settings.configure import configure
from training.tokenizers import quantize

WEIGHTS = "tokenizer.safetensors"
DESCRIPTION = "tokenizer.json"


class TokenizerCorruptError(Exception):
    """A saved tokenizer whose files are missing, unreadable or changed."""


class Tokenizer(ABC):
    """A fitted tokenizer.

    Args:
        config: a frozen dataclass of the kind's own.
        state: every tensor of it by name, among them `codebooks` [Q,K,H], float32, and `is_used`
            [Q,K], bool.
        report: how the fit went, JSON-serialisable, without durations.
    """

    kind: ClassVar[str]
    config_class: ClassVar[type]

    def __init__(self, config: Any, state: Mapping[str, Tensor], report: Mapping[str, Any]) -> None:
        self.config = config
        self.state = {name: state[name] for name in sorted(state)}
        self.report = dict(report)

    @classmethod
    def config_from(cls, settings: Mapping[str, Any]) -> Any:
        """The kind's config from a preset's section `tokenizer`.

        Args:
            settings: fields that several kinds have, where this one has them, too (others are of
                other concerns and passed over); and under `settings`, by kind, further ones.
        Raises:
            ValueError: the kind has no such setting, does not offer the choice, or a value is out
                of its range.
        """
        names = {field.name for field in dataclasses.fields(cls.config_class)}
        shared = {name: value for name, value in settings.items() if name in names}
        own = settings.get("settings", {}).get(cls.kind, {})
        return configure(cls.config_class, cls.kind, {**shared, **own})

    @classmethod
    @abstractmethod
    def fit(cls, embeddings_ND: Tensor, config: Any, pairs_P2: Tensor | None = None) -> Self:
        """Learn codebooks from item vectors, on the device that they are on.

        Nothing is kept of a fit that was stopped: it takes minutes, and begun anew it ends with
        the same bits.

        Args:
            embeddings_ND: the catalogue.
            config: of `config_class`.
            pairs_P2: rows (anchor, positive) of items that belong together for other reasons than
                their embedding; kinds that don't contrast pass them over.
        Raises:
            ValueError: no vectors, some that are not finite, or pairs of rows that are not there.
        """

    @abstractmethod
    def latent(self, embeddings_ND: Tensor) -> Tensor:
        """The vectors that are quantized, [N,H]."""

    @abstractmethod
    def expand(self, latent_NH: Tensor) -> Tensor:
        """Embeddings from quantized vectors, [N,D]."""

    @property
    def codebooks_QKH(self) -> Tensor:
        """Codewords by level."""
        return self.state["codebooks"]

    @property
    def is_used_QK(self) -> Tensor:
        """Which codes stand for anything."""
        return self.state["is_used"]

    @property
    def num_levels(self) -> int:
        """Q."""
        return int(self.codebooks_QKH.shape[0])

    @property
    def codebook_size(self) -> int:
        """K."""
        return int(self.codebooks_QKH.shape[1])

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return self.codebooks_QKH.device

    def encode(self, embeddings_ND: Tensor) -> Tensor:
        """Codes of items, in chunks of bounded memory.

        Args:
            embeddings_ND: on any device.
        Returns:
            Shape [N,Q], int64, on the CPU.
        Raises:
            ValueError: a vector is not finite.
        """
        require_finite(embeddings_ND)
        parts = [torch.zeros((0, self.num_levels), dtype=torch.int64)]
        for chunk in quantize.chunks(len(embeddings_ND), self.codebook_size):
            latent_MH = self.latent(embeddings_ND[chunk].to(self.device))
            codes_MQ, _ = quantize.residual_quantize(latent_MH, self.codebooks_QKH, self.is_used_QK)
            parts.append(codes_MQ.cpu())
        return torch.cat(parts)

    def reconstruct(self, codes_NQ: Tensor) -> Tensor:
        """Embeddings that codes stand for, [N,D]."""
        words_NQH = quantize.codewords(codes_NQ.to(self.device), self.codebooks_QKH)
        return self.expand(words_NQH.sum(1))

    def to(self, device: torch.device | str) -> Self:
        """The same on another device."""
        state = {name: tensor.to(device) for name, tensor in self.state.items()}
        return type(self)(self.config, state, self.report)

    def beside(self, tensors: Mapping[str, Tensor]) -> Self:
        """The same with further tensors, which are kept with it and count in its digest."""
        return type(self)(self.config, {**self.state, **tensors}, self.report)

    @property
    def digest(self) -> str:
        """SHA-256, hex, of kind, config and every bit of the state."""
        described = {"kind": self.kind, "config": dataclasses.asdict(self.config)}
        digest = hashlib.sha256(json.dumps(described, sort_keys=True).encode())
        for name, tensor in self.state.items():
            digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
            digest.update(tensor.contiguous().cpu().numpy().tobytes())
        return digest.hexdigest()

    def save(self, directory: Path) -> None:
        """Write `tokenizer.safetensors` and `tokenizer.json`, the digest in it."""
        directory.mkdir(parents=True, exist_ok=True)
        state = {name: tensor.contiguous().cpu() for name, tensor in self.state.items()}
        save_file(state, directory / WEIGHTS)
        description = {
            "kind": self.kind,
            "config": dataclasses.asdict(self.config),
            "digest": self.digest,
            "report": self.report,
        }
        (directory / DESCRIPTION).write_text(json.dumps(description, indent=1, sort_keys=True))

    @classmethod
    def load(cls, directory: Path) -> Self:
        """The tokenizer that was saved, bit for bit, on the CPU.

        Raises:
            TokenizerCorruptError: a file is missing or unreadable, another kind was saved, or the
                digest does not match.
        """
        description = read_description(directory)
        if description["kind"] != cls.kind:
            raise TokenizerCorruptError(
                f"{directory} holds a tokenizer of kind {description['kind']!r}, not {cls.kind!r}"
            )
        try:
            state = load_file(directory / WEIGHTS)
        except Exception as error:  # safetensors raises its own error and OSError alike
            raise TokenizerCorruptError(f"{directory / WEIGHTS} can't be read: {error}") from error
        config = cls.config_class(**description["config"])
        tokenizer = cls(config, state, description["report"])
        if tokenizer.digest != description["digest"]:
            raise TokenizerCorruptError(
                f"{directory} holds digest {tokenizer.digest:.12}…, its description says "
                f"{description['digest']:.12}…; fetch it again from the registry"
            )
        return tokenizer


def read_description(directory: Path) -> dict[str, Any]:
    """What `tokenizer.json` says.

    Raises:
        TokenizerCorruptError: it is missing, no JSON, or lacks a field.
    """
    path = directory / DESCRIPTION
    try:
        description: dict[str, Any] = json.loads(path.read_text())
        missing = {"kind", "config", "digest", "report"} - set(description)
    except (OSError, ValueError) as error:
        raise TokenizerCorruptError(f"{path} can't be read: {error}") from error
    if missing:
        raise TokenizerCorruptError(f"{path} lacks {sorted(missing)}")
    return description


def require_items(embeddings_ND: Tensor) -> None:
    """Refuse a catalogue that nothing can be learnt from.

    Raises:
        ValueError: there are no vectors, or some are not finite.
    """
    if len(embeddings_ND) == 0:
        raise ValueError("no embeddings to fit a tokenizer on; build item_embeddings first")
    require_finite(embeddings_ND)


def require_finite(embeddings_ND: Tensor) -> None:
    """Refuse vectors that hold NaN or infinity.

    Raises:
        ValueError: says how many, and the first rows.
    """
    bad = torch.nonzero(~torch.isfinite(embeddings_ND).all(1)).squeeze(1).tolist()
    if bad:
        raise ValueError(
            f"{len(bad)} of {len(embeddings_ND)} embeddings hold NaN or infinity, rows {bad[:3]}…; "
            "build item_embeddings again"
        )
