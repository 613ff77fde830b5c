"""A tiny family with two turns, a frozen part and a buffer: what the engine must cope with."""
