"""The address that is listened on, until a signal says that it is enough."""

import signal
import socket
import sys
from collections.abc import Callable

import uvicorn
from fastapi import FastAPI

BACKLOG = 2048
"""Connections that wait to be taken."""
ENDING_SECONDS = 10
"""In which requests that are under way are answered at the end."""


def listen(app: FastAPI, host: str, port: int, on_port: Callable[[int], None]) -> None:
    """Answer until SIGTERM or Ctrl-C, then end what is under way and raise SystemExit(0).

    Args:
        app: answers.
        host: an address of this machine.
        port: 0: one that is free.
        on_port: called with the port that is listened on.
    Raises:
        OSError: the address can't be listened on.
    """
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(BACKLOG)
        on_port(listening.getsockname()[1])
        # uvicorn ends what is under way, then raises the signal again: being told is no failure.
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, lambda *_: sys.exit(0))
        config = uvicorn.Config(
            app,
            access_log=False,
            server_header=False,
            log_level="warning",
            backlog=BACKLOG,
            timeout_keep_alive=30,
            timeout_graceful_shutdown=ENDING_SECONDS,
        )
        uvicorn.Server(config).run(sockets=[listening])
