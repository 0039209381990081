"""A bad spec is refused with its place and message, exit status 65, and changes nothing on the host."""

from __future__ import annotations

import json
import random

from agent.errors import Exit
from tests.spec.broken import cases
from tests.system import roots
from tests.system.conftest import Boot

ENOUGH = 200

# applies each spec in a process of its own, and says what each said
DRIVER = """
import json, subprocess, sys
found = []
for text in json.load(sys.stdin):
    with open("/etc/agent/spec.yaml", "w") as file:
        file.write(text)
    done = subprocess.run(["agent", "apply", "--yes"], capture_output=True, text=True)
    found.append([done.returncode, done.stdout, done.stderr])
json.dump(found, sys.stdout)
"""
# everything that an apply might touch, but for the status, which says what is wrong
PICTURE = """
find /etc /opt/conda/envs /usr/local /home /root /var/lib/mysql/mysql -xdev \\( -path /etc/agent/spec.yaml -o -name '.cache' \\) -prune -o \\
    -printf '%p %y %m %u %g %s %T@ %l\\n' | grep -v -e '^/etc/agent d' -e '^/root d' -e '/var/lib/mysql/mysql d' | sort | sha256sum
find /var/lib/agent \\( -name status.json -o -name lock -o -name evidence \\) -prune -o -printf '%p %y %m %s %T@\\n' |
    grep -v '^/var/lib/agent d' | sort
systemctl show -p InvocationID --value jupyter.service mariadb.service
dpkg-query -W | sha256sum
mariadb -NBe 'SELECT * FROM mysql.global_priv; SELECT * FROM mysql.db; SHOW DATABASES' | sha256sum
"""


def test_hundreds_of_broken_specs_are_refused_and_change_nothing(applied: Boot) -> None:
    machine = applied()
    machine.run("rm /etc/agent/spec.d/90-mirror.yaml")  # merged into them, it would mend some
    broken = random.Random(1).sample(list(cases()), ENOUGH)  # the pure tests have them all
    texts = [case.text for case in broken]
    before = machine.run(PICTURE).stdout

    said = json.loads(machine.run(["python3", "-c", DRIVER], stdin=json.dumps(texts), timeout=900).stdout)

    wrong = []
    for case, (status, output, errors) in zip(broken, said, strict=True):
        missing = [line for line in case.said if _first_line(line) not in errors]
        if (
            status != Exit.BAD_SPEC
            or missing
            or output
            or "Traceback" in errors
            or not errors.endswith("Nothing was changed.\n")
        ):
            wrong.append((case.name, status, missing, errors[-2000:]))
    assert wrong == []
    assert machine.run(PICTURE).stdout == before
    condition = json.loads(machine.run("agent status --json", check=False).stdout)["conditions"][0]
    assert (condition["type"], condition["status"]) == ("SpecValid", False)


def _first_line(said: str) -> str:
    """``3:9: tls.key_bits: must be ...`` as the agent prints it; hints and further lines are compared by the pure tests."""
    return "/etc/agent/spec.yaml:" + said.partition(" [")[0].partition("\\n")[0]


UNSAFE = {
    "others can write it": ("chmod 666 spec.yaml", "spec.yaml"),
    "another account owns it": ("chown notebook spec.yaml", "spec.yaml"),
    "others can write its directory": ("chmod 777 .", "/etc/agent"),
    "it is a link": ("mv spec.yaml x; ln -s x spec.yaml", "link"),
    "it is a pipe": ("rm spec.yaml; mkfifo spec.yaml", "spec.yaml"),
    "it is too large": ("head -c 300000 /dev/zero | tr '\\0' '#' >spec.yaml", "256 KiB"),
    "others can write a drop-in": ("chmod 666 spec.d/90-mirror.yaml", "90-mirror.yaml"),
}


def test_a_spec_that_cannot_be_trusted_is_refused(applied: Boot) -> None:
    machine = applied()
    machine.run("cp -a /etc/agent /root/good")

    for name, (make, said) in UNSAFE.items():
        machine.run(f"cd /etc/agent; {make}")
        refused = machine.unit_run(["agent", "apply", "--yes"], check=False, timeout=60)
        machine.run("rm -rf /etc/agent; cp -a /root/good /etc/agent")

        assert refused.status == Exit.BAD_SPEC, (name, refused)
        assert said in refused.stderr, (name, refused.stderr)


def test_the_next_good_spec_clears_the_condition(applied: Boot) -> None:
    machine = applied()
    roots.write_spec(machine, "jupyter: {prot: 8888}\n")
    refused = machine.unit_run(["agent", "apply", "--yes"], check=False)
    assert refused.status == Exit.BAD_SPEC
    assert "/etc/agent/spec.yaml:1:11: jupyter.prot: " in refused.stderr
    assert "port" in refused.stderr
    status = machine.run("agent status", check=False)
    assert status.status == Exit.PENDING
    assert "spec.yaml:1:11: jupyter.prot" in status.stdout

    roots.write_spec(machine, roots.QUICKSTART)
    machine.unit_run(["agent", "apply", "--yes"])

    assert machine.run("agent status").status == Exit.OK
