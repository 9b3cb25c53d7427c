"""What tells a better answer from a worse one. B pairs.

Each loss takes log-probabilities of two answers to the same question and falls as the chosen one
becomes more likely than the rejected one. None of them keeps a model near what it can do already:
beside each stands the loss of the chosen answer itself (next-token prediction).

`mean` log-probabilities are per token; `summed` ones of the whole answer.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

LARGEST = -1e-6
"""Log-probability that is as good as certain: log(1 - p) beyond it is lost in float32."""


def log1mexp(x: Tensor) -> Tensor:
    """log(1 - exp(x)) of x below 0, without loss for x near 0 and far from it.

    `log(-expm1(x))` above -log 2, `log1p(-exp(x))` below (Mächler 2012).

    Example:
        >>> log1mexp(torch.tensor([-1e-6, -0.6931, -20.0])).tolist()
        [-13.81551..., -0.69319..., -2.0611...e-09]
    """
    near = x > -0.6931
    # Each branch sees only arguments that it can take, so that no gradient becomes NaN.
    close, far = torch.where(near, x, -1.0), torch.where(near, -1.0, x)
    return torch.where(near, torch.log(-torch.expm1(close)), torch.log1p(-torch.exp(far)))


def log_odds(mean_logp: Tensor) -> Tensor:
    """log( p / (1 - p) ) of mean token log-probabilities, clamped to `LARGEST`, at full precision.

    Of the mean per token: the probability of a whole slate of thirty tokens is some 1e-26, 1 - p is
    then 1, and odds are no more than the probability (docs/mechanics.md, ORPO).

    Example:
        >>> log_odds(torch.tensor([-0.6931472]))
        tensor([0.])
    """
    clamped = mean_logp.to(torch.promote_types(mean_logp.dtype, torch.float32)).clamp(max=LARGEST)
    return clamped - log1mexp(clamped)


def orpo_loss(chosen_mean_B: Tensor, rejected_mean_B: Tensor) -> Tensor:
    r"""Odds-ratio preference term, L_OR of Hong et al. 2024 (arXiv:2403.07691).

    `-log sigmoid( log_odds(chosen) - log_odds(rejected) )`,  `log_odds(p) = log( p / (1 - p) )`.

    Needs no reference model. Weighed by alpha and added to the loss of the chosen answer.

    Args:
        chosen_mean_B: mean log-probability per token of the chosen answer, nats, not above 0; [B].
        rejected_mean_B: the same of the rejected answer.
    Returns:
        Loss per pair in nats, shape [B], not reduced.
    Raises:
        ValueError: shapes differ, or a log-probability is above 0.
    Example:
        >>> orpo_loss(torch.tensor([-0.5]), torch.tensor([-1.0]))
        tensor([0.3203])
    """
    _require_log_probs(chosen_mean_B, rejected_mean_B)
    return -F.logsigmoid(log_odds(chosen_mean_B) - log_odds(rejected_mean_B))


def dpo_loss(
    chosen_sum_B: Tensor,
    rejected_sum_B: Tensor,
    reference_chosen_B: Tensor,
    reference_rejected_B: Tensor,
    *,
    beta: float,
) -> Tensor:
    r"""Direct preference optimisation, Rafailov et al. 2023 (arXiv:2305.18290).

    `-log sigmoid( beta [ (chosen - reference_chosen) - (rejected - reference_rejected) ] )`.

    Args:
        chosen_sum_B: summed log-probability of the chosen answer, nats. Shape [B].
        rejected_sum_B: the same of the rejected answer.
        reference_chosen_B: what the frozen model said of the chosen answer.
        reference_rejected_B: what it said of the rejected one.
        beta: how far the model may go from the frozen one; larger keeps it nearer; above 0.
    Returns:
        Loss per pair in nats, shape [B], not reduced.
    Raises:
        ValueError: shapes differ, a log-probability is above 0, or beta is not above 0.
    Example:
        >>> one, two = torch.tensor([-1.0]), torch.tensor([-2.0])
        >>> dpo_loss(one, two, two, two, beta=0.5)  # -log sigmoid(0.5 (1 - 0))
        tensor([0.4741])
    """
    _require_log_probs(chosen_sum_B, rejected_sum_B, reference_chosen_B, reference_rejected_B)
    _require_above_zero(beta=beta)
    gained_B = (chosen_sum_B - reference_chosen_B) - (rejected_sum_B - reference_rejected_B)
    return -F.logsigmoid(beta * gained_B)


def simpo_loss(
    chosen_mean_B: Tensor, rejected_mean_B: Tensor, *, beta: float, margin: float
) -> Tensor:
    r"""Simple preference optimisation, Meng et al. 2024 (arXiv:2405.14734).

    `-log sigmoid( beta (chosen - rejected) - margin )`, of mean log-probabilities per token.

    Args:
        chosen_mean_B: mean log-probability per token of the chosen answer, nats. Shape [B].
        rejected_mean_B: the same of the rejected answer.
        beta: scale; above 0.
        margin: gamma, by how much the chosen one is to be better; 0 or above.
    Returns:
        Loss per pair in nats, shape [B], not reduced.
    Raises:
        ValueError: shapes differ, a log-probability is above 0, beta is not above 0, or the margin
            is below 0.
    Example:
        >>> simpo_loss(torch.tensor([-0.5]), torch.tensor([-1.0]), beta=2.0, margin=1.0)
        tensor([0.6931])
    """
    _require_log_probs(chosen_mean_B, rejected_mean_B)
    _require_above_zero(beta=beta)
    if margin < 0:
        raise ValueError(f"margin is {margin}, expected 0 or above")
    return -F.logsigmoid(beta * (chosen_mean_B - rejected_mean_B) - margin)


def _require_log_probs(*log_probs: Tensor) -> None:
    shapes = {tuple(each.shape) for each in log_probs}
    if len(shapes) > 1:
        raise ValueError(f"pairs have shapes {sorted(shapes)}, expected one shape for all")
    # On a GPU to look would be to wait in every step; there the callers' log-softmax stands for it.
    if log_probs[0].device.type == "cpu" and any(bool((each > 0).any()) for each in log_probs):
        highest = max(float(each.max()) for each in log_probs)
        raise ValueError(f"a log-probability is {highest}, expected none above 0")


def _require_above_zero(**values: float) -> None:
    wrong = {name: value for name, value in values.items() if not value > 0}
    if wrong:
        raise ValueError(f"{wrong} is not above 0")
