"""robofb: teach an arm a precise task from demonstrations, then make it reliable."""

__version__ = "0.1.0"
