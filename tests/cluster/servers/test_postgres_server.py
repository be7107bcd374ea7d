"""The address of a Postgres that runs elsewhere."""

from cluster.servers.postgres_server import external_postgres_url


def test_configured_postgres_url_gets_its_password_from_the_environment() -> None:
    assert external_postgres_url("postgresql://me@db:5/x", "p/w") == "postgresql://me:p%2Fw@db:5/x"
    assert external_postgres_url("postgresql://me:own@db/x", "p/w") == "postgresql://me:own@db/x"
