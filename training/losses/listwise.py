r"""Ranking losses inside groups of a batch's rows; all of a batch at once, by segment reductions.

A group counts that holds both labels; where none does, a loss is 0, with a graph. s is a row's
logit, y its label, σ the logistic function.

    ListCE    L_g = - sum_i ỹ_i log( σ(s_i) / sum_j σ(s_j) )          docs/mechanics.md, ListCE
    SoftmaxCE L_g = - sum_i ỹ_i log( e^{s_i} / sum_j e^{s_j} )        docs/mechanics.md, ListCE
    pairwise  L_g = mean over pairs of log( 1 + e^{s_neg - s_pos} )   docs/mechanics.md, Pairwise
    JRC       L_i = - log( e^{z_i^(y_i)} / sum_j e^{z_j^(y_i)} )      docs/mechanics.md, JRC

B rows, G groups, P pairs.
"""

from dataclasses import dataclass
from typing import Literal, Self

import torch
import torch.nn.functional as F
from torch import Tensor

Norm = Literal["positives", "none", "constant"]
"""What a positive of a list counts: one in its list's positives, one, or one in a number that is
the same for all lists of the batch: the mean of their positives."""
MOST_PAIRS = 1 << 16
"""Pairs of a step; of more than these so many are drawn."""


@dataclass(frozen=True)
class Groups:
    """Which rows are compared with which.

    Attributes:
        labels_B: whether a row is positive, bool.
        group_B: number of its group, int64, 0 to G - 1.
        order_B: rows by group.
        rows_G: rows of each group, int64; 0 where a number belongs to none.
        positives_G: its positive rows, float32.
    """

    labels_B: Tensor
    group_B: Tensor
    order_B: Tensor
    rows_G: Tensor
    positives_G: Tensor

    @classmethod
    def of(cls, labels_B: Tensor, group_B: Tensor, num_groups: int) -> Self:
        """Groups of a batch.

        Args:
            labels_B: bool.
            group_B: int64, 0 to `num_groups` - 1.
            num_groups: G.
        Raises:
            ValueError: labels are no booleans, so that one might be neither 0 nor 1.
        Example:
            >>> labels = torch.tensor([True, False, True, True])
            >>> groups = Groups.of(labels, torch.tensor([1, 1, 0, 1]), 3)
            >>> groups.is_mixed_G.tolist(), groups.counts_B.tolist()
            ([False, True, False], [True, True, False, True])
        """
        if labels_B.dtype != torch.bool:
            raise ValueError(
                f"labels are {labels_B.dtype}, expected torch.bool: a row is positive or it is not;"
                " compare what happened with a threshold"
            )
        order_B = group_B.argsort(stable=True)
        rows_G = torch.bincount(group_B, minlength=num_groups)
        positives_G = _segment_sum(labels_B.float().gather(0, order_B), rows_G)
        return cls(labels_B, group_B, order_B, rows_G, positives_G)

    @classmethod
    def one(cls, labels_B: Tensor) -> Self:
        """All rows of the batch are one group."""
        return cls.of(
            labels_B, torch.zeros(len(labels_B), dtype=torch.int64).to(labels_B.device), 1
        )

    @property
    def is_mixed_G(self) -> Tensor:
        """Which groups have both labels: those that count."""
        return (self.positives_G > 0) & (self.positives_G < self.rows_G)

    @property
    def counts_B(self) -> Tensor:
        """Which rows are of a group that counts."""
        return self.is_mixed_G[self.group_B]

    def sum(self, x_B: Tensor) -> Tensor:
        """Sum over each group's rows, [G]; the same bits in every run, on a GPU too."""
        return _segment_sum(x_B.gather(0, self.order_B), self.rows_G)

    def logsumexp(self, x_B: Tensor) -> Tensor:
        """`log sum exp` over each group's rows, [G]; of a group without rows a large negative."""
        sorted_B = x_B.gather(0, self.order_B)
        with torch.no_grad():
            most_G = _segments(sorted_B, "max", self.rows_G).where(self.rows_G > 0, 0.0)
            shift_B = most_G[self.group_B].gather(0, self.order_B)
        total_G = _segment_sum((sorted_B - shift_B).exp(), self.rows_G)
        return total_G.clamp(min=torch.finfo(total_G.dtype).tiny).log() + most_G

    def mean(self, value_G: Tensor) -> Tensor:
        """Mean over the groups that count; 0 where there is none."""
        is_mixed_G = self.is_mixed_G
        return (value_G * is_mixed_G).sum() / is_mixed_G.sum().clamp(min=1)


