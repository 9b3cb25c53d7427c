"""What can be chosen about each kind of tokenizer.

Legend: N items, B items of a batch, D embedding width, H latent width, Q levels, K codes of a
level.
"""

from dataclasses import dataclass
from typing import Literal

from training.settings.bounds import (
    AboveZero,
    AtLeastOne,
    AtLeastZero,
    NotNegative,
    Share,
    ShareBelowOne,
)


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

    num_levels: AtLeastOne = 3
    codebook_size: AtLeastOne = 64
    iterations: AtLeastOne = 50
    seed: int = 0
    max_points: AtLeastOne = 262_144


@dataclass(frozen=True, kw_only=True)
class AutoencoderConfig:
    """Shape and fit that RQ-VAE and CRQ-VAE share.

    Args:
        num_levels: Q.
        codebook_size: K of every level.
        iterations: most passes of the k-means that the codebooks begin with, per level.
        seed: of weights, batches and k-means.
        max_points: of a larger catalogue k-means sees a sample of so many items.
        latent_width: H.
        hidden_width: of the perceptrons beside the linear maps of encoder and decoder.
        sphere: whether latents have one length, so that nearness is cosine.
        warmup_epochs: passes over the items before k-means makes the codebooks, without
            quantization.
        epochs: passes over the items after that.
        batch_size: B.
        learning_rate: at its peak.
        weight_decay: of AdamW, on the weights of encoder and decoder.
        quantization_weight: λ1.
        commitment: β, how much a latent is pulled to its codewords.
        noise: an item is trained on as itself plus `u · noise · (x_i − x_j)/√2`, u uniform in
            [0, 1) and i, j drawn: what an unseen item near it may be. Reconstructed is the item.
        codebooks: moved by the loss's gradient, or moving averages of what they stand for.
        ema_decay: what a moving average keeps of itself per batch.
    """

    num_levels: AtLeastOne = 3
    codebook_size: AtLeastOne = 64
    iterations: AtLeastOne = 50
    seed: int = 0
    max_points: AtLeastOne = 262_144
    latent_width: AtLeastOne = 64
    hidden_width: AtLeastOne = 256
    sphere: bool = True
    warmup_epochs: AtLeastZero = 40
    epochs: AtLeastZero = 10
    batch_size: AtLeastOne = 256
    learning_rate: AboveZero = 1e-3
    weight_decay: NotNegative = 0.0
    quantization_weight: NotNegative = 1.0
    commitment: NotNegative = 0.25
    noise: NotNegative = 0.0
    codebooks: Literal["gradient", "ema"] = "ema"
    ema_decay: ShareBelowOne = 0.9

    def __post_init__(self) -> None:
        problems = self.problems()
        if problems:
            raise ValueError("; ".join(problems))

    def problems(self) -> list[str]:
        """What is wrong with the values, all at once."""
        least = {
            "latent_width": 1, "hidden_width": 1, "warmup_epochs": 0, "epochs": 0, "batch_size": 1,
            "weight_decay": 0, "quantization_weight": 0, "commitment": 0, "noise": 0,
        }  # fmt: skip
        found = [
            f"{name} is {getattr(self, name)}, expected at least {bound}"
            for name, bound in least.items()
            if getattr(self, name) < bound
        ]
        if self.learning_rate <= 0:
            found.append(f"learning_rate is {self.learning_rate}, expected a number above 0")
        if not 0 <= self.ema_decay < 1:
            found.append(f"ema_decay is {self.ema_decay}, expected at least 0 and below 1")
        return found


@dataclass(frozen=True, kw_only=True)
class RqVaeConfig(AutoencoderConfig):
    """Shape and fit of RQ-VAE."""


@dataclass(frozen=True, kw_only=True)
class CrqVaeConfig(AutoencoderConfig):
    """Shape and fit of CRQ-VAE.

    Args:
        contrast_weight: λ2; 0 leaves the prefixes to the other terms.
        warmup_contrast_weight: of the same contrast of the latents themselves, as long as there
            are no codebooks. Ours.
        temperature: τ, of latents and of all carriers but assignment; the paper does not say.
        level_decay: each level's weight is so much of the one above; 0.1 in the only public
            implementation. Not of assignment.
        contrasted: what carries the contrast of a level: the chance of sharing the prefix, which
            is what is asked of codes (assignment, ours), the residual that the codeword stands for
            (residual), the codeword with its gradient going to the residual as well
            (straight_through), or to the codebook alone (codeword). The paper does not say. Under
            straight_through two items that belong together, each with its own code, are moved to
            the other's code at once, and pass each other; residuals meet in between.
        softness: the chance of a code is `softmax(−‖r − c‖² / (softness · H))`; of assignment.
        sibling_weight: of telling items apart by the last level that share the others; of
            assignment. Ours.
        sibling_softness: the same as softness, there.
        num_neighbours: nearest items by embedding that a positive is drawn from.
        given_share: how often the positive is one of the given pairs', where an anchor has both.
    """

    warmup_epochs: AtLeastZero = 20
    epochs: AtLeastZero = 40
    codebooks: Literal["gradient", "ema"] = "gradient"
    noise: NotNegative = 1.0
    contrast_weight: NotNegative = 1.0
    warmup_contrast_weight: NotNegative = 10.0
    temperature: AboveZero = 0.1
    level_decay: NotNegative = 1.0
    contrasted: Literal["assignment", "residual", "straight_through", "codeword"] = "assignment"
    softness: AboveZero = 0.1
    sibling_weight: NotNegative = 10.0
    sibling_softness: AboveZero = 0.03
    num_neighbours: AtLeastZero = 5
    given_share: Share = 0.2

    def problems(self) -> list[str]:
        """What is wrong with the values, all at once."""
        found = super().problems()
        for name in (
            "contrast_weight", "warmup_contrast_weight", "level_decay", "num_neighbours",
            "sibling_weight",
        ):  # fmt: skip
            if getattr(self, name) < 0:
                found.append(f"{name} is {getattr(self, name)}, expected at least 0")
        for name in ("temperature", "softness", "sibling_softness"):
            if getattr(self, name) <= 0:
                found.append(f"{name} is {getattr(self, name)}, expected a number above 0")
        if not 0 <= self.given_share <= 1:
            found.append(f"given_share is {self.given_share}, expected from 0 to 1")
        if self.batch_size < 2:
            found.append(
                f"batch_size is {self.batch_size}, expected at least 2: the negatives of an item "
                "are the others of its batch"
            )
        return found
