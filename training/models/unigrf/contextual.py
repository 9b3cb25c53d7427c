"""The enhancer's scorer: what ranking says of drawn items as the next item of their row.

The paper puts the item's own vector into the ranking head, which knows of no user then: the same
items are everybody's favourites, are pushed down nowhere, and top all lists (docs/lab-notes.md).
Here a drawn item is read after the row's events, and scored as at serving. That costs a token for
each, so only some positions of a row are scored in a step, and there only the best items by
retrieval; elsewhere every item is a negative like others.

B rows, L events, N targets, P items drawn for each, S positions scored of each row, q items scored.
"""

import torch
from torch import Tensor

from training.data.batches import Batch
from training.models.unigrf.interface import Network


def contextual_scores(
    model: Network, drawn_NP: Tensor, logits_NP: Tensor, batch: Batch, memory: object
) -> Tensor:
    """Probability of positive feedback, NaN for what was not scored, [N, P].

    Args:
        model: what is trained; nothing of this gets a gradient.
        drawn_NP: item numbers.
        logits_NP: retrieval's logits of them.
        batch: the rows.
        memory: the backbone's, of the rows.
    """
    config, marks_BL = model.config, batch.is_target_BL
    score_NP = torch.full_like(logits_NP, torch.nan)
    if not len(drawn_NP):
        return score_NP
    number_BL = torch.full_like(batch.items_BL, -1)
    number_BL[marks_BL] = torch.arange(len(drawn_NP), device=drawn_NP.device)
    priority_BL = torch.rand(marks_BL.shape, device=drawn_NP.device).masked_fill(~marks_BL, -1.0)
    count = min(config.scored_positions, marks_BL.shape[1])
    place_BS = priority_BL.topk(count, 1).indices
    column_Nq = logits_NP.topk(min(config.scored_candidates, drawn_NP.shape[1]), 1).indices
    for place_B in place_BS.T:
        number_B = number_BL.gather(1, place_B[:, None])[:, 0]
        column_Bq = column_Nq[number_B.clamp(min=0)]
        item_Bq = drawn_NP[number_B.clamp(min=0)].gather(1, column_Bq)
        length_B = 2 * place_B + 1
        x_Bq1D = model.next_item_tokens(item_Bq, length_B)
        time_B = batch.times_BL.gather(1, place_B[:, None])[:, 0]
        output_BqD = model.backbone.extend(memory, length_B, x_Bq1D, time_B)[:, :, 0]
        score_Bq = model.ranking_logits(output_BqD).sigmoid()
        own = number_B >= 0
        score_NP[number_B[own, None], column_Bq[own]] = score_Bq[own].to(score_NP.dtype)
    return score_NP
