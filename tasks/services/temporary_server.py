"""The Prefect server of a single command, which ends when the command does, even where that is killed.

Usage: python -m tasks.services.temporary_server HOST PORT
"""

import os
import signal
import sys

import uvicorn

from charlm.distributed.watchdog import end_with_parent
from tasks.services.prefect_compat import SERVER_APP


def main(host: str, port: str) -> None:
    end_with_parent(lambda: os.kill(os.getpid(), signal.SIGTERM))
    uvicorn.run(SERVER_APP, factory=True, lifespan="on", host=host, port=int(port), log_level="error")


if __name__ == "__main__":
    main(*sys.argv[1:])
