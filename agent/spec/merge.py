"""Drop-ins: one tree from several, where every value keeps the place of the file that it came from.

Three rules. Tables merge key by key, however deep. Lists are joined, and what is in the list already is not repeated.
Anything else: the later file wins. Whatever has a name (environments, databases, accounts, files, units) is a table
keyed by it, so a drop-in adds to `analysis` by writing `conda: {environments: {analysis: {...}}}`.
"""

from __future__ import annotations

from agent.errors import Problem

from .tree import Entry, Keys, Node, Scalar, Series, Table, dotted, plain


def merge(first: Node, later: Node, problems: list[Problem], keys: Keys = ()) -> Node:
    """``later`` laid over ``first``. A list of names that meets a table stands for a table of these names."""
    if isinstance(first, Table) != isinstance(later, Table):
        first, later = _named(first), _named(later)
    if isinstance(first, Table) and isinstance(later, Table):
        entries = dict(first.entries)
        for key, entry in later.entries.items():
            under = entries.get(key)
            over = merge(under.node, entry.node, problems, (*keys, key)) if under else entry.node
            entries[key] = Entry(under.place if under else entry.place, over)
        return Table(first.place, entries)
    if isinstance(first, Series) and isinstance(later, Series):
        known = {repr(plain(member)) for member in first.members}
        added = [member for member in later.members if repr(plain(member)) not in known]
        return Series(first.place, [*first.members, *added])
    if isinstance(first, Scalar) or isinstance(later, Scalar):
        return later
    problems.append(
        Problem(
            later.place,
            dotted(keys),
            f"is a {_kind(later)} here and a {_kind(first)} in {first.place}",
            hint="write it the same way in both files",
        )
    )
    return later


def _named(node: Node) -> Node:
    if isinstance(node, Series) and all(isinstance(member, Scalar) for member in node.members):
        entries = {str(plain(member)): Entry(member.place, Scalar(member.place, None)) for member in node.members}
        return Table(node.place, entries)
    return node


def _kind(node: Node) -> str:
    return "list" if isinstance(node, Series) else "mapping"
