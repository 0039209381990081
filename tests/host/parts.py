"""Parts of a host over a directory of the test's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from agent.host.accounts import Accounts
from agent.host.files import Files
from agent.host.looks import Looks
from agent.host.programs import Finished, Programs
from agent.host.secrets import Secrets


@dataclass
class Parts:
    """``etc`` holds passwd and group; its accounts are those of the text."""

    root: Path
    passwd: str = "root:x:0:0:root:/root:/bin/bash\nalice:x:1000:1000:Alice,,,:/home/alice:/bin/bash\n"
    group: str = "root:x:0:\nalice:x:1000:\nresearch:x:1001:alice,bob\nvideo:x:44:\n"
    looks: Looks = field(default_factory=Looks)

    def __post_init__(self) -> None:
        etc = self.root / "etc"
        etc.mkdir(exist_ok=True)
        (etc / "passwd").write_text(self.passwd)
        (etc / "group").write_text(self.group)
        self.secrets = Secrets(str(self.root / "secrets"), self.looks)
        self.programs = Programs(str(self.root / "logs"), self.secrets)
        self.accounts = Accounts(self.looks, str(etc))
        self.files = Files(self.looks, self.accounts, self.secrets, self.programs)


class Scripted(Programs):
    """Programs that are not run: each is answered by the first entry whose words are all among its arguments."""

    def __init__(self, answers: Mapping[str, Finished] | None = None) -> None:
        super().__init__("/nonexistent")
        self.answers = dict(answers or {})
        self.ran: list[str] = []

    def run(self, argv: Sequence[str], **_options: object) -> Finished:
        self.ran.append(" ".join(argv))
        for words, answer in self.answers.items():
            if set(words.split()) <= set(argv):
                return answer
        return Finished(0, "", "")
