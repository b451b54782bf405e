"""Contact bits (MuJoCo contype / conaffinity): which kinds of surface may touch.

Few pairs are allowed, so that a scene makes few contacts: a peg touches only the table top, a foot
only the table, and a pad only the part that it grips. Where a part is one solid body to all others, the
walls of its hole, and the ledge of every thread, are of their own kind, which only pegs touch.
"""

TABLE = 1
LEG = 2
PEG = 4
FOOT = 8
TOP = 16
PAD = 32
HAND = 64
HOLE = 128
