"""What a run will cost, before it starts: `lander plan --configfile my.yaml`. `plan.py` puts all of it together."""

from lander.workflow.planning.machine import Machine, this_machine
from lander.workflow.planning.plan import make, page

__all__ = ["Machine", "make", "page", "this_machine"]
