"""How many operations a step of training has to do; model FLOPs utilisation is of these alone.

A product of [n, a] and [a, b] counts 2 n a b, backward counts twice forward, so a step three times.
With D the width, G what all heads of an HSTU layer have together, L positions of a row (padding not
counted), V items, N targets, R drawn negatives, Q levels of K codes:

    HSTU layer            8 L D G + 2 L G D + 2 L (L + 1) G       each position sees those before it
    sampled softmax       2 N D (R + 1)
    full softmax          2 N D V
    code decoder          2 N Q (D D + 4 D D + D K)

Lookups, norms, gates and the optimizer count nothing.
"""

import numpy as np

from training.data.batches import PAD
from training.fit.objective import NextItems
from training.settings.families import SasrecConfig, TigerConfig

BACKWARD_AND_FORWARD = 3


def of_epoch(
    config: SasrecConfig | TigerConfig,
    objective: NextItems,
    num_items: int,
    level_sizes: tuple[int, ...],
) -> float:
    """Operations of epoch 1 of a fit on HSTU.

    Args:
        config: the model's.
        objective: gives the epoch's rows.
        num_items: V.
        level_sizes: K of each level, for a model that says codes.
    """
    lengths, targets = [], 0
    for batch in objective.batches(1, first_step=0, rank=0, world_size=1):
        lengths.append((batch.items_BL != PAD).sum(1).numpy())
        targets += batch.num_own_targets
    reader = _of_reader(config, np.concatenate(lengths).astype(np.float64))
    width = config.width
    if isinstance(config, SasrecConfig):
        compared = num_items if config.loss == "full" else config.num_negatives + 1
        return BACKWARD_AND_FORWARD * (reader + 2.0 * targets * width * compared)
    compared = config.num_negatives + 1 if config.num_negatives else num_items
    said = 0.0 if config.learns == "codes" else 2.0 * targets * width * (width + compared)
    if config.learns != "items":
        said += sum(2.0 * targets * (5 * width**2 + width * codes) for codes in level_sizes)
    return BACKWARD_AND_FORWARD * (reader + said)


def _of_reader(config: SasrecConfig | TigerConfig, length_R: np.ndarray) -> float:
    """All layers of HSTU over rows of so many positions, forward."""
    width, inner = config.width, config.hidden_width or config.width
    linear = 10 * width * inner * length_R
    attention = 2 * length_R * (length_R + 1) * inner
    return float(config.num_layers * (linear + attention).sum())