def listce(logits_B: Tensor, groups: Groups, *, norm: Norm = "positives") -> Tensor:
    r"""ListCE, normalised by sigmoids: mean over groups of L_g (docs/mechanics.md, ListCE).

    `L_g = - sum_i ỹ_i ( log σ(s_i) - log sum_j σ(s_j) )`, ỹ_i being y_i over the group's positives,
    y_i itself, or y_i over the mean number of positives (`norm`). Unlike a softmax it leaves true
    rates where they are: σ(s_i) = p_i is stationary. `dL_g/ds_i = (1 - σ(s_i)) (Y σ(s_i) / sum_j
    σ(s_j) - ỹ_i)`, Y being the sum of ỹ.

    Args:
        logits_B: log-odds of a positive, which the LogLoss reads, too.
        groups: of the rows.
        norm: what a positive counts.
    Returns:
        Nats, a number.
    Example:
        A positive against a negative at even odds: log 2. And with a second positive: log 3.

        >>> labels = torch.tensor([True, False, True, False, True])
        >>> groups = Groups.of(labels, torch.tensor([0, 0, 1, 1, 1]), 2)
        >>> listce(torch.zeros(5), groups)  # (log 2 + log 3) / 2
        tensor(0.8959)
        >>> listce(torch.zeros(5), groups, norm="none")  # (log 2 + 2 log 3) / 2
        tensor(1.4452)
        >>> listce(torch.zeros(5), groups, norm="constant")  # (log 2 + 2 log 3) / 3
        tensor(0.9635)
    """
    return _cross_entropy(F.logsigmoid(logits_B.float()), groups, norm)


def softmax_ce(logits_B: Tensor, groups: Groups, *, norm: Norm = "positives") -> Tensor:
    r"""SoftmaxCE: as `listce`, with e^s in the place of σ(s) (docs/mechanics.md, ListCE).

    Its stationary predictions are not the true rates: small ones are said too high.

    Example:
        >>> softmax_ce(torch.tensor([1.0, 0.0]), Groups.one(torch.tensor([True, False])))
        tensor(0.3133)
    """
    return _cross_entropy(logits_B.float(), groups, norm)


def pairwise(logits_B: Tensor, groups: Groups) -> Tensor:
    r"""Each positive against each negative of its group (docs/mechanics.md, Pairwise).

    `L_g = mean over pairs of log(1 + e^{s_neg - s_pos})`, mean over groups. Of more than
    `MOST_PAIRS` pairs of all groups so many are drawn, each pair as likely as any other.

    Args:
        logits_B: any scores.
        groups: users, for an order within each, or all rows.
    Example:
        >>> pairwise(torch.tensor([1.0, 0.0, 0.0]), Groups.one(torch.tensor([True, False, True])))
        tensor(0.5032)
    """
    logits_B = logits_B.float()
    pairs_G = groups.positives_G.long() * (groups.rows_G - groups.positives_G.long())
    positive_P, negative_P, drawn_share = _pairs(groups)
    margin_P = logits_B[positive_P] - logits_B[negative_P]
    weight_P = 1 / pairs_G[groups.group_B[positive_P]].float()
    total = (F.softplus(-margin_P) * weight_P).sum() / drawn_share
    # Without a pair the sum is empty: the zero keeps the graph.
    return total / groups.is_mixed_G.sum().clamp(min=1) + 0.0 * logits_B.sum()


