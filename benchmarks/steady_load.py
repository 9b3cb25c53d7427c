"""A process that asks a service at a steady pace until SIGTERM, and notes who answered.

Each client has a connection of its own and a time for each of its requests, whatever the answers
take. A request fails that is not answered 200; a connection that breaks is one that failed.
"""

import asyncio
import json
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from benchmarks.request_load import answer, histories, request

AGAIN = 100
"""Histories that every second request takes in turn; the others are new."""


@dataclass(frozen=True)
class Seen:
    """What all clients saw.

    Attributes:
        requests: that were sent.
        failed: how many of them, by what came back.
        p50_ms: of the time to the answer.
        p99_ms: the same.
        slowest_ms: the same.
        versions: by client its turns: seconds since the start, and the version from then on.
    """

    requests: int
    failed: dict[str, int]
    p50_ms: float
    p99_ms: float
    slowest_ms: float
    versions: list[list[tuple[float, int]]]


async def steady(port: int, bodies: Sequence[bytes], clients: int, per_second: float) -> Seen:
    """Ask until SIGTERM.

    Args:
        port: of a service on loopback.
        bodies: of requests to /v1/recommend, sent in turn.
        clients: that share the pace.
        per_second: requests of all clients together.
    """
    ends = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ends.set)
    begins, pause = time.perf_counter(), clients / per_second
    taken: list[float] = []
    failed: dict[str, int] = {}
    versions: list[list[tuple[float, int]]] = [[] for _ in range(clients)]
    turn = iter(range(sys.maxsize))

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, client: int) -> None:
        started = time.perf_counter()
        writer.write(request(bodies[next(turn) % len(bodies)]))
        status, text = await answer(reader)
        taken.append(time.perf_counter() - started)
        if status != 200:
            failed[str(status)] = failed.get(str(status), 0) + 1
            return
        version = int(json.loads(text)["model_version"])
        if not versions[client] or versions[client][-1][1] != version:
            versions[client].append((round(time.perf_counter() - begins, 1), version))

    async def ask(client: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        due = begins + pause * client / clients
        while not ends.is_set():
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            due += pause
            try:
                await one(reader, writer, client)
            except (OSError, asyncio.IncompleteReadError) as error:
                name = type(error).__name__
                failed[name] = failed.get(name, 0) + 1
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.close()

    await asyncio.gather(*map(ask, range(clients)))
    p50, p99 = np.percentile(taken, (50, 99)) * 1000
    sent = len(taken) + sum(number for name, number in failed.items() if not name.isdigit())
    return Seen(sent, failed, float(p50), float(p99), 1000 * max(taken), versions)


def mixed(count: int, num_items: int) -> list[bytes]:
    """Histories of which every second one comes again and again."""
    new, again = histories(count, num_items, 1), histories(AGAIN, num_items, 2)
    return [body for number, one in enumerate(new) for body in (one, again[number % AGAIN])]


if __name__ == "__main__":
    order = json.loads(sys.argv[1])
    bodies = mixed(order["histories"], order["num_items"])
    seen = asyncio.run(steady(order["port"], bodies, order["clients"], order["per_second"]))
    sys.stdout.write(json.dumps(asdict(seen)))
