"""Which traits of Jupyter the spec may set, which have a field of their own, and which would open the server."""

from __future__ import annotations

from typing import Any

FIELDS = {
    "ip": "jupyter.address",
    "port": "jupyter.port",
    "base_url": "jupyter.base_url",
    "root_dir": "jupyter.root_dir",
    "notebook_dir": "jupyter.root_dir",
    "password": "jupyter.password",
    "hashed_password": "jupyter.password",
    "certfile": "tls.certificate",
    "keyfile": "tls.key",
    "client_ca": "tls",
    "ssl_options": "tls",
    "terminals_enabled": "jupyter.terminals",
    "cull_idle_timeout": "jupyter.cull.idle_timeout",
    "cull_interval": "jupyter.cull.interval",
    "cull_connected": "jupyter.cull.connected",
    "cull_busy": "jupyter.cull.busy",
}
"""Traits that the agent sets from a field. Only the classes of ``OWNERS``: other classes may use the same names."""
OWNERS = {
    "ServerApp",
    "NotebookApp",
    "LabApp",
    "JupyterNotebookApp",
    "IdentityProvider",
    "PasswordIdentityProvider",
    "MappingKernelManager",
    "AsyncMappingKernelManager",
}
FIXED = {
    "port_retries": "a busy port must be an error, not another port",
    "open_browser": "there is no browser on a server",
    "allow_password_change": "the password is in the spec; a change in the browser would have no effect",
    "token": "the agent keeps a token of its own, which it checks the server's health with",
}
FORBIDDEN = {
    "allow_unauthenticated_access": (True, "anyone who reaches the port would be let in"),
    "disable_check_xsrf": (True, "any web page could act in the name of who is logged in"),
    "allow_root": (True, "code in a notebook would own the host"),
    "password_required": (False, "anyone who reaches the port would be let in"),
    "allow_origin": ("*", "any web page could read notebooks; name the one origin, https://portal.example.org"),
}
CLASSES = {
    "identity_provider_class": "the agent sets a password and checks it; another way to log in is not supported",
    "login_handler_class": "the agent sets a password and checks it; another way to log in is not supported",
    "authorizer_class": "the agent sets a password and checks it; another way to log in is not supported",
    "config_file": "there is one configuration file, written by the agent",
    "config_file_name": "there is one configuration file, written by the agent",
}
ANY_ORIGIN = {".*", ".+", "^.*$", "^.+$", "(.*)", "^", "", "https?://.*", "https://.*", "^https://.*$"}
REASON = "is refused: {}"


def _refusal(message: str, hint: str = "") -> tuple[str, str]:
    return message, hint


def _truth(value: Any) -> Any:
    words = {"true": True, "false": False, "1": True, "0": False}
    return words.get(str(value).lower(), value) if isinstance(value, str | int) else value


def refused_trait(trait: str, value: Any) -> tuple[str, str] | None:
    """What is wrong with a setting, and the way out; None if nothing is. Jupyter only warns about traits it does not know."""
    owner, _, name = trait.partition(".")
    if owner in OWNERS and name in FIELDS:
        return _refusal(f"has a field of its own: {FIELDS[name]}", "set it there; the agent writes the trait")
    if owner in OWNERS and name in FIXED:
        return _refusal(f"is set by the agent: {FIXED[name]}")
    if owner == "NotebookApp":
        return _refusal(
            "belongs to Jupyter before version 7; the server stops at a trait of it that it does not know",
            f"write ServerApp.{name}",
        )
    if name in CLASSES:
        return _refusal(REASON.format(CLASSES[name]))
    if name in FORBIDDEN and _truth(value) == FORBIDDEN[name][0]:
        return _refusal(REASON.format(FORBIDDEN[name][1]))
    if name == "allow_origin_pat" and value in ANY_ORIGIN:
        return _refusal(REASON.format("the pattern matches every origin, and any web page could read notebooks"))
    if name == "tornado_settings" and isinstance(value, dict) and _truth(value.get("xsrf_cookies")) is False:
        return _refusal(REASON.format(FORBIDDEN["disable_check_xsrf"][1]))
    return None
