"""`prefect deploy` of a file, which has loaded all its flows by the time that there is a server.

Usage: python -m deployments.deploying FILE    (deploys when it has read a line, and ends without one)
"""

import sys
from pathlib import Path

import yaml

from tasks.services.prefect_compat import read_certificates_once


def main() -> None:
    read_certificates_once()
    from prefect.cli import app
    from prefect.utilities.importtools import import_object

    (path,) = sys.argv[1:]
    for deployment in yaml.safe_load(Path(path).read_text(encoding="utf-8"))["deployments"]:
        import_object(deployment["entrypoint"])
    if sys.stdin.readline():
        sys.argv[1:] = ["--no-prompt", "deploy", "--prefect-file", path, "--all"]
        app()


if __name__ == "__main__":
    main()
