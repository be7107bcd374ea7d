"""The commands about an account: `open_account`."""

import msgspec

from engine.messages.commands import OpenAccount
from gateways.json.command_json import BROKER_DEFAULT, CommandJson
from gateways.json.fields import checked_id


class _OpenAccountJson(msgspec.Struct, tag="open_account", forbid_unknown_fields=True, gc=False):
    command_id: str
    account_id: str | None = None
    broker: str | None = None
    dedicated: bool | None = None


def _open_account(found: _OpenAccountJson, command_id: str, account_id: str) -> OpenAccount:
    broker = checked_id(found.broker or BROKER_DEFAULT, "broker")
    return OpenAccount(command_id, account_id, broker, bool(found.dedicated))


OPEN_ACCOUNT = CommandJson(_OpenAccountJson, _open_account, ("account_id", "shard"))
