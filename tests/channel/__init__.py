"""A small real conda channel, made from Debian packages and Python wheels, for tests and for trying things out.

``build`` makes it, ``serve`` serves it over HTTP, ``smoke`` installs from it and runs what it holds.
Machines that reach no conda channel still reach Debian's and Python's package sources; the packages here are the
programs of those, laid out and described as conda packages are.
"""
