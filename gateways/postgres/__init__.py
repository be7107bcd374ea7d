"""Postgres: snapshots. Nothing else knows asyncpg."""
