"""Throw-away Debian hosts, booted with systemd: the ground of ``agent try`` and of the system tests."""

from agent.sandbox.machine import Machine, living, sweep
from agent.sandbox.nspawn import Bind
from agent.sandbox.result import Result
from agent.sandbox.roots import Root, base_root, kept, layer
from agent.sandbox.sources import SUITES

__all__ = ["SUITES", "Bind", "Machine", "Result", "Root", "base_root", "kept", "layer", "living", "sweep"]
