"""Every report on an order in every status."""

import pytest

from engine.values.order_status import OPEN, TERMINAL, ExecType, OrdStatus, next_status


def _expected(status: OrdStatus, exec_type: ExecType, leaves: int) -> OrdStatus | None:
    if status in TERMINAL or exec_type in (ExecType.TRADE_CANCEL, ExecType.TRADE_CORRECT):
        return None
    if exec_type is ExecType.TRADE:
        if leaves == 0:
            return OrdStatus.FILLED
        return (
            OrdStatus.PENDING_CANCEL
            if status is OrdStatus.PENDING_CANCEL
            else OrdStatus.PARTIALLY_FILLED
        )
    if exec_type is ExecType.NEW:
        return OrdStatus.NEW if status is OrdStatus.PENDING_NEW else status
    return OrdStatus[exec_type.name]


@pytest.mark.parametrize("status", OrdStatus)
@pytest.mark.parametrize("exec_type", ExecType)
@pytest.mark.parametrize("leaves", [0, 1])
def test_every_report_leads_from_every_status_where_the_table_says(
    status: OrdStatus, exec_type: ExecType, leaves: int
) -> None:
    found = next_status(status, exec_type, leaves_quantity=leaves)
    assert found == _expected(status, exec_type, leaves)
    assert (status in OPEN) != (status in TERMINAL)
