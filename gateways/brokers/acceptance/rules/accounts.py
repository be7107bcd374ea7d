"""Rules about accounts: registered again without effect, and never confused."""

from engine.messages.blocks import AccountsRegistered
from gateways.brokers.acceptance.bench import (
    ACCOUNTS,
    Bench,
    account_id,
    expect_accepted,
    expect_refused,
)
from gateways.brokers.acceptance.rules.rule import Rule


async def _again(bench: Bench) -> None:
    for _ in range(2):
        expect_accepted(await bench.ask(bench.accounts(0), bench.accounts(1)), 0)
    orders = bench.orders(range(4))
    await bench.place(orders)
    await bench.wait_ended(orders)


async def _same_block(bench: Bench) -> None:
    first = ACCOUNTS + bench.epoch % 1_000_000
    account = AccountsRegistered(0, first, [account_id(0, first)])
    orders = bench.orders([first], accounts=bench.orders([first]).subscriptions)
    expect_accepted(await bench.ask(account, orders), 1)
    await bench.wait_ended(orders)


async def _given_twice(bench: Bench) -> None:
    other = AccountsRegistered(0, 5, ["somebody-else"])
    expect_refused(await bench.ask(other))
    orders = bench.orders([5])
    expect_refused(await bench.ask(other, orders))
    await bench.place(orders)


async def _other_shard(bench: Bench) -> None:
    """Numbers are a shard's own: number 5 of shard 1 is another account."""
    expect_accepted(await bench.ask(bench.accounts(1), bench.accounts(0)), 0)
    expect_refused(await bench.ask(bench.orders([1], follower_shard=77)))


async def _after_kill(bench: Bench) -> None:
    await bench.kill_and_restart()
    orders = bench.orders(range(ACCOUNTS))
    await bench.place(orders)
    expect_refused(await bench.ask(AccountsRegistered(0, 5, ["somebody-else"])))
    await bench.wait_ended(orders)


RULES = (
    Rule("accounts", "registering accounts again changes nothing", _again),
    Rule("accounts", "a block may register an account and order for it", _same_block),
    Rule("accounts", "a number is never given to a second account", _given_twice),
    Rule("accounts", "account numbers are those of a follower shard", _other_shard),
    Rule(
        "accounts",
        "accounts are known after the program was killed, without registering them again",
        _after_kill,
        needs_restart=True,
    ),
)
