"""Asks a Jupyter server what a client would ask it, over the same network, and says in one sentence what is wrong."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agent.errors import Deferred, HostError, Unhealthy
from agent.host import look
from agent.steps import Idle

if TYPE_CHECKING:
    from agent.host.secrets import Secrets
    from agent.steps import Await, Probe

PATIENCE = 5.0
"""Seconds for each exchange of a probe."""
PAUSE = 0.2
_LARGEST = 1 << 20


@dataclass(frozen=True)
class Kernels:
    """How many kernels run, and how many of them compute."""

    running: int
    busy: int


class Probes:
    """Connects as a client. The token is sent only to a server that presented the expected certificate."""

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets

    def once(self, probe: Probe) -> str | None:
        """None when the server is healthy, else why it is not.

        Healthy: it presents the certificate of the file; ``api`` answers without login, ``api/status`` only with the token. A server that
        runs on defaults fails the one or the other.
        """
        try:
            token = self._secrets.value(probe.token)
            if token is None:
                return f"the token {probe.token} does not exist yet"
            connection = _connect(probe)
        except (HostError, _Unhealthy) as error:
            return str(error)
        try:
            status, answer = _get(connection, probe, "api")
            if status != 200 or "version" not in answer:
                return f"GET {probe.base_url}api answers {status}: this is not the server that was asked for"
            status, _ = _get(connection, probe, "api/status")
            if status != 403:
                return (
                    f"GET {probe.base_url}api/status without login answers {status}, not 403: the server lets anyone in"
                )
            status, _ = _get(connection, probe, "api/status", token)
            if status != 200:
                return f"GET {probe.base_url}api/status with the agent's token answers {status}: it runs with another configuration"
        except _Unhealthy as error:
            return str(error)
        finally:
            connection.close()
        return None

    def wait(self, step: Await) -> None:
        """Returns once the probe succeeds. Raises HostError with its last words after the step's timeout, or once the server has ended.

        For Idle: returns when no kernel computes, or none can be asked for; raises Deferred after the timeout.
        """
        end = time.monotonic() + step.timeout
        while (reason := self._reason(step.probe)) is not None:
            if time.monotonic() >= end or _has_ended(step.probe):
                raise reason
            time.sleep(PAUSE)

    def _reason(self, probe: Probe | Idle) -> HostError | None:

        if isinstance(probe, Idle):
            kernels = self.kernels(probe.probe)
            if kernels is None or not kernels.busy:
                return None
            return Deferred(
                f"{kernels.busy} of {kernels.running} kernels compute; the restart waits until they are idle"
            )
        reason = self.once(probe)
        hint = f"journalctl -u {probe.unit} has its own words"
        return None if reason is None else Unhealthy(f"not healthy: {reason}", hint=hint)

    def kernels(self, probe: Probe) -> Kernels | None:
        """The kernels of the server; None when it does not say."""
        try:
            token = self._secrets.value(probe.token)
            if token is None:
                return None
            connection = _connect(probe)
            try:
                status, answer = _get(connection, probe, "api/kernels", token)
            finally:
                connection.close()
        except (HostError, _Unhealthy):
            return None
        if status != 200 or not isinstance(answer, list):
            return None
        states = [each.get("execution_state") for each in answer if isinstance(each, dict)]
        return Kernels(len(states), states.count("busy"))


def _has_ended(probe: Probe | Idle) -> bool:
    """Whether the service failed or waits for its next try, which would end as this one did."""

    if isinstance(probe, Idle):
        return False
    answer = look.answer_all([("unit", probe.unit)])[0]
    return answer is not None and ("failed" in answer or "auto-restart" in answer)


class _Unhealthy(Exception):
    """The text says what is wrong."""


def _connect(probe: Probe) -> http.client.HTTPConnection:
    """A connection to the server that holds the expected certificate. Raises _Unhealthy."""
    where = f"{probe.address}:{probe.port}"
    try:
        with open(probe.certificate, encoding="ascii") as file:
            pem = file.read()
        expected = ssl.PEM_cert_to_DER_cert(pem[: pem.index("-----END CERTIFICATE-----") + 25])
    except (OSError, ValueError) as error:
        raise _Unhealthy(f"the certificate {probe.certificate} cannot be read: {_words(error)}") from None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # the very bytes are compared, which says more than any chain
    try:
        plain = socket.create_connection((probe.address, probe.port), PATIENCE)
    except OSError as error:
        raise _Unhealthy(f"nothing answers at {where}: {_words(error)}") from None
    try:
        secure = context.wrap_socket(plain)
    except OSError as error:
        plain.close()
        raise _Unhealthy(
            f"{where} does not speak TLS, or its certificate and key do not match: {_words(error)}"
        ) from None
    if secure.getpeercert(binary_form=True) != expected:
        secure.close()
        raise _Unhealthy(f"{where} presents another certificate than {probe.certificate}")
    connection = http.client.HTTPConnection(probe.address, probe.port, timeout=PATIENCE)
    connection.sock = secure
    connection.auto_open = 0  # never a second connection, whose certificate nobody looked at
    return connection


def _get(connection: http.client.HTTPConnection, probe: Probe, path: str, token: str | None = None) -> tuple[int, Any]:
    """Status and JSON body (an empty dict when it is no JSON). Raises _Unhealthy."""
    headers = {"Authorization": f"token {token}"} if token is not None else {}
    try:
        connection.request("GET", probe.base_url + path, headers=headers)
        response = connection.getresponse()
        body = response.read(_LARGEST)
    except (OSError, http.client.HTTPException) as error:
        raise _Unhealthy(f"GET {probe.base_url}{path} is not answered: {_words(error)}") from None
    try:
        return response.status, json.loads(body)
    except ValueError:
        return response.status, {}


def _words(error: Exception) -> str:
    """What went wrong, without numbers that mean nothing to a reader."""
    return getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error) or type(error).__name__
