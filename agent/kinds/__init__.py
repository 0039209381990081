"""The kinds of resource, by name: one line each."""

from __future__ import annotations

from agent.kinds.certificate import Authority, Certificate
from agent.kinds.database import Database
from agent.kinds.database_role import DatabaseRole
from agent.kinds.database_user import DatabaseUser
from agent.kinds.directory import Directory
from agent.kinds.environment import Environment
from agent.kinds.external_server import ExternalServer
from agent.kinds.file import File
from agent.kinds.grants import Grants
from agent.kinds.group import Group
from agent.kinds.health import Health
from agent.kinds.kernelspec import Kernelspec
from agent.kinds.notebooks import Notebooks
from agent.kinds.package import Package
from agent.kinds.password_hash import PasswordHash
from agent.kinds.repository import Repository
from agent.kinds.secret import Secret
from agent.kinds.served_certificate import ServedCertificate
from agent.kinds.server import Server
from agent.kinds.server_settings import KnownSettings, ServerSettings
from agent.kinds.unit import Unit
from agent.kinds.user import User
from agent.resource import Resource

KINDS: dict[str, type[Resource]] = {
    each.kind: each
    for each in (
        Authority,
        Certificate,
        Database,
        DatabaseRole,
        DatabaseUser,
        Directory,
        Environment,
        ExternalServer,
        File,
        Grants,
        Group,
        Health,
        Kernelspec,
        KnownSettings,
        Notebooks,
        Package,
        PasswordHash,
        Repository,
        Secret,
        ServedCertificate,
        Server,
        ServerSettings,
        Unit,
        User,
    )
}
