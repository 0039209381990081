"""Which parts of a spec may hold a secret, judged by their keys alone, so that misspelt keys are covered too."""

from __future__ import annotations

import re

WORD = (
    r"(?:[\w.-]*(?:pas+[wo]+r?d|pas+phrase|p[as]*w[or]*d)[\w.-]*"
    r"|(?:[\w.-]*[._-])?(?:secret|token|credential|hash|content|api_?key|private_?key)s?)"
)
SECRET = re.compile(WORD, re.IGNORECASE)
OWN = {"file", "credential", "generate", "length", "hash"}
"""Words of the spec's own below a secret; any other key there may be the secret, in the wrong place."""
LINE = re.compile(rf"""(?<![\w.-]){WORD}["']?\s*:""", re.IGNORECASE)


def is_secret(key: str) -> bool:
    """Whether what stands behind this key is never repeated. File contents count: they may hold anything."""
    return SECRET.fullmatch(key) is not None


def quote_is_open(value: str) -> bool:
    """Whether a quoted text goes on in the next line."""
    return value[1:].replace("\\" + value[:1], "").count(value[:1]) % 2 == 0


def holds_secret(value: str) -> bool:
    """Whether a text is a secret by its looks: a private key, or an address with a password."""
    return "PRIVATE KEY" in value or re.search(r"://[^/\s]*@", value) is not None


class Mask:
    """Where in a text the secrets stand. Lines count from 1, columns from 0."""

    def __init__(self) -> None:
        self.all = False
        """Show no line at all."""
        self.columns: dict[int, int] = {}

    def add(self, line: int, column: int, last: int) -> None:
        """A secret from here to somewhere in line ``last``."""
        self.columns[line] = min(column, self.columns.get(line, column))
        for further in range(line + 1, last + 1):
            self.columns[further] = 0

    def guess(self, lines: list[str]) -> None:
        """For a text that was not read to its end: hide whatever stands behind a secret's key, and the line after."""
        for number, line in enumerate(lines, 1):
            if found := LINE.search(line):
                self.add(number, found.end(), number)
                self._guess_end(lines, number, line[found.end() :].strip())
            elif holds_secret(line):
                self.add(number, 0, len(lines))

    def _guess_end(self, lines: list[str], number: int, value: str) -> None:
        """Hide the further lines of a value: to the closing quote, else while they are indented deeper."""
        quote = value[:1] if value[:1] in ("'", '"') and quote_is_open(value) else ""
        indent = len(lines[number - 1]) - len(lines[number - 1].lstrip())
        for further in range(number + 1, len(lines) + 1):
            text = lines[further - 1]
            if not quote and text.strip() and len(text) - len(text.lstrip()) <= indent:
                return
            self.columns[further] = 0
            if quote and quote in text:
                return

    def cut(self, number: int, line: str) -> str:
        """The line without its secrets and what follows them."""
        if self.all:
            return ""
        column = self.columns.get(number)
        return line if column is None else f"{line[:column]}{'' if line[:column].endswith(' ') else ' '}********"
