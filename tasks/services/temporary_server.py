"""The Prefect server of a single command, which ends when the command does, even where that is killed.

Usage: python -m tasks.services.temporary_server HOST PORT
"""

import os
import signal
import sys

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.importer import import_from_string

from charlm.distributed.watchdog import end_with_parent
from tasks.services.prefect_compat import SERVER_APP, collect_garbage_beside, record_what_waits


def main(host: str, port: str) -> None:
    end_with_parent(lambda: os.kill(os.getpid(), signal.SIGTERM))
    collect_garbage_beside()
    uvicorn.run(_make_app, factory=True, lifespan="on", host=host, port=int(port), log_level="error")


def _make_app() -> ASGIApp:
    """Prefect's server, which ends when it has recorded all events."""
    server: ASGIApp = import_from_string(SERVER_APP)()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async def receive_late() -> Message:
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                await record_what_waits()
            return message

        await server(scope, receive_late if scope["type"] == "lifespan" else receive, send)

    return app


if __name__ == "__main__":
    main(*sys.argv[1:])
