"""The slow auditor: an independent reading of the rules of copying, one subscription at a time,
with dicts and `Fraction`.

It imports nothing of the engine and decides what the engine must. Where the design leaves a choice,
it is this one:

- Value = floor(p * mark) an instrument; equity = cash + values. A buy costs ceil, a sell brings floor. Fees come with executions.
  A fill's price becomes its symbol's mark unless a mark of a later time is known.
- An increase adds to t: proportional floor(L*e*ratio/E), fixed_amount floor(amount/price [* L/order quantity]), multiplier
  floor(L*ratio), in the leg's direction. A decrease removes floor(|t|*L/|P before|); a flat creator means t = 0.
- A fill across zero is leg 0 (close) and leg 1 (open); E is the same for both. A single leg is leg 0.
- creator_equity (E <= 0), subscription_equity (e <= 0), short_not_allowed, out_of_range, in this order, leave t as it was; so does
  `paused` on a subscription that is ending, whose t stays 0. Everything later has moved t. A follow-up that finds e <= 0 by then enters
  nothing either, and t is lowered to p+o.
- Desired = t - (p+o), where p+o of the sign opposite to an increase counts as 0. An order is desired, floored to lots.
- While a cause waits for cancels, or when a wanted order (a lot or more) meets an open one of the other side, which is then cancelled,
  the leg is `netted`, and the newest cause follows up, as attempt 1, once nothing is being cancelled. An increase that may not be at
  all (paused, instrument_denied, entry_window) cancels no exit and follows up nothing; while a cause waits it leaves t as it was.
- Limits of an increase, in order: paused, instrument_denied, entry_window (fill older than 60 s): t is lowered to p+o, never raised.
  below_lot, below_min_notional of the uncut order: t is kept. max_order_notional, max_position_weight, available_cash: an order cut
  below a lot or the minimum is skipped with that reason and t = p+o; one cut less is ordered and t = p+o+order.
- A decrease ignores status and limits. t = 0 (flat, or left before): all of |p+o|, no lots. Otherwise whole lots toward t, at most
  |p+o|. Neither p nor p+o on the creator's side is `no_position`: what is held of the other side is an exit that is tried again for its
  own cause. Nothing to order is `below_lot`.
- Follow-ups and further attempts go by the target, whatever their cause: t = 0 exits all of p+o; a position beyond the target is
  exited, all of it when the target lies across zero; else, after cancels only, an increase with its limits, at its cause's price and
  time and the newest signal's marks. A holding has one follow-up; a newer one replaces it.
- An entry that ends with remainder r lowers t to max(t - r, min(t, p+o)), mirrored for shorts, whoever ended it; p+o of the other sign
  counts as 0 here too, or a follower would aim to the other side of zero than its creator. An exit that ends with a remainder is tried
  again as attempt + 1 after min(60 s, 1 s * 2**attempt), attempt being the last of its cause, unless a cause waits for cancels or p+o is 0.
  So is an entry, as an exit, that ends with p+o on the other side, unless something is queued: it was to cover what an exit had left.
- Available = cash - reserved - 2 * shorts' proceeds. Entries reserve (buys at limit and fee, shorts at the signal's price).
- unfollow: t = 0 everywhere; leg = the instrument's slot in the creator's book; a holding with open entries, or with open orders
  against the exit, cancels them all first. It ends when it holds nothing and has nothing open.

What does not belong here: ids in 128 bits, frames, parts, shards; trade cancels and corrections are
in `tests.reference.corrections`.
"""

from dataclasses import replace

from tests.reference import amounts
from tests.reference.book import (
    Cause,
    Creator,
    FollowUp,
    Holding,
    Instrument,
    Placing,
    Subscription,
    Trade,
    base_of,
    end_if_empty,
    net,
    pause_after,
)
from tests.reference.legs import Ask, Leg, legs_of, sized
from tests.reference.limits import Increase, barred, limited
from tests.reference.values import (
    BUY,
    CANCELED,
    COMMAND,
    EXPIRED,
    REJECTED,
    SELL,
    SIGNAL,
    TRADE,
    Decision,
    Order,
    OrderKey,
    Portfolio,
    Position,
    Sleeve,
    SleeveTerms,
    State,
)