def jrc(logits_B2: Tensor, groups: Groups) -> Tensor:
    r"""The ranking half of JRC (Sheng et al. 2023, arXiv:2208.06164; docs/mechanics.md, JRC).

    Of two logits a row, of "negative" and of "positive", that of its own label competes with the
    same one of all rows of its group: `L_i = - log( e^{z_i^(y_i)} / sum_{j in g} e^{z_j^(y_i)} )`,
    mean over the rows that count. The calibrating half is the LogLoss of `z^(1) - z^(0)`.

    Args:
        logits_B2: of both labels.
        groups: users, as in the paper.
    Example:
        (log(1 + e^-2) + log(1 + e^-1)) / 2:

        >>> logits = torch.tensor([[0.0, 2.0], [1.0, 0.0]])
        >>> jrc(logits, Groups.one(torch.tensor([True, False])))
        tensor(0.2201)
    """
    logits_B2 = logits_B2.float()
    positive_B, negative_B = logits_B2[:, 1], logits_B2[:, 0]
    own_G = groups.sum(torch.where(groups.labels_B, positive_B, negative_B))
    negatives_G = groups.rows_G - groups.positives_G
    total_G = (
        groups.positives_G * groups.logsumexp(positive_B)
        + negatives_G * groups.logsumexp(negative_B)
        - own_G
    )
    rows = (groups.rows_G * groups.is_mixed_G).sum().clamp(min=1)
    return (total_G * groups.is_mixed_G).sum() / rows


@torch.no_grad()
def hardness(logits_B: Tensor, groups: Groups) -> Tensor:
    r"""How much ListCE pulls at the negatives that count, whatever the sizes of groups.

    Mean over these negatives of `n_g |dL_g/ds_i| = n_g (1 - σ(s_i)) σ(s_i) / sum_j σ(s_j)`, n_g the
    rows of the group: without n_g a small group would always look harder. It is lower the further
    positives are above negatives, so harder negatives have more of it.

    Returns:
        A number; 0 without negatives that count.
    Example:
        >>> groups = Groups.one(torch.tensor([True, False]))
        >>> hardness(torch.tensor([0.0, 0.0]), groups)  # 2 * 1/2 * 1/2
        tensor(0.5000)
        >>> hardness(torch.tensor([3.0, -3.0]), groups)  # the negative is an easy one
        tensor(0.0904)
    """
    log_p_B = F.logsigmoid(logits_B.float())
    log_mean_G = groups.logsumexp(log_p_B) - groups.rows_G.clamp(min=1).log()
    pull_B = (log_p_B - log_mean_G[groups.group_B]).exp() * (1 - log_p_B.exp())
    is_negative_B = groups.counts_B & ~groups.labels_B
    return (pull_B * is_negative_B).sum() / is_negative_B.sum().clamp(min=1)


def _cross_entropy(log_score_B: Tensor, groups: Groups, norm: Norm) -> Tensor:
    """Mean over groups of `sum_i ỹ_i (log sum_j score_j - log score_i)`."""
    positives_G = groups.positives_G
    won_G = groups.sum(log_score_B * groups.labels_B)
    loss_G = positives_G * groups.logsumexp(log_score_B) - won_G
    if norm == "positives":
        return groups.mean(loss_G / positives_G.clamp(min=1))
    mean = groups.mean(loss_G)
    return mean / groups.mean(positives_G).clamp(min=1) if norm == "constant" else mean


def _pairs(groups: Groups) -> tuple[Tensor, Tensor, float]:
    """Rows of positives and negatives of one group each, [P], and the share of pairs they are.

    A pair has a number: those of the first positive come first, in the order of its group's
    negatives.
    """
    labels_B = groups.labels_B[groups.order_B]
    positive_N = groups.order_B[labels_B]
    negative_M = groups.order_B[~labels_B]
    negatives_G = groups.rows_G - groups.positives_G.long()
    first_G = negatives_G.cumsum(0) - negatives_G
    group_N = groups.group_B[positive_N]
    end_N = negatives_G[group_N].cumsum(0)
    total = int(end_N[-1]) if len(end_N) else 0
    if total > MOST_PAIRS:
        number_P = torch.randint(total, (MOST_PAIRS,), device=labels_B.device)
    else:
        number_P = torch.arange(total, device=labels_B.device)
    which_P = torch.searchsorted(end_N, number_P, right=True)
    place_P = number_P - (end_N - negatives_G[group_N])[which_P]
    negative_P = negative_M[first_G[group_N[which_P]] + place_P]
    return positive_N[which_P], negative_P, len(number_P) / total if total else 1.0


def _segment_sum(sorted_B: Tensor, rows_G: Tensor) -> Tensor:
    return _segments(sorted_B, "sum", rows_G)


def _segments(sorted_B: Tensor, reduce: str, rows_G: Tensor) -> Tensor:
    return torch.segment_reduce(sorted_B, reduce, lengths=rows_G, unsafe=True)
