"""A tiny family with two turns, a frozen part and a buffer: what the engine must cope with."""

from vidgen.config.families import FAMILIES

FAMILIES["duet"] = "engine.duet"  # also in a worker process, which unpickles a config of it
