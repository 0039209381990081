"""What accounts and roles of a database server may do, as resources."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from agent.host.database_privileges import ALL
from agent.kinds.database_role import DatabaseRole
from agent.kinds.grants import Given, GivenRole, Grants
from agent.resource import Ref, Resource
from agent.spec.sections.mysql_grants import ALL_ROLES, NO_ROLE, privilege_of, target_of

if TYPE_CHECKING:
    from agent.kinds.external_server import ExternalServer
    from agent.kinds.server import Server
    from agent.spec.sections.mysql_grants import DatabaseRole as RoleSection
    from agent.spec.sections.mysql_grants import HeldRole
    from agent.spec.sections.mysql_users import DatabaseUser as UserSection


def expand_role(name: str, section: RoleSection, server: Server | ExternalServer) -> Iterator[Resource]:
    role = DatabaseRole(name, server.server, after=(server.ref,))
    yield role
    given, roles = _given(section.grants), _roles(section.roles)
    # what it contains comes first, so that who has the role has all of it from the beginning
    after = (role.ref, *(Ref("grants", each.role) for each in roles))
    yield Grants(name, server.server, name, None, given, roles, after=after)


def public_grants(server: Server | ExternalServer) -> Grants:
    """What MariaDB's PUBLIC may do, everybody may: nothing, else accounts would have more than the spec says."""
    return Grants("PUBLIC", server.server, "PUBLIC", after=(server.ref,))


def user_grants(account: str, section: UserSection, server: Server | ExternalServer) -> Grants:
    """Roles come first: else who is given one instead of privileges would have neither for a moment."""
    name, _, host = account.rpartition("@")
    roles = _roles(section.roles)
    default = (ALL_ROLES,) if section.default_role is None and roles else section.default_role or ()
    return Grants(
        account,
        server.server,
        name,
        host,
        _given(section.grants),
        roles,
        () if default == (NO_ROLE,) else default,
        after=(Ref("database_user", account), *(Ref("grants", each.role) for each in roles)),
    )


def _given(grants: Mapping[str, tuple[str, ...]]) -> tuple[Given, ...]:
    found = []
    for text, privileges in grants.items():
        parts = [privilege_of(privilege) for privilege in privileges]
        whole = {ALL if name == "ALL" else name for name, columns in parts if not columns}
        on_columns = {(name, column) for name, columns in parts for column in columns}
        found.append(Given(*target_of(text), tuple(sorted(whole)), tuple(sorted(on_columns))))
    return tuple(found)


def _roles(roles: tuple[HeldRole, ...]) -> tuple[GivenRole, ...]:
    return tuple(GivenRole(role.name, role.admin) for role in roles)
