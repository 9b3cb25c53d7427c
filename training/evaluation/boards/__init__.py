"""Every kind of question that models are asked; a new kind is one file and a line."""

from training.evaluation.boards.feedback import FeedbackBoard
from training.evaluation.boards.interface import Board, HeldOut, Terms
from training.evaluation.boards.lists import DayEndListBoard, EventListBoard, ListBoard
from training.evaluation.boards.slates import SlateBoard

BOARDS: dict[str, type[Board]] = {
    board.name: board
    for board in (ListBoard, FeedbackBoard, SlateBoard, EventListBoard, DayEndListBoard)
}
"""Name → board, in the order in which their results are listed."""


def boards_of(held_out: HeldOut, terms: Terms) -> list[Board]:
    """The boards that have a question about a day."""
    boards = (board.of(held_out, terms) for board in BOARDS.values())
    return [board for board in boards if board is not None]
