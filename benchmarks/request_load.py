"""A process that asks a service as fast as it answers: clients that wait for each answer.

Each client has a connection of its own and sends its next request when the last is answered, so
that more clients are more load. What would wait outside is not seen: nobody asks without a client.
"""

import asyncio
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

WARM_UP_SECONDS = 0.5
EVENTS = 50


@dataclass(frozen=True)
class Rung:
    """What so many clients saw."""

    clients: int
    per_second: float
    p50_ms: float
    p99_ms: float
    failed: int


async def load(port: int, bodies: Sequence[bytes], clients: int, seconds: float) -> Rung:
    """Ask for some seconds, after a warm-up.

    Args:
        port: of a service on loopback.
        bodies: of requests to /v1/recommend, sent in turn.
        clients: that ask at the same time.
        seconds: in which requests begin that count.
    """
    begins = time.perf_counter() + WARM_UP_SECONDS
    taken: list[float] = []
    failed = [0]
    turn = iter(range(sys.maxsize))

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while (started := time.perf_counter()) < begins + seconds:
            writer.write(request(bodies[next(turn) % len(bodies)]))
            status, _ = await answer(reader)
            if started >= begins:
                taken.append(time.perf_counter() - started)
                failed[0] += status != 200
        writer.close()

    await asyncio.gather(*(client() for _ in range(clients)))
    p50, p99 = np.percentile(taken, (50, 99)) * 1000
    return Rung(clients, len(taken) / seconds, float(p50), float(p99), failed[0])


def request(body: bytes) -> bytes:
    """A list that is asked for, as it goes over a connection."""
    head = (
        "POST /v1/recommend HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Status and body."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(head.partition(b"content-length:")[2].split(b"\r\n")[0])
    return int(head.split()[1]), await reader.readexactly(length)


def histories(count: int, num_items: int, seed: int) -> list[bytes]:
    """Requests with random histories of `EVENTS` events a minute apart."""
    draw = np.random.default_rng(seed)
    times = [893_286_638 + 60 * number for number in range(EVENTS)]
    return [
        json.dumps({"item_ids": [f"item-{item}" for item in items], "event_times": times}).encode()
        for items in draw.integers(0, num_items, (count, EVENTS)).tolist()
    ]


if __name__ == "__main__":
    order = json.loads(sys.argv[1])
    bodies = histories(order["histories"], order["num_items"], order["seed"])
    rungs = [
        asyncio.run(load(order["port"], bodies, clients, order["seconds"]))
        for clients in order["clients"]
    ]
    sys.stdout.write(json.dumps([asdict(rung) for rung in rungs]))
