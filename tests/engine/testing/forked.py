"""Says what it is, or waits for a signal."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

if __name__ == "__main__":
    if "WAIT" in os.environ:
        signal.pause()
    sys.stdout.write(f"{sys.argv[1:]} {os.environ['NAME']}\n")
    sys.stdout.write(f"{os.getpid()} {os.getsid(0)} {Path.cwd()}\n")
    sys.stderr.write("to stderr\n")
    sys.exit(7)
