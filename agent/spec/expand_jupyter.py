"""The `jupyter` section as resources: its configuration, its secrets, its unit, and the look at whether it answers."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent.kinds.certificate import Certificate
from agent.kinds.directory import Directory
from agent.kinds.file import File
from agent.kinds.health import Health
from agent.kinds.kernelspec import LAUNCHER
from agent.kinds.notebooks import Notebooks
from agent.kinds.password_hash import PasswordHash
from agent.kinds.secret import Secret
from agent.kinds.unit import Unit
from agent.render import render
from agent.resource import Ref, Resource
from agent.spec.expand_conda import KERNELS, prefix
from agent.spec.expand_secrets import secret_of
from agent.spec.expand_tls import NAME as CERTIFICATE
from agent.spec.expand_tls import default_names, expand_tls
from agent.steps import Check, Content, Idle, Probe, SecretRef

if TYPE_CHECKING:
    from agent.host.machine import Host
    from agent.spec.sections.jupyter import Jupyter
    from agent.spec.sections.tls import Tls
    from agent.spec.sections.user import User
    from agent.spec.spec import Spec

DIRECTORY = "/etc/agent/jupyter"
"""Root's, and the only place that the server takes its configuration from."""
CONFIG = f"{DIRECTORY}/jupyter_server_config.py"
NOTEBOOK_CONFIG = f"{DIRECTORY}/jupyter_notebook_config.py"
PREFLIGHT = f"{DIRECTORY}/preflight.py"
OPENSSL = f"{DIRECTORY}/openssl.cnf"
UNIT = "jupyter.service"
STATE = "/var/lib/jupyter"
"""The account's: StateDirectory= of the unit."""
PASSWORD = "jupyter.password"  # noqa: S105 - a name
TOKEN = SecretRef("stored", "jupyter.token")

CIPHERS = ":".join(
    f"ECDHE-{key}-{cipher}"
    for key in ("ECDSA", "RSA")
    for cipher in ("AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305")
)
"""Mozilla's intermediate, for TLS 1.2; those of 1.3 are all good."""
_LOOPBACK = ("127.0.0.1", "::1")


