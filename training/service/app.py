"""The service's addresses, and how a request becomes an answer."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Hashable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from fastapi import FastAPI, Request
from fastapi.openapi.utils import get_openapi
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp

from training.inference import Unanswerable
from training.service.batches import Batches, Limits, QueueFull
from training.service.follow import Follower
from training.service.guard import GUARDED, Guard
from training.service.kept import KeptAnswers
from training.service.messages import (
    Answer,
    Ranking,
    RankRequest,
    Recommendation,
    RecommendRequest,
    State,
)
from training.service.metrics import CONTENT_TYPE, Metrics
from training.service.refusals import RESPONSES, problems_in_words, refusal
from training.service.served import Served, UnknownUser

LOG = logging.getLogger(__name__)
STUCK_SECONDS = 60.0
"""After which a batch that isn't answered means that the process should be started again."""
RETRY_AFTER = {"Retry-After": "1"}
Q = TypeVar("Q", RecommendRequest, RankRequest)


class NothingServes(Exception):
    """There is no version that answers."""


class Service:
    """Requests in, answers out.

    Args:
        follower: holds what serves, and the metrics.
        limits: of batches and of the queue.
        kept: answers given lately.
    """

    def __init__(self, follower: Follower, limits: Limits, kept: KeptAnswers) -> None:
        self.follower, self.metrics = follower, follower.metrics
        self.limits, self._kept = limits, kept
        self.batches = Batches(self._answers, limits, self._note)
        self.metrics.waiting.set_function(lambda: len(self.batches))

    async def respond(
        self, request: Request, kind: type[Q], key_of: Callable[[Q], Hashable]
    ) -> Response:
        """The answer to a question, or why there is none.

        Args:
            request: whose body is the question.
            kind: what it must be.
            key_of: which others it can be asked with.
        Raises:
            ConnectionAbortedError: the client is gone.
        """
        served, path, body = self.follower.served, request.scope["path"], await request.body()
        kept = self._kept.get(served, path, body)
        if kept is not None:
            return Response(kept, media_type="application/json")
        try:
            question = kind.model_validate_json(body)
        except ValidationError as error:
            return refusal(422, problems_in_words(error.errors(include_url=False)))
        try:
            answer = await self._answer(request, key_of(question), question)
        except QueueFull as error:
            return refusal(429, str(error), RETRY_AFTER)
        except NothingServes as error:
            return refusal(503, str(error), RETRY_AFTER)
        except UnknownUser as error:
            return refusal(404, str(error))
        except Unanswerable as error:
            return refusal(409, str(error))
        except TimeoutError:
            seconds = self.limits.timeout_seconds
            return refusal(504, f"no answer within {seconds:g} s; try again", RETRY_AFTER)
        text = answer.model_dump_json().encode()
        if self.follower.served is served:  # as it was when the question was asked
            self._kept.put(served, path, body, text)
        return Response(text, media_type="application/json")

    def state(self) -> State:
        """What serves."""
        served, name = self.follower.served, self.follower.preset
        if served is None:
            return State(status=self.follower.trouble, preset=name)
        stored = served.stored
        return State(
            status="ready",
            preset=name,
            model_family=served.version.family,
            model_version=served.version.number,
            bundle_digest=served.version.digest,
            generation=served.generation,
            answers=sorted(served.answers),
            history_day=None if stored is None else stored.day,
            num_users=0 if stored is None else stored.histories.num_users,
            num_withheld=len(served.predictor.unlisted),
        )

    @property
    def is_well(self) -> bool:
        """Whether the thread that answers is there and gets on."""
        return self.batches.is_alive and self.batches.busy_seconds < STUCK_SECONDS

    async def _answer(self, request: Request, key: Hashable, question: Any) -> Answer:
        """Wait for the batch, but no longer than the client, or than may be waited.

        Raises:
            ConnectionAbortedError: the client is gone.
            TimeoutError: no answer in time.
        """
        waiting = self.batches.ask(key, question)
        gone = asyncio.ensure_future(_hang_up(request))
        gone.add_done_callback(lambda _: waiting.cancel())
        try:
            async with asyncio.timeout(self.limits.timeout_seconds):
                answer: Answer = await waiting
                return answer
        except asyncio.CancelledError:
            if gone.done():
                raise ConnectionAbortedError from None
            raise
        finally:
            gone.cancel()

    def _answers(self, key: Hashable, questions: Sequence[Any]) -> Sequence[Any]:
        """In the thread of batches: one version answers all of a batch.

        Args:
            key: `(k, exclude_seen)` of lists, a number of rankings.
            questions: requests.
        Raises:
            NothingServes: there is no version.
        """
        served: Served | None = self.follower.served
        if served is None:
            raise NothingServes(self.follower.trouble)
        if isinstance(key, tuple):
            return served.recommend(questions, *key)
        return served.rank(questions)

    def _note(self, rows: int, seconds: float) -> None:
        self.metrics.batch_rows.observe(rows)
        self.metrics.model_seconds.observe(seconds)


