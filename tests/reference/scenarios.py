"""Every scenario, worked out by hand, for any `World`: parametrize a test with `SCENARIOS` and call
each with a fresh world.
"""

from tests.reference.scenarios_limits import LIMITS
from tests.reference.scenarios_netting import NETTING
from tests.reference.scenarios_orders import ORDERS
from tests.reference.scenarios_sizing import SIZING
from tests.reference.scenarios_unfollow import UNFOLLOWING
from tests.reference.stage import Scenario

SCENARIOS: list[Scenario] = [*SIZING, *LIMITS, *NETTING, *ORDERS, *UNFOLLOWING]
