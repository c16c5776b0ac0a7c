"""Garbage that is collected while the writer of a SQLite database waits for the thread that collects."""

import subprocess
import sys

import pytest

SCRIPT = """
import contextlib, gc, sqlite3, sys, threading, time
from tasks.services import prefect_compat

if sys.argv[2] == "beside":
    prefect_compat._START_SECONDS = 1.0
    prefect_compat.collect_garbage_beside()
writer, waiting = (
    sqlite3.connect(sys.argv[1], isolation_level=None, timeout=6, check_same_thread=False) for _ in range(2)
)
writer.execute("create table t (x unique)")
writer.execute("insert into t values (1)")
cursor = waiting.cursor()
with contextlib.suppress(sqlite3.IntegrityError):
    cursor.execute("insert into t values (1)")
cycle = [cursor]
cycle.append(cycle)
writer.execute("begin immediate")
said = []

def wait():
    try:
        waiting.execute("begin immediate")
    except sqlite3.OperationalError as error:
        said.append(str(error))

thread = threading.Thread(target=wait)
thread.start()
time.sleep(0.3)
del cursor, cycle
if gc.isenabled():
    gc.collect()  # as it comes to pass by itself, sooner or later
time.sleep(1.5)
writer.execute("commit")
thread.join()
sys.exit("".join(said))
"""


@pytest.mark.parametrize(("where", "said"), [("in the loop", "database is locked"), ("beside", "")])
def test_a_collection_beside_the_event_loop_lets_the_writer_go_on(tmp_path, where, said):
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "t.db"), where]
    assert subprocess.run(command, capture_output=True, text=True, check=False).stderr.strip() == said
