"""The roles of the embedded Postgres. The supervisor alone logs in as the superuser. The engine's
role may log in and owns its tables, and has no other right.
"""

import asyncpg

from cluster.errors import ServerError

ENGINE_ROLE = "lockstep_engine"
CONNECT_S_MAX = 10.0

_EXISTS = "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)"
_RIGHTS = "LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS"
_TABLES = """
SELECT format('%I.%I', schemaname, tablename) FROM pg_tables
WHERE schemaname = 'public' AND tableowner <> $1
"""


async def give_engine_its_role(superuser_url: str, password: str) -> None:
    """Make the engine's role or bring it up to date, and hand it the tables that earlier versions
    made as the superuser. Raises: ServerError.
    """
    assert "'" not in password
    try:
        connection = await asyncpg.connect(superuser_url, timeout=CONNECT_S_MAX)
        try:
            async with connection.transaction():
                verb = "ALTER" if await connection.fetchval(_EXISTS, ENGINE_ROLE) else "CREATE"
                await connection.execute(
                    f"{verb} ROLE {ENGINE_ROLE} {_RIGHTS} PASSWORD '{password}'"
                )
                await connection.execute(f"GRANT CREATE, USAGE ON SCHEMA public TO {ENGINE_ROLE}")
                for (table,) in await connection.fetch(_TABLES, ENGINE_ROLE):
                    await connection.execute(f"ALTER TABLE {table} OWNER TO {ENGINE_ROLE}")
        finally:
            await connection.close(timeout=CONNECT_S_MAX)
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise ServerError(
            f"postgres: expected it to make the role {ENGINE_ROLE}, found {error}; start again"
        ) from None
