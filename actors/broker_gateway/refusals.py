"""What a broker's refusal is about: the block's content, or who sent it."""

from engine.messages.blocks import BlockAnswered, RefusalCode

_OF_SENDER = frozenset((RefusalCode.EPOCH, RefusalCode.ROUND, RefusalCode.CLUSTER))


def is_of_sender(answered: BlockAnswered) -> bool:
    """Return whether a refusal is about the sender. Without a code it only seems to be."""
    if answered.code == RefusalCode.NOT_STATED:
        return answered.refusal.startswith(("epoch", "round"))
    return answered.code in _OF_SENDER


def is_of_round(answered: BlockAnswered) -> bool:
    """Return whether a refusal is about the round. Without a code it only seems to be."""
    if answered.code == RefusalCode.NOT_STATED:
        return answered.refusal.startswith("round")
    return answered.code == RefusalCode.ROUND