def make_app(service: Service, token: str) -> FastAPI:
    """The ASGI application of a service.

    Args:
        service: answers.
        token: that requests below `/v1/` must carry; empty: none.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        service.batches.start()
        yield
        await asyncio.to_thread(service.batches.stop)

    app = FastAPI(
        title="Sidereal",
        description=f"The champion of `{service.follower.preset}`, asked live. A list of k is also "
        "a slate of k, where the family says slates.",
        version="1",
        lifespan=lifespan,
        # Pages that people read would load their scripts from another host.
        docs_url=None,
        redoc_url=None,
    )
    defaults = service.follower.defaults

    def of_lists(question: RecommendRequest) -> Hashable:
        k, exclude = question.k, question.exclude_seen
        return (
            defaults.num_items if k is None else k,
            defaults.exclude_seen if exclude is None else exclude,
        )

    def of_rankings(question: RankRequest) -> Hashable:
        # Rows of a batch are as wide as its widest: who sends ten shares none with a thousand.
        return len(question.candidates).bit_length()

    @app.post(
        "/v1/recommend",
        response_model=Recommendation,
        responses=RESPONSES,
        summary="Which items come next.",
        openapi_extra=_takes(RecommendRequest),
    )
    async def recommend(request: Request) -> Response:
        return await service.respond(request, RecommendRequest, of_lists)

    @app.post(
        "/v1/rank",
        response_model=Ranking,
        responses=RESPONSES,
        summary="How likely positive feedback is on each candidate.",
        openapi_extra=_takes(RankRequest),
    )
    async def rank(request: Request) -> Response:
        return await service.respond(request, RankRequest, of_rankings)

    _add_looks(app, service)
    _add_errors(app)
    app.add_middleware(_guard, token=token, metrics=service.metrics)
    _describe(app, has_token=bool(token))
    return app


def _guard(app: ASGIApp, token: str, metrics: Metrics) -> Guard:
    return Guard(app, token, metrics)


def _add_looks(app: FastAPI, service: Service) -> None:
    """What probes and Prometheus look at."""
    unwell: dict[int | str, dict[str, Any]] = {503: {"model": State}}

    @app.get("/health", response_model=State, responses=unwell, summary="Whether it is alive.")
    async def health() -> Response:
        state = service.state()
        if not service.is_well:
            state = state.model_copy(update={"status": "nothing is answered: start it again"})
        return _as_json(state, 200 if service.is_well else 503)

    @app.get("/ready", response_model=State, responses=unwell, summary="Whether it can answer.")
    async def ready() -> Response:
        state = service.state()
        return _as_json(state, 200 if service.is_well and state.status == "ready" else 503)

    @app.get("/metrics", summary="What Prometheus reads.", response_class=Response)
    async def metrics() -> Response:
        return Response(service.metrics.page(), media_type=CONTENT_TYPE)


def _takes(kind: type[RecommendRequest | RankRequest]) -> dict[str, Any]:
    """What the OpenAPI page says of a body that `Service.respond` reads.

    FastAPI would read it in twice the time: as JSON, then as Python's objects.
    """
    schema = {"schema": kind.model_json_schema()}
    return {"requestBody": {"required": True, "content": {"application/json": schema}}}


def _add_errors(app: FastAPI) -> None:
    @app.exception_handler(HTTPException)
    async def refused(_: Request, error: HTTPException) -> Response:
        return refusal(error.status_code, str(error.detail), error.headers)


def _describe(app: FastAPI, *, has_token: bool) -> None:
    """Let the OpenAPI page say that a token is sent."""

    def page() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = get_openapi(
                title=app.title,
                version=app.version,
                description=app.description,
                routes=app.routes,
            )
            if has_token:
                scheme = {"type": "http", "scheme": "bearer"}
                schema["components"]["securitySchemes"] = {"token": scheme}
                for path, methods in schema["paths"].items():
                    if path.startswith(GUARDED):
                        methods["post"]["security"] = [{"token": []}]
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = page  # type: ignore[method-assign]  # as FastAPI's manual has it


async def _hang_up(request: Request) -> None:
    """Wait until the client is gone."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _as_json(state: State, status: int) -> Response:
    return Response(state.model_dump_json(), status, media_type="application/json")
