"""Packages are installed and removed together, each in one transaction."""

from __future__ import annotations

from agent.kinds.package import Package, PackageState
from agent.plan import compare
from agent.resource import Action, Change
from agent.steps import Packages
from tests.kinds.seen import removal_of, steps_for


def test_any_version_is_right() -> None:
    assert steps_for(Package("tree"), PackageState("2.1.0-1")) == []
    assert steps_for(Package("tree"), None) == [Packages(install=("tree",))]


def test_all_that_is_missing_is_one_transaction() -> None:
    found = [compare(Package(name), None) for name in ("tree", "jq")]
    changes = tuple(change for change in found if change is not None)

    assert list(Package.steps_together(changes)) == [Packages(install=("tree", "jq"))]


def test_removals_and_installations_do_not_mix() -> None:
    gone = Change(Package("sl"), Action.DELETE, current=PackageState("5"))
    new = Change(Package("tree"), Action.CREATE)

    assert list(Package.steps_together((gone, new))) == [Packages(install=("tree",), remove=("sl",))]
    assert removal_of(Package("sl"), PackageState("5")) == [Packages(remove=("sl",))]
