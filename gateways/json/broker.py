"""A broker that reads and writes JSON, behind the same port as one that reads blocks."""

from collections.abc import Awaitable, Callable
from typing import Any

from engine.messages.blocks import OrdersLookedUp, encode_block, walk_block
from gateways.json.order_answers import AnswerJson, answered, known_of, read_answer, stated
from gateways.json.orders import MessageJson, encode_message, messages_of

Send = Callable[[bytes], Awaitable[bytes]]
"""Sends a message to the broker. Returns: its answer. Raises: OperatingError."""


class JsonBroker:
    """The `Broker` port over JSON messages."""

    def __init__(self, send: Send) -> None:
        self._send = send

    async def submit(self, block: bytes) -> bytes:
        """Send a block as messages, one after the other. The first refusal ends it, and orders come
        last. Returns: the answer's block. Raises: OperatingError; SectionError for an answer that
        is wrong.
        """
        messages = messages_of(block)
        answers: list[AnswerJson] = []
        for message in messages:
            answers.append(read_answer(await self._send(encode_message(message)), message))
            if answers[-1].refusal:
                break
        return answer_of(block, messages, answers)


def answer_of(block: bytes, messages: list[MessageJson], answers: list[AnswerJson]) -> bytes:
    """Make the answer's block from the answers to a block's messages. Orders are counted by the
    last one.
    """
    last = answers[-1]
    sections: list[Any] = [answered(last)]
    if last.refusal:
        return encode_block(*sections)
    if any(message.look_ups for message in messages):
        known = {order_id for answer in answers for order_id in answer.known or ()}
        asked = [each for each in walk_block(block) if isinstance(each, OrdersLookedUp)]
        sections += [known_of(each, known) for each in asked]
    elif last.history is not None and messages[-1].is_introduction:
        sections += stated(last.history)
    return encode_block(*sections)