@dataclass(frozen=True)
class Server:
    """What the sections say of one server, taken together."""

    jupyter: Jupyter
    tls: Tls
    user: User
    prefix: str
    """Of the environment that it runs from."""
    root: str
    """Directory of all environments."""

    @property
    def root_dir(self) -> str:
        return self.user.below_home(self.jupyter.root_dir)

    @property
    def program(self) -> tuple[str, ...]:
        """Python in the environment's build: what runs stays in that when the environment gets another one."""
        return (LAUNCHER, self.prefix, f"{self.prefix}/bin/python")

    @property
    def probe(self) -> Probe:
        everywhere = {"*": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared, not listened on
        address = everywhere.get(self.jupyter.address, self.jupyter.address)
        certificate = Certificate(CERTIFICATE, self.tls.mode).certificate
        return Probe(address, self.jupyter.port, self.jupyter.base_url, certificate, TOKEN, UNIT)

    def below_home(self, path: str) -> bool:
        return path == self.user.directory or path.startswith(f"{self.user.directory}/")


def expand_jupyter(spec: Spec, host: Host) -> Iterator[Resource]:
    """Everything for the server but its environment and the kernels."""
    jupyter, tls, user = spec.jupyter, spec.tls, spec.user
    if jupyter is None or tls is None or user is None:
        return
    environment, _ = spec.server_environment()
    root = spec.conda.root if spec.conda else "/opt/conda"
    server = Server(jupyter, tls, user, prefix(spec, environment), root)
    account = (Ref("user", user.name), Ref("group", user.name))
    yield expand_tls(tls, host, user.name)
    yield Directory(DIRECTORY, 0o755)
    yield from _notebooks(server, account)
    password = yield from _secrets(jupyter)
    inputs = yield from _files(server, host, password, (Ref("environment", environment), *account))
    unit = Unit(
        UNIT,
        active=True,
        enabled=True,
        inputs=(*inputs, Ref("environment", environment)),
        after=(Ref("certificate", CERTIFICATE), Ref("notebooks", server.root_dir), Ref("file", LAUNCHER), *account),
        when=jupyter.restart,
        idle=Idle(server.probe),
    )
    yield unit
    yield Health("jupyter", server.probe, timeout=60)


def _notebooks(server: Server, account: tuple[Ref, ...]) -> Iterator[Notebooks]:
    name = server.user.name
    if server.root_dir != server.user.directory:
        yield Notebooks(server.root_dir, name, name if server.below_home(server.root_dir) else None, account)


def _secrets(jupyter: Jupyter) -> Generator[Resource, None, SecretRef | str]:
    """Returns how the configuration names the password's hash: by reference, or as it is in the spec."""
    yield Secret(TOKEN.at, TOKEN, 48)
    if jupyter.password.hash is not None:
        return jupyter.password.hash.get_secret_value()
    secret = secret_of(jupyter.password, PASSWORD)
    yield secret
    hashed = PasswordHash(f"{PASSWORD}.hash", secret.at, secret.ref)
    yield hashed
    return hashed.at


def _files(
    server: Server, host: Host, password: SecretRef | str, after: tuple[Ref, ...]
) -> Generator[Resource, None, tuple[Ref, ...]]:
    """Returns the refs of what the server must be restarted for."""
    user = server.user.name
    preflight = File(PREFLIGHT, render("jupyter_preflight.py.j2"))
    thin = File(NOTEBOOK_CONFIG, render("jupyter_notebook_config.py.j2"))
    openssl = File(OPENSSL, render("openssl.cnf.j2", ciphers=CIPHERS))
    # Jupyter's mark that old configuration was looked for: without it, a server whose account has an ~/.ipython tries to write one here
    migrated = File(f"{DIRECTORY}/migrated", Content.of("Nothing is migrated into this directory.\n"))
    refs = {
        Ref("secret", TOKEN.at),
        Ref("certificate", CERTIFICATE),
        preflight.ref,
        thin.ref,
        openssl.ref,
        migrated.ref,
    }
    if isinstance(password, SecretRef):
        refs.add(Ref("password_hash", password.at))
    refs |= {Ref("notebooks", server.root_dir), Ref("file", LAUNCHER)}
    check = Check(
        argv=(*server.program, "-I", PREFLIGHT, server.jupyter.interface, "{directory}"),
        name=CONFIG.rpartition("/")[2],
        user=user,
        environment=tuple(environment(server).items()),
        timeout=120,
    )
    config = File(
        CONFIG, render_config(server, host, password), 0o640, "root", user, check=check, after=(*after, *sorted(refs))
    )
    unit = File(f"/etc/systemd/system/{UNIT}", render_unit(server))
    yield from (preflight, thin, openssl, migrated, config, unit)
    return (config.ref, thin.ref, openssl.ref, unit.ref)


def render_config(server: Server, host: Host, password: SecretRef | str) -> Content:
    """jupyter_server_config.py, with slots for the secrets."""
    jupyter, tls = server.jupyter, server.tls
    certificate = Certificate(CERTIFICATE, tls.mode)
    cull = jupyter.cull
    idle = cull.idle_timeout
    # on the loopback Jupyter refuses foreign names, which is right but for those that a proxy passes on
    foreign = (tls.names if tls.names is not None else default_names(host)) if jupyter.address in _LOOPBACK else ()
    return render(
        "jupyter_server_config.py.j2",
        ip="" if jupyter.address == "*" else jupyter.address,
        port=jupyter.port,
        base_url=jupyter.base_url,
        root_dir=server.root_dir,
        terminals=jupyter.terminals,
        local_hostnames=list(foreign),
        certificate=certificate.certificate,
        key=certificate.key,
        ciphers=CIPHERS,
        password=password,
        token=TOKEN,
        cookie_secret_file=f"{STATE}/cookie_secret",
        cull=idle
        and {
            "idle_timeout": int(idle.total_seconds()),
            "interval": int(cull.interval.total_seconds()),
            "connected": cull.connected,
            "busy": cull.busy,
        },
        settings=dict(sorted(jupyter.settings.items())),
    )


def render_unit(server: Server) -> Content:
    """jupyter.service."""
    jupyter, user = server.jupyter, server.user
    home = user.directory
    outside = () if server.below_home(server.root_dir) else (server.root_dir,)
    # a '-' lets the server start without it: systemd refuses to start a unit whose directory is missing
    writable = [home, f"-{server.root}", *outside, *(f"-{path}" for path in jupyter.sandbox.writable)]
    return render(
        "jupyter.service.j2",
        configs=[CONFIG, NOTEBOOK_CONFIG],
        user=user.name,
        home=home,
        environment=environment(server),
        # -s: neither settings nor packages below ~/.local are the server's; kernels have theirs as ever
        command=[*server.program, "-s", f"{server.prefix}/bin/jupyter-{jupyter.interface}"],
        # an address of the network, which may come late
        wait_online=jupyter.address not in ("*", "0.0.0.0", "::", *_LOOPBACK),  # noqa: S104 - compared
        low_port=jupyter.port < 1024,
        memory_max=jupyter.memory_max,
        cpu_quota=jupyter.cpu_quota,
        tasks_max=jupyter.tasks_max,
        sandbox=jupyter.sandbox.enabled,
        bind_home=home.startswith("/home/"),
        writable=writable,
    )


def environment(server: Server) -> dict[str, str]:
    """Of the server. All kernels and terminals inherit it, so there is no secret in it."""
    jupyter = f"{server.user.directory}/.jupyter"
    return {
        # the launcher puts the environment's in front
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "OPENSSL_CONF": OPENSSL,
        "JUPYTER_CONFIG_PATH": DIRECTORY,
        # instead of ~/.jupyter: what a kernel writes there must not configure the server
        "JUPYTER_CONFIG_DIR": DIRECTORY,
        "JUPYTER_PREFER_ENV_PATH": "0",
        "JUPYTER_PATH": KERNELS.rpartition("/")[0],
        "JUPYTER_RUNTIME_DIR": "/run/jupyter",
        "JUPYTERLAB_SETTINGS_DIR": f"{jupyter}/lab/user-settings",
        "JUPYTERLAB_WORKSPACES_DIR": f"{jupyter}/lab/workspaces",
        # a broken configuration ends the server, where Jupyter would go on with its defaults
        "TRAITLETS_APPLICATION_RAISE_CONFIG_FILE_ERROR": "1",
    }
