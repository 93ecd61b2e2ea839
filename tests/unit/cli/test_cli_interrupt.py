"""What is said while the first Ctrl-C has not ended the work yet, and that the second one does."""

from __future__ import annotations

import signal
import subprocess
import sys

WORK = """
import sys, time
from sqlstream.cli import interrupt
interrupt.SOON = 0.3
def work():
    print("begun", flush=True)
    time.sleep(60)
    return 0
sys.exit(interrupt.run_interruptible(work, lambda: None))
"""


def test_a_stop_that_takes_long_says_so_and_how_it_ends() -> None:
    process = subprocess.Popen([sys.executable, "-c", WORK], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stderr is not None
    assert process.stdout.readline() == "begun\n"
    process.send_signal(signal.SIGINT)
    assert process.stderr.readline() == "\n"
    said = process.stderr.readline()
    assert "waits for what is under way to end; once more, and it ends without that" in said
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=20)
    assert process.returncode == 130 and "ended without waiting" in said
