"""The example notebook, executed from its first cell to its last by a kernel, as the notebook account, on the host that its spec describes."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.sandbox import Machine
from tests.system import roots

SPEC = (roots.CHECKOUT / "examples/notebook.yaml").read_text() + roots.PINNED
NOTEBOOK = (roots.CHECKOUT / "examples/notebooks/climate.ipynb").read_text()
PLACE = "/home/notebook/notebooks/climate.ipynb"


@pytest.fixture(scope="module")
def host() -> Iterator[Machine]:
    root = roots.applied_root(spec=SPEC)
    with Machine(root, binds=[roots.channel_bind()], prepare=roots.same_host(root)) as machine:
        machine.wait_booted()
        yield machine


def executed(host: Machine) -> dict[str, Any]:
    """The outputs of its cells, by the names of those."""
    host.run(["runuser", "-u", "notebook", "--", "sh", "-c", f"cat >{PLACE}"], stdin=NOTEBOOK)
    words = [
        "runuser",
        "-u",
        "notebook",
        "--",
        "env",
        "-i",
        "HOME=/home/notebook",
        "JUPYTER_PATH=/etc/agent/jupyter/share",
    ]
    run = ["/opt/conda/envs/jupyter/bin/jupyter", "nbconvert", "--to", "notebook", "--execute", "--inplace", PLACE]
    host.run([*words, *run], timeout=180)
    cells = json.loads(host.run(["cat", PLACE]).stdout)["cells"]
    return {cell["id"]: cell["outputs"] for cell in cells if cell["cell_type"] == "code"}


def test_the_example_makes_a_table_and_plots_it_as_often_as_it_is_run(host: Machine, tmp_path: Path) -> None:
    executed(host)
    outputs = executed(host)

    assert "notebook@localhost" in "".join(outputs["connect"][0]["data"]["text/plain"])
    assert outputs["query"][0]["text"] == [
        "Berlin: 0.6 to 19.5 °C, 9.9 °C on average\n",
        "Lisbon: 11.6 to 23.5 °C, 17.4 °C on average\n",
    ]
    picture = base64.b64decode("".join(outputs["plot"][-1]["data"]["image/png"]))
    assert picture.startswith(b"\x89PNG")
    assert len(picture) > 10_000
    (Path(os.environ.get("AGENT_TEST_SCREENSHOTS", tmp_path)) / "climate.png").write_bytes(picture)
    assert host.run("mariadb -N -e 'SELECT COUNT(*) FROM analysis.climate'").stdout == "24\n"


def test_it_holds_no_password_and_no_output(host: Machine) -> None:
    cells = json.loads(NOTEBOOK)["cells"]

    assert all(cell.get("outputs", []) == [] for cell in cells)
    kept = host.run("cat /var/lib/agent/secrets/mysql.notebook").stdout.strip()
    assert kept not in host.run(["cat", PLACE]).stdout
