"""Rules about who may speak: the introduction, and epochs (P5)."""

from engine.messages.blocks import GatewayEpoch, RefusalCode, SendingRound, encode_block
from gateways.brokers.acceptance.bench import Bench, expect_accepted, expect_refused
from gateways.brokers.acceptance.rules.rule import Rule


async def _introduction(bench: Bench) -> None:
    for _ in range(2):
        expect_accepted(await bench.ask_raw(encode_block(GatewayEpoch(bench.epoch, 1))), 0)


async def _lower_epoch(bench: Bench) -> None:
    orders = bench.orders(range(3))
    expect_refused(await bench.ask(epoch=bench.epoch - 1), RefusalCode.EPOCH)
    expect_refused(await bench.ask(orders, epoch=bench.epoch - 1), RefusalCode.EPOCH)
    await bench.place(orders)
    await bench.wait_ended(orders)


async def _higher_epoch(bench: Bench) -> None:
    bench.epoch += 1
    bench.round = 0
    orders = bench.orders(range(3))
    await bench.place(orders)
    expect_refused(
        await bench.ask(bench.orders(range(3)), epoch=bench.epoch - 1), RefusalCode.EPOCH
    )
    await bench.wait_ended(orders)


async def _refused_epoch(bench: Bench) -> None:
    """A block that is refused for its content must not have set a higher epoch."""
    wrong = bench.orders([1], side=0)
    expect_refused(await bench.ask_raw(bench.block(wrong, epoch=bench.epoch + 5)))
    await bench.place(bench.orders([1]))


async def _lower_epoch_after_kill(bench: Bench) -> None:
    # Nothing of the current epoch may come before it, or the program would learn it again.
    late = bench.block(bench.orders([1]), epoch=bench.epoch - 1)
    expect_refused(await bench.kill_and_restart(late), RefusalCode.EPOCH)


async def _epoch_missing(bench: Bench) -> None:
    orders = bench.orders([1, 2])
    expect_refused(await bench.ask_raw(encode_block(orders), [orders]))
    if bench.options.format == "binary":
        late = encode_block(SendingRound(0), GatewayEpoch(bench.epoch, 1), orders)
        expect_refused(await bench.ask_raw(late))


RULES = (
    Rule(
        "introduction",
        "a block of a GatewayEpoch alone is answered without a refusal, however often it comes",
        _introduction,
    ),
    Rule(
        "introduction",
        "a block of a lower epoch is refused whole",
        _lower_epoch,
    ),
    Rule(
        "introduction",
        "a higher epoch is taken, and the one before is refused from then on",
        _higher_epoch,
    ),
    Rule(
        "introduction",
        "a block that is refused for its content raises no epoch",
        _refused_epoch,
    ),
    Rule(
        "introduction",
        "a block that does not begin with a GatewayEpoch is refused whole",
        _epoch_missing,
    ),
    Rule(
        "introduction",
        "a lower epoch is refused after the program was killed, too",
        _lower_epoch_after_kill,
        needs_restart=True,
    ),
)
