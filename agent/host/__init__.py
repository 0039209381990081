"""The machine: the only part of the agent that touches it. Each module is one face of it; agent.host.machine puts them together.

Nothing is imported here: the short way (agent.quiet) comes through.
"""
