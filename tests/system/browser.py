"""A person at a real browser: Chromium, driven through playwright, in the network of a throw-away host and nowhere else."""

from __future__ import annotations

import contextlib
import json
import shlex
import tempfile
from collections.abc import Iterator
from pathlib import Path

from playwright.sync_api import BrowserContext, Page, TimeoutError, expect, sync_playwright

from agent.sandbox import Machine

PATIENCE = 60.0
"""Seconds for whatever the page has to do; a busy machine needs a part of it."""
_QUIET = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--disable-default-apps", "--disable-domain-reliability", "--no-pings", "--metrics-recording-only",
    "--disable-features=OptimizationHints,MediaRouter,Translate,AutofillServerCommunication",
)  # fmt: skip
_CELL = ".jp-Notebook .jp-Cell .cm-content"
_IDLE = '.jp-Notebook-ExecutionIndicator[data-status="idle"], .jp-NotebookKernelStatus'
_PUT = """async ([url, token, body]) =>
    (await fetch(url, {method: "PUT", headers: {"X-XSRFToken": token, "Content-Type": "application/json"}, body})).status
"""


def key_hash(machine: Machine, certificate: str) -> str:
    """What Chromium's ``--ignore-certificate-errors-spki-list`` wants to know of a certificate: the hash of its public key, by openssl."""
    script = (
        f"openssl x509 -in {shlex.quote(certificate)} -pubkey -noout | openssl pkey -pubin -outform der"
        " | openssl dgst -sha256 -binary | base64"
    )
    return machine.run(script).stdout.strip()


class Person:
    """Someone with one browser window. ``url`` is the server's, with a slash at its end."""

    def __init__(self, context: BrowserContext, url: str) -> None:
        self._context = context
        self._url = url
        self.page: Page = context.pages[0]
        self.page.set_default_timeout(PATIENCE * 1000)

    def login(self, password: str) -> bool:
        """Types a password into the login page. Returns whether it led further."""
        self.page.goto(f"{self._url}login")
        self.page.fill("input[name=password]", password)
        self.page.click("#login_submit")
        self.page.wait_for_load_state()
        if "/login" in self.page.url:
            expect(self.page.locator("body")).to_contain_text("Invalid credentials")
            return False
        return True

    def open_notebook(self, path: str, kernel: str, *cells: str, interface: str = "lab") -> None:
        """Makes a notebook with these cells and opens it; returns once its kernel is ready."""
        document = {
            "metadata": {"kernelspec": {"name": kernel, "display_name": kernel}},
            "nbformat": 4,
            "nbformat_minor": 5,
            "cells": [_cell(f"cell-{number}", source) for number, source in enumerate(cells)],
        }
        body = json.dumps({"type": "notebook", "format": "json", "content": document})
        token = self._cookie("_xsrf")
        assert self.page.evaluate(_PUT, [f"{self._url}api/contents/{path}", token, body]) == 201
        self.page.goto(f"{self._url}{'lab/tree' if interface == 'lab' else 'notebooks'}/{path}")
        # a cell that is run while there is "No Kernel" yet brings up a dialog to choose one
        self.page.locator(".jp-Toolbar-kernelName").filter(has_not_text="No Kernel").wait_for()
        self.page.wait_for_selector(_IDLE, state="attached")
        if interface == "lab":
            self._no_news()

    def type_and_run(self, number: int, code: str) -> str:
        """Types code into a cell, presses Shift+Enter, and returns the cell's output."""
        self.page.locator(_CELL).nth(number).click()
        self.page.keyboard.type(code)
        return self.run_cell(number)

    def run_cell(self, number: int) -> str:
        """Presses Shift+Enter in a cell, and returns its output."""
        cell = self.page.locator(".jp-Notebook .jp-Cell").nth(number)
        output = cell.locator(".jp-OutputArea-output").first
        for _ in range(int(PATIENCE / 5)):
            cell.locator(".cm-content").click()
            self.page.keyboard.press("Shift+Enter")
            # pressed before the kernel is connected, it is lost
            with contextlib.suppress(TimeoutError):
                output.wait_for(timeout=5000)
                return output.inner_text().strip()
        raise AssertionError(f"cell {number} has no output")

    def save(self) -> None:
        self.page.keyboard.press("Control+s")
        self.page.wait_for_selector(".lm-TabBar-tab.jp-mod-dirty", state="detached")

    def picture(self, path: Path) -> None:
        self.page.screenshot(path=path)

    def _no_news(self) -> None:
        """JupyterLab asks once whether it may show news; whoever does not answer has the question in the picture."""
        no = self.page.get_by_role("button", name="No", exact=True)
        with contextlib.suppress(TimeoutError):
            no.click(timeout=5000)

    def _cookie(self, name: str) -> str:
        return next(str(each["value"]) for each in self._context.cookies() if each.get("name") == name)


@contextlib.contextmanager
def person(machine: Machine, url: str, key: str) -> Iterator[Person]:
    """A browser without a past that knows one server's key, by ``key_hash``; every other certificate is an error to it."""
    with tempfile.TemporaryDirectory() as place, sync_playwright() as playwright:
        chromium = Path(place) / "chromium"
        chromium.write_text(f'#!/bin/sh\nexec nsenter --net={machine.namespace} -- /usr/bin/chromium "$@"\n')
        chromium.chmod(0o755)
        context = playwright.chromium.launch_persistent_context(
            f"{place}/profile",
            executable_path=chromium,
            headless=True,
            args=[*_QUIET, f"--ignore-certificate-errors-spki-list={key}"],
            viewport={"width": 1280, "height": 800},
        )
        try:
            yield Person(context, url)
        except BaseException as error:
            seen = Path(tempfile.mkdtemp(prefix="agent-test-page-")) / "page.png"
            context.pages[0].screenshot(path=seen)
            error.add_note(f"the page at that moment: {seen}")
            raise
        finally:
            context.close()


def _cell(name: str, source: str) -> dict[str, object]:
    return {"cell_type": "code", "id": name, "metadata": {}, "outputs": [], "execution_count": None, "source": source}
