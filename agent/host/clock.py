"""The time, asked in a way that can be asked again."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agent.host.looks import Looks


class Clock:
    """What a verdict depends on is asked by ``before``; ``now`` is for what is written down."""

    def __init__(self, looks: Looks) -> None:
        self._looks = looks

    def before(self, moment: float) -> bool:
        """Whether it is earlier than this second since the epoch."""
        return bool(self._looks.ask("before", int(moment)))

    def now(self) -> float:
        """Seconds since the epoch. Leaves no question behind."""
        return time.time()
