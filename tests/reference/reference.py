"""The slow auditor: an independent reading of the rules of copying, with dicts and `Fraction`.

It decides one subscription at a time what the engine must decide, and imports nothing of the
engine. RULES.md tells the same rules by example.

Letters: t is the target, p the position, o the signed rest of the open orders. L is a leg's
quantity and P the creator's position. E is the creator's equity, e the subscription's.

Money.
- A value is floor(p * mark) for each instrument. Equity is cash plus values.
- A buy costs ceil, a sell brings floor. Fees come with executions.
- A mark is its source's. Without a trusted source, a broker's marks value the creators at that
  broker and their followers, nobody else. With one, its marks value everybody and others say
  nothing; at one time a mark of the trusted source goes before a broker's.
- A fill's price values its creator alone, until a mark of that time or a later one comes. A fill
  older than the mark is none.
- Available = cash - reserved - 2 * the proceeds of shorts. Entries reserve: buys at limit and fee,
  shorts at the signal's price.

Targets.
- An increase adds to t, in the leg's direction: floor(L * e * ratio / E) when proportional,
  floor(amount / price [* L / order quantity]) when fixed_amount, floor(L * ratio) when multiplier.
- A decrease removes floor(|t| * L / |P before|). A flat creator means t = 0.
- A fill across zero is leg 0 (close) and leg 1 (open), with the same E. A single leg is leg 0.
- creator_equity (E <= 0), subscription_equity (e <= 0), short_not_allowed and out_of_range, in this
  order, leave t as it was. So does `paused` on a subscription that is ending, whose t stays 0.
- Every later outcome has moved t. A follow-up that then finds e <= 0 enters nothing either and
  lowers t to p+o.

Orders.
- Desired = t - (p+o). For an increase, a p+o of the opposite sign counts as 0. An order is
  desired, floored to lots.
- A leg is `netted` while a cause waits for cancels. It is also `netted` when a wanted order of a
  lot or more meets an open one of the other side, which is then cancelled. The newest cause follows
  up, as attempt 1, once nothing is being cancelled.
- An increase that is not allowed at all (paused, instrument_denied, entry_window) cancels no exit
  and follows up nothing. While a cause waits it leaves t as it was.
- A decrease ignores status and limits. With t = 0 (the creator is flat, or it left before) it exits
  all of |p+o|, without lots. Otherwise it exits whole lots toward t, at most |p+o|.
- A decrease is `no_position` when neither p nor p+o is on the creator's side. A position on the
  other side is then an exit that is tried again for its own cause. Nothing to order is `below_lot`.

Limits of an increase, in their order.
- paused, instrument_denied, entry_window (fill older than 60 s): t is lowered to p+o, never raised.
- below_lot, below_min_notional, by the order before any cut: t is kept.
- max_order_notional, max_position_weight, available_cash: an order cut below a lot or the minimum
  is skipped with that reason, and t = p+o. An order cut less is ordered, and t = p+o+order.

After an order.
- Follow-ups and further attempts go by the target, whatever their cause. t = 0 exits all of p+o. A
  position beyond the target is exited; all of it, when the target lies across zero.
- Otherwise a follow-up, after cancels only, is an increase with its limits. It takes its cause's
  price and time and the newest signal's marks. A holding has one follow-up; a newer one takes its
  place.
- An entry that ends with remainder r lowers t to max(t - r, min(t, p+o)), mirrored for shorts,
  however it ended. A p+o of the other sign counts as 0 here too, or the follower's target would lie
  on the other side of zero than its creator's.
- An exit that ends with a remainder is tried again as attempt + 1, where `attempt` is the last of
  its cause, after min(60 s, 1 s * 2**attempt). It is not tried again while a cause waits for
  cancels, or when p+o is 0.
- An entry that ends with p+o on the other side is tried again as an exit in the same way, unless
  a follow-up is queued: the entry was to cover what an exit had left.
- What an operator says of an open order counts as the broker's report of it.
- unfollow: t = 0 everywhere. The leg is the instrument's slot in the creator's book. A holding with
  open entries, or with open orders against the exit, first cancels them all. The subscription ends
  when it holds nothing and has nothing open.

Not here: ids in 128 bits, frames, parts, shards. Trade cancels and corrections are in
`tests.reference.corrections`.
"""

