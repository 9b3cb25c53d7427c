"""What can be chosen about GroupCE: network, ranking loss, and all that the paper leaves open."""

from dataclasses import dataclass
from typing import Literal

from training.settings.bounds import (
    AtLeastOne,
    AtLeastZero,
    NotNegative,
    ShareBelowOne,
    Strength,
)

RankingLoss = Literal[
    "none", "pairwise_batch", "pairwise_user", "softmax", "listce", "listce_user", "jrc", "groupce"
]


@dataclass(frozen=True)
class GroupceConfig:
    """Shape and losses of the model. Where the paper says nothing, a field says what was chosen."""

    network: Literal["dcn_v2", "deepfm", "din"] = "dcn_v2"
    """What puts a user's and an item's vector together; din reads the user's history, too."""
    field_width: AtLeastOne = 16
    """Of every field's vector."""
    tower_layers: AtLeastZero = 1
    """Residual layers over the fields of users, and of items with their moment, before they meet;
    0: a user's vector is that of the fields beside each other."""
    cross_layers: AtLeastZero = 3
    """Of dcn_v2."""
    hidden_width: AtLeastOne = 128
    """Of the main network's perceptron, and of a tower's layers."""
    hidden_layers: AtLeastZero = 2
    """Of the main network's perceptron."""
    dropout: ShareBelowOne = 0.1
    """Share of the perceptron's values that is dropped in training."""
    max_history: AtLeastOne = 50
    """Events that a question brings; set by the loop's `max_history`."""
    positive_strength: Strength = 2
    """Feedback is positive from this strength on; set by `evaluation.positive_strength`."""

    ranking_loss: RankingLoss = "groupce"
    """What is learnt beside the LogLoss: nothing; pairs of the batch or of a user; lists of the
    batch by softmax or by sigmoids; lists of a user; JRC, of a user; or lists in nested groups of
    similar users."""
    ranking_weight: NotNegative = 1.0
    """Of the ranking loss, whose levels are weighed by uncertainty first."""
    listce_norm: Literal["positives", "none", "constant"] = "positives"
    """What a positive of a list counts: one in its list's positives, one, or one in a number that
    is the same for all lists."""
    batches: Literal["shuffled", "by_user", "by_prefix"] = "shuffled"
    """Which impressions make a batch: any; all of some users; all of users who share their codes,
    once there are some."""

    levels: AtLeastOne = 3
    """L: codes of a user, and depths at which lists are made."""
    codes: AtLeastOne = 16
    """K: of a level."""
    codes_of: Literal["epoch", "step"] = "epoch"
    """Whether users are grouped by the codes that they had at the end of the epoch before, or by
    those of the step, which change with every step."""
    code_decay: ShareBelowOne = 0.99
    """gamma: of the moving averages that codewords are."""
    code_expiry: NotNegative = 0.02
    """A code with fewer users than this share of what each code would have in a batch, were all
    alike, is put elsewhere."""
    quantised_weight: NotNegative = 0.1
    """lambda: of the LogLoss with the quantised user in the user's place."""
    quantised_trains_main: bool = True
    """Whether that loss teaches the main network, or the user's side alone."""

    def __post_init__(self) -> None:
        if self.batches == "by_prefix" and self.ranking_loss != "groupce":
            raise ValueError(
                f"batches is 'by_prefix', and ranking_loss {self.ranking_loss!r} gives users no"
                " codes: expected ranking_loss: groupce, or batches: shuffled or by_user"
            )

    @property
    def has_codes(self) -> bool:
        """Whether users get codes."""
        return self.ranking_loss == "groupce"
