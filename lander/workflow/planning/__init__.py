"""What a run will cost, before it starts: `lander plan --configfile my.yaml`.

plan.py      all of it together: hours, memory, disk, what does not fit, what is not known; the page that is printed
texts.py     pairs per direction, tokens per pair
networks.py  the base without weights, made ready for each method
memory.py    memory of each stage, counted by running its code on tensors without numbers
machine.py   memory and measured speed of this machine
jobs.py      Snakemake's dry run: the jobs that are left, and what a profile gives to them
"""

from lander.workflow.planning.machine import Machine, this_machine
from lander.workflow.planning.plan import make, page

__all__ = ["Machine", "make", "page", "this_machine"]
