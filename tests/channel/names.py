"""How Python packages and their requirements are spelled on conda-forge. Pure."""

from collections.abc import Iterator, Mapping

from packaging.requirements import Requirement
from packaging.specifiers import Specifier, SpecifierSet
from packaging.utils import canonicalize_name

# Everything else is spelled there as PEP 503 normalises it. From conda-forge's own recipes.
CONDA_NAMES: Mapping[str, str] = {
    "backports-abc": "backports_abc",
    "backports-functools-lru-cache": "backports.functools_lru_cache",
    "backports-shutil-get-terminal-size": "backports.shutil_get_terminal_size",
    "fastjsonschema": "python-fastjsonschema",
    "ipython-genutils": "ipython_genutils",
    "ipython-pygments-lexers": "ipython_pygments_lexers",
    "jupyter-client": "jupyter_client",
    "jupyter-console": "jupyter_console",
    "jupyter-core": "jupyter_core",
    "jupyter-events": "jupyter_events",
    "jupyter-server": "jupyter_server",
    "jupyter-server-terminals": "jupyter_server_terminals",
    "jupyterlab-pygments": "jupyterlab_pygments",
    "jupyterlab-server": "jupyterlab_server",
    "jupyterlab-widgets": "jupyterlab_widgets",
    "prometheus-client": "prometheus_client",
    "pure-eval": "pure_eval",
    "stack-data": "stack_data",
    "typing-extensions": "typing_extensions",
    "tzdata": "python-tzdata",  # conda-forge's tzdata is the zone files themselves
}


def conda_name(name: str, extra: str = "") -> str:
    """Return how conda-forge calls the Python package ``name``, or its packaging of ``name[extra]``."""
    plain = canonicalize_name(name)
    conda = CONDA_NAMES.get(plain, plain)
    return f"{conda}-with-{canonicalize_name(extra)}" if extra else conda


def match_version(specifiers: SpecifierSet) -> str:
    """Return ``specifiers`` (PEP 440) as the version part of a conda match spec; empty for any version."""
    return ",".join(sorted(_clause(specifier) for specifier in specifiers))


def match_specs(requirement: Requirement) -> Iterator[str]:
    """Yield the match specs that stand for ``requirement``: one, or one for each extra it asks for."""
    version = match_version(requirement.specifier)
    for name in [conda_name(requirement.name, extra) for extra in sorted(requirement.extras)] or [
        conda_name(requirement.name)
    ]:
        yield f"{name} {version}".rstrip()


def marker_environment(python: str) -> dict[str, str]:
    """Return the values of PEP 508 markers for CPython ``python`` (such as "3.11") on 64-bit Linux."""
    return {
        "extra": "",
        "implementation_name": "cpython",
        "os_name": "posix",
        "platform_machine": "x86_64",
        "platform_python_implementation": "CPython",
        "platform_system": "Linux",
        "python_full_version": f"{python}.0",
        "python_version": python,
        "sys_platform": "linux",
    }


def _clause(specifier: Specifier) -> str:
    if specifier.operator == "==" and specifier.version.endswith(".*"):
        return specifier.version  # conda writes "1.2.*" without an operator
    return str(specifier)
