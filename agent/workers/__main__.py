"""Starts a worker by the name of its module, from wherever the agent is.

A file, and no text for ``-c``: systemd, told to read its files anew, writes down a transient unit's command and misreads a semicolon in it.
"""

import importlib
import os
import sys

if __name__ == "__main__":
    # an isolated interpreter finds neither a checkout nor what lies beside a program
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    importlib.import_module(sys.argv[1]).main()
