"""``python -m project -b 0.0.0.0 -p 8000``: the command line of ``daphne``, with uvloop and this application."""

import os
import sys

from realtime.engine.server.command import main

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
    main("project.asgi:application", sys.argv[1:])
