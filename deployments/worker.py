"""`prefect worker start`, for runs that are suspended and resumed.

Usage: python deployments/worker.py worker start --pool NAME ...    (as of Prefect's own command)
"""

import sys
from pathlib import Path

# A script has its own folder here, whose files have common names. What the worker starts does not inherit this.
sys.path[0] = str(Path(__file__).absolute().parent.parent)

from tasks.services.prefect_compat import skip_runs_in_progress  # noqa: E402


def main() -> None:
    skip_runs_in_progress()
    from prefect.cli import app

    app()


if __name__ == "__main__":
    main()
