"""How often the daemon looks."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from ..base import Section, refuse
from ..fields import Duration


def _not_hasty(duration: timedelta) -> timedelta:
    if duration < timedelta(seconds=10):
        raise refuse("must be at least 10s; changes of the spec and of managed files are noticed without waiting")
    return duration


class Agent(Section):
    """When `agent daemon` makes a pass without being woken by a change."""

    interval: Annotated[Duration, AfterValidator(_not_hasty)] = Field(
        default=timedelta(minutes=10), description="How long after a pass the next one begins.", examples=["10m", "1h"]
    )
    splay: Duration = Field(
        default=timedelta(minutes=1), description="At most so much later, differently on each host.", examples=["1m"]
    )

    @model_validator(mode="after")
    def _splay_within(self) -> Agent:
        if self.splay > self.interval:
            raise refuse("must be at most the interval", at="splay")
        return self
