"""A small reset bank of one_leg_insert, made once for all tests."""

import functools

from robofb.augment.disassembly import Disassembler
from robofb.augment.make_bank import make_bank
from robofb.sim.reset_bank import EQUAL_SHARES, ResetBank
from robofb.worlds import env_of_task

NUM_STATES = 24


@functools.cache
def small_bank() -> ResetBank:
    """Return six states of each kind."""
    env = env_of_task("one_leg_insert", 8)
    made = make_bank(Disassembler(env, 0), NUM_STATES, EQUAL_SHARES, {"seed": 0})
    env.close()
    return made
