"""Postgres: snapshots.

No other room of `gateways` knows asyncpg, and nothing here knows what a snapshot holds.
"""
