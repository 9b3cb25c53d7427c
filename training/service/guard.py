"""What stands before every request: token, body limit, time for the body, counts, no traceback."""

import asyncio
import hmac
import logging
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from training.service.metrics import Metrics
from training.service.refusals import CLIENT_GONE, refusal

LOG = logging.getLogger(__name__)
MOST_BYTES = 1 << 20
"""Of a body: ten thousand events have half of it."""
MOST_READ_OVER = 16 << 20
"""Bytes of a body that is too long which are read, so that its sender reads why it is refused."""
BODY_SECONDS = 10.0
"""In which a body must arrive."""
PATHS = ("/v1/recommend", "/v1/rank", "/health", "/ready", "/metrics")
GUARDED = "/v1/"
_CLOSE = {"Connection": "close"}
_DEFECT = refusal(500, "the service has a defect here; its log has a line")
_NO_TOKEN = refusal(
    401,
    "send the service's token as `Authorization: Bearer TOKEN`",
    {**_CLOSE, "WWW-Authenticate": "Bearer"},
)
_TOO_SLOW = refusal(408, f"the body did not arrive within {BODY_SECONDS:.0f} s", _CLOSE)
_TOO_LONG = refusal(
    413,
    f"the body has more than {MOST_BYTES:,} bytes; send shorter histories, or fewer candidates",
    _CLOSE,
)


class Guard:
    """An ASGI application before another.

    Args:
        app: what is guarded.
        token: without it in `Authorization: Bearer` nothing below `/v1/` is answered; empty: open.
        metrics: told of every request.
    """

    def __init__(self, app: ASGIApp, token: str, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics
        self._expected = f"Bearer {token}".encode() if token else b""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, whatever happens to it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = time.perf_counter(), 0

        async def sending(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        path = scope["path"] if scope["path"] in PATHS else "other"
        try:
            await self._guarded(scope, receive, sending)
        except ConnectionAbortedError:
            status = CLIENT_GONE
            self._metrics.hung_up.inc()
        except Exception as error:
            LOG.error("%s: %s: %s", path, type(error).__name__, " ".join(str(error).split()))
            if not status:
                await _DEFECT(scope, receive, sending)
        finally:
            self._metrics.requests.labels(path, status).inc()
            if path.startswith(GUARDED):
                self._metrics.seconds.labels(path).observe(time.perf_counter() - started)

    async def _guarded(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not scope["path"].startswith(GUARDED):
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        sent = headers.get(b"authorization", b"")
        if self._expected and not hmac.compare_digest(sent, self._expected):
            await _NO_TOKEN(scope, receive, send)
            return
        try:
            async with asyncio.timeout(BODY_SECONDS):
                body = await _body(receive, headers.get(b"content-length", b""))
        except TimeoutError:
            await _TOO_SLOW(scope, receive, send)
            return
        if body is None:
            await _TOO_LONG(scope, receive, send)
            return
        await self._app(scope, _once(body, receive), send)


async def _body(receive: Receive, stated: bytes) -> bytes | None:
    """The whole body; None where it is too long.

    Raises:
        ConnectionAbortedError: the client is gone.
    """
    length = int(stated) if stated.isdigit() else 0
    if length > MOST_READ_OVER:
        return None
    parts: list[bytes] = []
    arrived, more = 0, True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            raise ConnectionAbortedError
        part, more = message.get("body", b""), message.get("more_body", False)
        arrived += len(part)
        if arrived > MOST_READ_OVER:
            return None
        if arrived <= MOST_BYTES:
            parts.append(part)
        else:
            parts.clear()
    return b"".join(parts) if arrived <= MOST_BYTES else None


def _once(body: bytes, receive: Receive) -> Receive:
    """Receives the body, then what the connection has to say: that the client is gone."""
    is_read = False

    async def receiving() -> Message:
        nonlocal is_read
        if is_read:
            return await receive()
        is_read = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receiving
