"""Answers that were given lately: who asks the same while nothing has changed gets the same.

What a model has read of a history is of no use to a batch (a state answers alone); an answer is.
"""

from collections import OrderedDict

MOST_KEPT_BYTES = 64 << 20
_OVERHEAD = 300
"""Bytes of Python's objects beside the text of an entry."""


class KeptAnswers:
    """Answers by path and body, bounded in bytes; those that were asked for longest ago go first.

    Args:
        most_bytes: of all; 0: none is kept.
    """

    def __init__(self, most_bytes: int = MOST_KEPT_BYTES) -> None:
        self._most, self._bytes = most_bytes, 0
        self._owner: object = None
        self._answers: OrderedDict[tuple[str, bytes], bytes] = OrderedDict()

    def get(self, owner: object, path: str, body: bytes) -> bytes | None:
        """The answer that this owner gave.

        Args:
            owner: what answers: another version, history or withheld item is another owner, and
                what was kept of the one before goes.
            path: of the request.
            body: of the request.
        """
        if owner is not self._owner:
            self._answers.clear()
            self._owner, self._bytes = owner, 0
        answer = self._answers.get((path, body))
        if answer is not None:
            self._answers.move_to_end((path, body))
        return answer

    def put(self, owner: object, path: str, body: bytes, answer: bytes) -> None:
        """Keep an answer, if its owner still is who answers."""
        if owner is not self._owner or (path, body) in self._answers:
            return
        self._answers[path, body] = answer
        self._bytes += len(body) + len(answer) + _OVERHEAD
        while self._bytes > self._most:
            (_, oldest), gone = self._answers.popitem(last=False)
            self._bytes -= len(oldest) + len(gone) + _OVERHEAD

    @property
    def num_bytes(self) -> int:
        """What is kept, with its overhead."""
        return self._bytes