QUANTITY_LIMIT = 10**17
MONEY_LIMIT = 10**17


class Reference:
    """Creators, subscriptions and everything decided for them. Units: money in micros, quantities
    in 1e-8, times in ns.
    """

    def __init__(self, *, fee_rate: int = 0, slippage_cap: int = 5_000, time: int = 0) -> None:
        self.time = time
        self._fee_rate = fee_rate
        self._slippage_cap = slippage_cap
        self.instruments: dict[str, Instrument] = {}
        self.marks: dict[str, tuple[int, int]] = {}
        self._creators: dict[str, Creator] = {}
        self._subscriptions: dict[tuple[str, str], Subscription] = {}
        self._placed: dict[OrderKey, str] = {}
        self.placings: dict[OrderKey, Placing] = {}
        self._attempts: dict[OrderKey, int] = {}
        self._signals = 0
        self._commands = 0

    # What is known beforehand.

    def list_instrument(self, symbol: str, *, lot: int, min_notional: int) -> None:
        """Introduce an instrument."""
        self.instruments[symbol] = Instrument(lot, min_notional)

    def open_creator(self, creator: str, *, cash: int) -> None:
        """Begin a creator."""
        assert creator not in self._creators
        self._creators[creator] = Creator(cash)

    def follow(self, account: str, creator: str, terms: SleeveTerms) -> None:
        """Begin a subscription, from the next signal on."""
        assert terms.mode in ("proportional", "fixed_amount", "multiplier")
        assert creator in self._creators
        old = self._subscriptions.get((account, creator))
        assert old is None or old.status == "ended"
        self._subscriptions[account, creator] = Subscription(
            account, creator, terms, terms.cash, self._fee_rate
        )

    def pause(self, account: str, creator: str, *, is_paused: bool = True) -> None:
        """Stop or resume a subscription's increases."""
        self._subscriptions[account, creator].status = "paused" if is_paused else "active"

    def deny(self, account: str, creator: str, symbol: str) -> None:
        """Stop a subscription's increases of one instrument."""
        self._subscriptions[account, creator].denied.add(symbol)

    def mark(self, symbol: str, price: int, *, time: int | None = None) -> None:
        """Mark an instrument; an older mark than the known one says nothing."""
        at = self.time if time is None else time
        if at >= self.marks.get(symbol, (0, at))[1]:
            self.marks[symbol] = price, at

    # What happens.

    def fill(
        self,
        creator: str,
        symbol: str,
        side: int,
        quantity: int,
        price: int,
        *,
        time: int | None = None,
        order_quantity: int = 0,
        cash: int | None = None,
    ) -> list[Decision]:
        """Apply a creator's fill; `time` is the fill's own, decided now; with `cash`, what a
        correction moves, the price marks nothing.

        Returns: leg by leg, every active subscription in order.
        """
        self._signals += 1
        book = self._creators[creator]
        if not quantity:
            book.cash += cash or 0
            return []
        held = book.positions.setdefault(symbol, 0)
        at = self.time if time is None else time
        book.seen = {name: self.marks[name][0] for name in book.traded if name in self.marks} | {
            symbol: price
        }
        equity = book.equity(book.seen)
        active = [
            s
            for s in self._subscriptions.values()
            if s.creator == creator and s.is_active_at(self._signals)
        ]
        decisions = []
        for number, (part, before, after) in enumerate(legs_of(held, side * quantity)):
            cause = Cause(SIGNAL, self._signals, number, price, at)
            leg = Leg(cause, symbol, side, part, before, after, equity, order_quantity)
            decisions += [self._answer(subscription, leg) for subscription in active]
        book.positions[symbol] = held + side * quantity
        if cash is not None:
            book.cash += cash
            return decisions
        book.cash += (
            amounts.received(quantity, price) if side == SELL else -amounts.paid(quantity, price)
        )
        self.mark(symbol, price, time=at)
        return decisions

    def execution(
        self,
        key: OrderKey,
        exec_type: str,
        *,
        quantity: int = 0,
        price: int = 0,
        fee: int = 0,
        exec_id: str = "",
    ) -> list[Order]:
        """Apply a broker's report on an open order. Returns: the orders placed because of it.
        Raises: ValueError if it cannot apply.
        """
        subscription, symbol, order = self._find(key)
        holding = subscription.holdings[symbol]
        if exec_type == TRADE:
            self._trade(subscription, holding, order, quantity, price, fee)
            self.placings[key].trades.append(Trade(exec_id, quantity, price, fee))
        elif exec_type in (CANCELED, EXPIRED, REJECTED):
            self._end(holding, order)
        else:
            raise ValueError(
                f"expected one of {TRADE, CANCELED, EXPIRED, REJECTED}, found {exec_type!r}"
            )
        return self.go_on(subscription, symbol)

    def go_on(self, subscription: Subscription, symbol: str) -> list[Order]:
        """Do what an applied report lets go on. Returns: the orders placed because of it."""
        placed = (
            self._follow_up(subscription, symbol)
            if subscription.holdings[symbol].is_waiting
            else []
        )
        end_if_empty(subscription)
        return placed

    def subscription(self, key: OrderKey) -> Subscription:
        """Find the newest subscription of an order's account and creator."""
        return self._subscriptions[key.account, key.creator]

    def last_attempt(self, key: OrderKey) -> int:
        """Name the last attempt placed for an order's cause: a correction may have an earlier one
        worked again.
        """
        return self._attempts.get(key._replace(attempt=0), 0)

    def advance(self, time: int) -> list[Order]:
        """Move event time on. Returns: the further attempts of exits that fell due."""
        assert time >= self.time
        self.time = time
        placed = []
        for subscription in self._subscriptions.values():
            for symbol, holding in subscription.holdings.items():
                due = holding.follow_up.due if holding.follow_up else None
                if due is not None and due <= time:
                    placed += self._follow_up(subscription, symbol)
            end_if_empty(subscription)
        return placed

    def unfollow(self, account: str, creator: str, *, until: int | None = None) -> list[Order]:
        """Close everything and end. `until` is the first signal that no longer counts, by default
        the next one.
        """
        self._commands += 1
        subscription = self._subscriptions[account, creator]
        subscription.status = "ending"
        subscription.until = self._signals + 1 if until is None else until
        book = self._creators[creator]
        placed = []
        for slot, symbol in enumerate(book.traded):
            holding = subscription.holdings.get(symbol)
            if holding is None:
                continue
            holding.target = 0
            cause = Cause(COMMAND, self._commands, slot, book.seen[symbol], self.time)
            if holding.is_waiting or any(not order.is_exit for order in holding.orders.values()):
                net(holding, cause, attempt=1)
            elif outcome := self._exit_all(subscription, symbol, cause):
                placed.append(outcome)
        end_if_empty(subscription)
        return placed

    # What can be seen.

    def open_orders(self) -> list[Order]:
        """List the open orders, in order of their keys."""
        holdings = (h for s in self._subscriptions.values() for h in s.holdings.values())
        return sorted((o for h in holdings for o in h.orders.values()), key=lambda order: order.key)

    def state(self) -> State:
        """Show everything; equities are at the newest marks."""
        marks = {symbol: price for symbol, (price, _) in self.marks.items()}
        return State(
            {
                (*pair, symbol): Position(held.target, held.position, held.open, held.cost)
                for pair, subscription in self._subscriptions.items()
                for symbol, held in subscription.holdings.items()
            },
            {
                pair: Sleeve(s.status, s.cash, s.reserved, s.equity(marks))
                for pair, s in self._subscriptions.items()
            },
            {
                name: Portfolio(book.cash, dict(book.positions), book.equity(marks))
                for name, book in self._creators.items()
            },
        )

    # Signals.

    def _answer(self, subscription: Subscription, leg: Leg) -> Decision:
        decide = self._increase if leg.is_increase else self._decrease
        outcome = decide(subscription, leg)
        order = outcome if isinstance(outcome, Order) else None
        word = "ordered" if order else "netted" if outcome == "netted" else "skipped"
        reason = outcome if isinstance(outcome, str) and word == "skipped" else ""
        return Decision(
            subscription.account,
            subscription.creator,
            leg.symbol,
            leg.cause.leg,
            word,
            reason,
            order,
        )

    def _increase(self, subscription: Subscription, leg: Leg) -> Order | str:
        equity = subscription.equity(self._creators[subscription.creator].seen)
        if leg.equity <= 0:
            return "creator_equity"
        if equity <= 0:
            return "subscription_equity"
        if leg.side == SELL and not subscription.terms.allow_short:
            return "short_not_allowed"
        added = sized(subscription, leg, equity)
        holding = subscription.holding(leg.symbol)
        target = holding.target + leg.side * added
        if max(equity, leg.equity) > MONEY_LIMIT or max(added, abs(target)) > QUANTITY_LIMIT:
            return "out_of_range"
        if subscription.status == "ending":
            return "paused"
        entry = self._entry(subscription, leg.symbol, leg.side, leg.cause)
        reason = barred(entry)
        if reason and holding.is_waiting:
            return reason
        holding.target = target
        wanted = self.instruments[leg.symbol].to_lot(
            leg.side * (target - base_of(holding, leg.side))
        )
        if not reason and (holding.is_waiting or (wanted and holding.open * leg.side < 0)):
            return net(holding, leg.cause, attempt=1)
        return self._placed_or_reason(subscription, leg.symbol, leg.cause, 0, limited(entry))

    def _decrease(self, subscription: Subscription, leg: Leg) -> Order | str:
        holding = subscription.holding(leg.symbol)
        less = abs(holding.target)
        if leg.after:
            less = amounts.removed(holding.target, leg.quantity, leg.before)
        holding.target -= less if holding.target > 0 else -less
        if holding.is_waiting:
            return net(holding, leg.cause, attempt=1)
        if max(-leg.side * holding.position, -leg.side * holding.reach) <= 0:
            return "no_position"
        if holding.target == 0:
            return self._exit_all(subscription, leg.symbol, leg.cause) or (
                "netted" if holding.is_waiting else "below_lot"
            )
        most = max(-leg.side * holding.reach, 0)
        lots = self.instruments[leg.symbol].to_lot(leg.side * (holding.target - holding.reach))
        ask = Ask(leg.side, min(lots, most), "below_lot", is_exit=True)
        return self._netted_or_placed(subscription, leg.symbol, leg.cause, 0, ask)

    def _entry(self, subscription: Subscription, symbol: str, side: int, cause: Cause) -> Increase:
        instrument, marks = self.instruments[symbol], self._creators[subscription.creator].seen
        return Increase(
            subscription, symbol, side, cause, instrument, marks, self.time, self._slippage_cap
        )

    # Orders.

    def _exit_all(
        self, subscription: Subscription, symbol: str, cause: Cause, attempt: int = 0
    ) -> Order | None:
        """Sell or cover everything held and on its way, without lots; None when netted or when
        there is nothing.
        """
        reach = subscription.holding(symbol).reach
        ask = Ask(SELL if reach > 0 else BUY, abs(reach), is_exit=True)
        outcome = self._netted_or_placed(subscription, symbol, cause, attempt, ask)
        return outcome if isinstance(outcome, Order) else None

    def _netted_or_placed(
        self, subscription: Subscription, symbol: str, cause: Cause, attempt: int, ask: Ask
    ) -> Order | str:
        holding = subscription.holding(symbol)
        if ask.quantity and holding.open * ask.side < 0:
            return net(holding, cause, attempt=max(attempt, 1))
        return self._placed_or_reason(subscription, symbol, cause, attempt, ask)

    def _placed_or_reason(
        self, subscription: Subscription, symbol: str, cause: Cause, attempt: int, ask: Ask
    ) -> Order | str:
        if not ask.quantity:
            return ask.reason
        key = OrderKey(
            cause.kind, cause.number, subscription.account, subscription.creator, cause.leg, attempt
        )
        assert key not in self._placed, (
            f"one order per cause, subscription, leg and attempt; {key} was placed before"
        )
        limit = 0 if ask.is_exit else amounts.limit_of(cause.price, ask.side, self._slippage_cap)
        order = Order(
            key, symbol, ask.side, ask.quantity, cause.price, limit, ask.is_exit, ask.quantity
        )
        holding = subscription.holding(symbol)
        holding.orders[key] = order
        if ask.is_exit:
            holding.follow_up = None
        self._placed[key] = symbol
        self._attempts[key._replace(attempt=0)] = max(attempt, self.last_attempt(key))
        self.placings[key] = Placing(subscription, order, cause.time)
        return order

    def _follow_up(self, subscription: Subscription, symbol: str) -> list[Order]:
        """Move a holding toward its target for the cause that waits, unless cancels are still to be
        answered.
        """
        holding = subscription.holdings[symbol]
        assert holding.follow_up is not None
        if holding.is_waiting and any(order.is_cancelling for order in holding.orders.values()):
            return []
        cause, attempt = holding.follow_up.cause, holding.follow_up.attempt
        is_retry, holding.follow_up = holding.follow_up.due is not None, None
        outcome: Order | str | None
        if holding.target == 0:
            outcome = self._exit_all(subscription, symbol, cause, attempt)
        elif ask := self._exit_part(subscription, symbol):
            outcome = self._netted_or_placed(subscription, symbol, cause, attempt, ask)
        elif is_retry:
            return []
        else:
            side = BUY if holding.target > holding.reach else SELL
            ask = limited(self._entry(subscription, symbol, side, cause))
            outcome = self._placed_or_reason(subscription, symbol, cause, attempt, ask)
        return [outcome] if isinstance(outcome, Order) else []

    def _exit_part(self, subscription: Subscription, symbol: str) -> Ask | None:
        """Find what of the way to the target reduces the position; None when the way leads up."""
        holding = subscription.holdings[symbol]
        side = SELL if holding.position > 0 else BUY
        desired, most = side * (holding.target - holding.reach), -side * holding.reach
        if holding.position == 0 or desired <= 0 or most <= 0:
            return None
        if desired >= most:
            return Ask(side, most, is_exit=True)
        return Ask(side, self.instruments[symbol].to_lot(desired), is_exit=True)

    # Executions.

    def _find(self, key: OrderKey) -> tuple[Subscription, str, Order]:
        subscription, symbol = self._subscriptions[key.account, key.creator], self._placed.get(key)
        order = subscription.holdings[symbol].orders.get(key) if symbol else None
        if symbol is None or order is None:
            raise ValueError(f"expected an open order, found {key}")
        return subscription, symbol, order

    def _trade(
        self,
        subscription: Subscription,
        holding: Holding,
        order: Order,
        quantity: int,
        price: int,
        fee: int,
    ) -> None:
        if not 0 < quantity <= order.remaining:
            raise ValueError(
                f"expected a quantity of at most {order.remaining}, "
                f"found {quantity} for {order.key}"
            )
        subscription.cash -= fee
        if order.side == BUY:
            subscription.cash -= amounts.paid(quantity, price)
        else:
            subscription.cash += amounts.received(quantity, price)
        holding.cost = amounts.cost_after(
            holding.cost, holding.position, order.side, quantity, price
        )
        holding.position += order.side * quantity
        if quantity == order.remaining:
            del holding.orders[order.key]
        else:
            holding.orders[order.key] = replace(order, remaining=order.remaining - quantity)

    def _end(self, holding: Holding, order: Order) -> None:
        """End an order with its remainder: an entry's lowers the target, an exit's is tried
        again.
        """
        del holding.orders[order.key]
        if not order.is_exit:
            target, base = order.side * holding.target, order.side * base_of(holding, order.side)
            holding.target = order.side * max(target - order.remaining, min(target, base))
            is_exit_left = order.side * holding.reach < 0 and holding.follow_up is None
        else:
            is_exit_left = holding.reach != 0 and not holding.is_waiting
        if is_exit_left:
            key, attempt = order.key, self.last_attempt(order.key)
            cause = Cause(key.cause_kind, key.cause_number, key.leg, order.price, self.time)
            holding.follow_up = FollowUp(cause, attempt + 1, self.time + pause_after(attempt))
