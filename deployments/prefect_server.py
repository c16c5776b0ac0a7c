"""`prefect server start`, whose requests no collection of garbage stops.

Usage: python deployments/prefect_server.py server start ...    (as of Prefect's own command)
"""

import sys
from pathlib import Path

# A script has its own folder here, whose files have common names.
sys.path[0] = str(Path(__file__).absolute().parent.parent)

from tasks.services.prefect_compat import collect_garbage_beside  # noqa: E402


def main() -> None:
    from prefect.cli import app

    collect_garbage_beside()
    app()


if __name__ == "__main__":
    main()