from tests.reference import amounts
from tests.reference.book import (
    Cause,
    Creator,
    Instrument,
    Subscription,
    Trade,
    base_of,
    end_if_empty,
    net,
)
from tests.reference.executions import apply_end, apply_trade
from tests.reference.legs import Ask, Leg, legs_of, sized
from tests.reference.limits import Increase, barred, limited
from tests.reference.marks import Marks
from tests.reference.orders import Orders
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
        self.orders = Orders(slippage_cap)
        self.marks = Marks()
        self._creators: dict[str, Creator] = {}
        self._subscriptions: dict[tuple[str, str], Subscription] = {}
        self._signals = 0
        self._commands = 0

    # The setting.

    def list_instrument(self, symbol: str, *, lot: int, min_notional: int) -> None:
        """Introduce an instrument."""
        self.instruments[symbol] = Instrument(lot, min_notional)

    def open_creator(self, creator: str, *, cash: int, broker: str = "paper") -> None:
        """Begin a creator."""
        assert creator not in self._creators
        self._creators[creator] = Creator(cash, broker)

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

    def trust(self, source: str) -> None:
        """Choose whose marks count; empty: each broker's for its own creators."""
        self.marks.trusted = source

    def mark(
        self, symbol: str, price: int, *, time: int | None = None, source: str = "paper"
    ) -> None:
        """Mark an instrument; an older mark than the known one says nothing."""
        self.marks.take(source, symbol, price, self.time if time is None else time)

    def marks_of(self, creator: str) -> dict[str, int]:
        """List the marks that value a creator, by symbol."""
        return self.marks.of(creator, self._creators[creator].broker)

    # Events.

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
        marks = self.marks_of(creator)
        book.seen = {name: marks[name] for name in book.traded if name in marks} | {symbol: price}
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
        self.marks.take_fill(creator, symbol, price, at)
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
            apply_trade(subscription, holding, order, quantity, price, fee)
            self.orders.placings[key].trades.append(Trade(exec_id, quantity, price, fee))
        elif exec_type in (CANCELED, EXPIRED, REJECTED):
            apply_end(holding, order, self.orders.last_attempt(key), self.time)
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
            elif outcome := self.orders.exit_all(subscription, symbol, cause):
                placed.append(outcome)
        end_if_empty(subscription)
        return placed

    # The view.

    def open_orders(self) -> list[Order]:
        """List the open orders, in order of their keys."""
        holdings = (h for s in self._subscriptions.values() for h in s.holdings.values())
        return sorted((o for h in holdings for o in h.orders.values()), key=lambda order: order.key)

    def state(self) -> State:
        """Show everything; equities are at the newest marks of the creators' brokers."""
        marks = {name: self.marks_of(name) for name in self._creators}
        return State(
            {
                (*pair, symbol): Position(held.target, held.position, held.open, held.cost)
                for pair, subscription in self._subscriptions.items()
                for symbol, held in subscription.holdings.items()
            },
            {
                pair: Sleeve(s.status, s.cash, s.reserved, s.equity(marks[s.creator]))
                for pair, s in self._subscriptions.items()
            },
            {
                name: Portfolio(book.cash, dict(book.positions), book.equity(marks[name]))
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
        return self.orders.placed_or_reason(subscription, leg.symbol, leg.cause, 0, limited(entry))

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
            return self.orders.exit_all(subscription, leg.symbol, leg.cause) or (
                "netted" if holding.is_waiting else "below_lot"
            )
        most = max(-leg.side * holding.reach, 0)
        lots = self.instruments[leg.symbol].to_lot(leg.side * (holding.target - holding.reach))
        ask = Ask(leg.side, min(lots, most), "below_lot", is_exit=True)
        return self.orders.netted_or_placed(subscription, leg.symbol, leg.cause, 0, ask)

    def _entry(self, subscription: Subscription, symbol: str, side: int, cause: Cause) -> Increase:
        instrument, marks = self.instruments[symbol], self._creators[subscription.creator].seen
        return Increase(
            subscription, symbol, side, cause, instrument, marks, self.time, self._slippage_cap
        )

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
            outcome = self.orders.exit_all(subscription, symbol, cause, attempt)
        elif ask := self._exit_part(subscription, symbol):
            outcome = self.orders.netted_or_placed(subscription, symbol, cause, attempt, ask)
        elif is_retry:
            return []
        else:
            side = BUY if holding.target > holding.reach else SELL
            ask = limited(self._entry(subscription, symbol, side, cause))
            outcome = self.orders.placed_or_reason(subscription, symbol, cause, attempt, ask)
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
        subscription, symbol = (
            self._subscriptions[key.account, key.creator],
            self.orders.symbol_of.get(key),
        )
        order = subscription.holdings[symbol].orders.get(key) if symbol else None
        if symbol is None or order is None:
            raise ValueError(f"expected an open order, found {key}")
        return subscription, symbol, order
