"""The plan is true: it tells what the spec asks for from what was changed by hand, foresees restarts, shows no secret, changes nothing, and can be
kept and applied as it is or not at all."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

from tests.system.governed import SPEC, Host, changes, governed
from tests.system.test_again import WRITES

FASTER = SPEC.replace("rate = 1", "rate = 2")
MY_CNF = "/home/notebook/.my.cnf"
TOOLS = "/opt/conda/envs/tools"
TREE = "find /etc /home /opt/conda/envs /srv /var/lib/agent -xdev -newer /run/mark ! -path '*/.cache/*'"


@pytest.fixture(scope="module")
def whole() -> Iterator[Host]:
    with governed() as host:
        yield host


@pytest.fixture
def host(whole: Host) -> Iterator[Host]:
    """As the spec wants it, before the test and after it."""
    yield whole
    whole.write_spec(SPEC)
    whole.apply()
    whole.assert_as_wanted()


def test_what_the_spec_asks_for_is_told_apart_from_what_was_changed_by_hand(host: Host) -> None:
    host.write_spec(FASTER)
    host.run("chmod 0666 /srv/shared/rules; rm -r /etc/agent/jupyter/share/kernels/analysis")

    text = host.agent("plan")
    planned = host.plan()

    drift, _, rest = text.partition("Changes that the spec asks for\n")
    assert drift.splitlines()[0] == "Drift: changed on the host since the last pass"
    assert "! + kernelspec:analysis\n" in drift
    assert "! ~ file:/srv/shared/rules\n        mode: 0666 -> 0644\n" in drift
    assert "  ~ file:/etc/ticker.conf\n        content: 1 lines added, 1 removed\n" in rest
    assert "  > unit:ticker.service  because of file:/etc/ticker.conf\n" in rest
    assert rest.endswith("Interrupts: ticker.service\nPlan: 1 to add, 2 to change, 0 to remove, 1 restart.\n")
    assert {each["ref"]: each["cause"] for each in planned["changes"]} == {
        "kernelspec:analysis": "drift",
        "file:/srv/shared/rules": "drift",
        "file:/etc/ticker.conf": "intended",
        "unit:ticker.service": "intended",
    }

    before = host.invocations()
    done = host.apply()

    assert changes(done) == changes(planned)
    causes = {each["ref"]: each["change"]["cause"] for each in done["outcomes"] if "change" in each}
    assert causes == {each["ref"]: each["cause"] for each in planned["changes"]}
    after = host.invocations()
    assert [name for name in after if after[name] != before[name]] == ["ticker.service"]


def test_a_plan_of_the_server_s_configuration_names_the_server_as_interrupted(host: Host) -> None:
    host.write_spec(SPEC.replace("interface: lab", "interface: lab\n  port: 8889"))

    text = host.agent("plan", "--diff")

    config = "/etc/agent/jupyter/jupyter_server_config.py"
    assert f"  > unit:jupyter.service  because of file:{config}\n" in text
    assert "        -c.ServerApp.port = 8888\n        +c.ServerApp.port = 8889\n" not in text, "it holds secrets"
    assert "Interrupts: jupyter.service" in text


def test_a_diff_shows_the_lines_of_files_and_hides_those_that_hold_secrets(host: Host) -> None:
    host.write_spec(FASTER)
    host.run(f"echo 'be quick' >>/srv/shared/rules; echo '# CANARY' >>{MY_CNF}")
    said = [host.agent("plan", *words) for words in ((), ("--diff",), ("--json",))]
    host.agent("plan", "--out", "/root/plan")
    said.append(host.run("cat /root/plan"))

    plain, diff = said[:2]
    assert "rate" not in plain
    assert "        -rate = 1\n        +rate = 2\n" in diff
    assert "        -be quick\n" in diff
    assert f"! ~ file:{MY_CNF}\n        content: changed (hidden)\n" in diff
    for secret in ("mysql.notebook", "mysql.reader", "jupyter.password"):
        value = host.agent("secret", "show", secret).strip()
        assert len(value) > 20
        assert not [each for each in said if value in each]
    assert not [each for each in said if "CANARY" in each]


@pytest.mark.parametrize("environment", [False, True], ids=["of files", "of an environment too"])
def test_a_plan_changes_nothing(host: Host, *, environment: bool) -> None:
    host.write_spec(FASTER)
    host.run("chmod 0666 /srv/shared/rules")
    if environment:
        host.run(f"rm {TOOLS}/conda-meta/six-*.json")
    host.run("touch /run/mark; sleep 0.1")

    words = ["agent", "plan", "--diff"]
    trace = ["strace", "-f", "-y", "-o", "/run/trace", f"-etrace={WRITES},execve"]
    done = host.machine.run([*trace, *words])

    assert "file:/etc/ticker.conf" in done.stdout
    lines = [line.split(None, 1)[1] for line in host.run("cat /run/trace").splitlines()]
    started = [line for line in lines if re.match(r"execve|<\.\.\. execve resumed", line) and " = 0" in line]
    # the packages of an environment are looked at by a program that runs as their owner
    assert bool(started[1:]) is environment, started
    assert [line for line in lines if _writes(line)] == []
    assert host.run(TREE) == ""


def _writes(call: str) -> bool:
    if call.startswith(("+++", "---", "execve")) or " = -1 E" in call or "resumed>" in call:
        return False
    if call.startswith("open"):
        kept_apart = ("/var/lib/agent/lock>", "/dev/null>", "</tmp/")
        return any(flag in call for flag in ("O_WRONLY", "O_RDWR", "O_CREAT")) and not call.endswith(kept_apart)
    return "/tmp/" not in call


def test_two_plans_of_one_host_are_the_same_to_the_letter(host: Host) -> None:
    host.write_spec(FASTER.replace("[tree]", "[]"))
    host.run("chmod 0666 /srv/shared/rules; groupdel research; mariadb -e 'DROP USER reader@localhost'")

    first, second = host.agent("plan", "--json"), host.agent("plan", "--json")

    assert first == second
    planned = json.loads(first)
    assert planned["format"] == 1
    assert planned.keys() >= {"changes", "removals", "orphans", "unreadable", "resources"}
    assert planned["removals"] == ["package:tree"]
    for change in planned["changes"]:
        assert change.keys() >= {"ref", "action", "cause", "disruption", "differences"}
        assert change["action"] in ("create", "update", "delete", "restart")
        assert change["cause"] in ("drift", "intended")
        assert change["disruption"] in ("none", "reload", "restart")
    refs = [each["ref"] for each in planned["changes"]]
    assert refs.index("group:research") < refs.index("user:notebook") < refs.index("directory:/srv/shared")
    made = changes(host.apply())
    assert made.items() <= changes(planned).items()
    # the group may get its old number again, and then what belonged to it is right by itself
    assert changes(planned).keys() - made.keys() <= {"directory:/srv/shared", "file:/etc/ticker.conf"}


def test_exit_statuses_tell_what_is_pending(host: Host) -> None:
    host.agent("plan", "--detailed-exitcode", status=0)
    host.agent("verify", status=0)
    host.run("chmod 0666 /srv/shared/rules")
    host.agent("plan", status=0)
    host.agent("plan", "--detailed-exitcode", status=2)
    host.agent("verify", status=2)
    host.agent("status", status=0)  # of the last pass; it asks the host nothing
    host.write_spec(SPEC + "\nsurprise: yes\n")
    host.agent("plan", status=65)
    host.agent("verify", status=65)
    host.agent("apply", status=65)
    assert not {each["type"]: each["status"] for each in host.status(2)["conditions"]}["SpecValid"]
    assert host.run("stat -c %a /srv/shared/rules") == "666\n"


# ---- saved plans


def saved(host: Host, *words: str) -> None:
    host.agent("plan", "--out", "/root/plan", *words)
    assert host.run("stat -c '%a %U' /root/plan") == "600 root\n"


def refused(host: Host) -> None:
    """The saved plan is, and nothing is changed by that."""
    host.run("touch /run/mark; sleep 0.1")
    before = host.invocations()
    done = host.machine.run(["agent", "apply", "/root/plan"], check=False)
    assert done.status == 1
    assert (
        "/root/plan is stale: the spec or the host has changed since it was saved. Nothing was changed." in done.stderr
    )
    assert host.run(f"{TREE} ! -path /var/lib/agent ! -name lock") == ""
    assert host.invocations() == before


def test_a_saved_plan_is_what_is_applied_and_only_once(host: Host) -> None:
    host.write_spec(FASTER)
    host.run("chmod 0666 /srv/shared/rules")
    saved(host)

    done = host.apply("/root/plan")

    assert changes(done) == {
        "file:/etc/ticker.conf": "update",
        "file:/srv/shared/rules": "update",
        "unit:ticker.service": "restart",
    }
    host.assert_as_wanted()
    refused(host)


def test_a_saved_plan_is_refused_once_the_spec_is_another(host: Host) -> None:
    host.write_spec(FASTER)
    saved(host)
    host.write_spec(SPEC.replace("rate = 1", "rate = 3"))
    refused(host)
    host.write_spec(FASTER + "# the same by other words\n")
    assert changes(host.apply("/root/plan")).keys() == {"file:/etc/ticker.conf", "unit:ticker.service"}


@pytest.mark.parametrize(
    "by_hand",
    ["chmod 0600 /srv/shared/rules", "echo rate = 7 >/etc/ticker.conf", "mariadb -e 'DROP USER reader@localhost'"],
    ids=["something else", "the same file", "a database"],
)
def test_a_saved_plan_is_refused_once_the_host_is_another(host: Host, by_hand: str) -> None:
    host.write_spec(FASTER)
    saved(host)
    host.run(by_hand)
    refused(host)


def test_a_saved_plan_that_is_damaged_or_of_another_version_is_refused(host: Host) -> None:
    host.write_spec(FASTER)
    saved(host)
    for script, words in (
        ("head -c 200 /root/plan >/root/half", "this saved plan is damaged"),
        ("sed s/agent-plan-1/agent-plan-9/ /root/plan >/root/half", "saved by another version"),
    ):
        host.run(script)
        done = host.machine.run(["agent", "apply", "/root/half"], check=False)
        assert done.status == 1
        assert words in done.stderr
    assert host.run("cat /etc/ticker.conf") == "rate = 1\n"


# ---- targets


def test_a_target_is_looked_at_with_what_it_needs_and_nothing_else(host: Host) -> None:
    host.write_spec(FASTER.replace("[tree]", "[]"))
    host.run("chmod 0666 /srv/shared/rules; chmod 2777 /srv/shared; rm -r /etc/agent/jupyter/share/kernels/analysis")
    rules = {"file:/srv/shared/rules": "update", "directory:/srv/shared": "update"}

    assert changes(host.plan("--target", "file:/srv/shared/rules")) == rules
    host.agent("verify", "--target", "user:notebook")
    host.agent("verify", "--target", "file:/srv/shared/rules", status=2)
    assert changes(host.apply("--target", "file:/srv/shared/rules")) == rules

    left = host.plan()
    assert changes(left) == {
        "kernelspec:analysis": "create",
        "file:/etc/ticker.conf": "update",
        "unit:ticker.service": "restart",
        "package:tree": "delete",
    }
    saved(host, "--target", "unit:ticker.service")
    assert changes(host.apply("/root/plan")).keys() == {"file:/etc/ticker.conf", "unit:ticker.service"}
    assert changes(host.plan()).keys() == {"kernelspec:analysis", "package:tree"}
    assert changes(host.apply("--target", "kernelspec")) == {"kernelspec:analysis": "create"}
    done = host.machine.run(["agent", "plan", "--target", "file:/srv/shared/rulez"], check=False)
    assert (done.status, "no resource is called file:/srv/shared/rulez" in done.stderr) == (64, True)
