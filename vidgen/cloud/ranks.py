"""Which lines of a driver's output come from which rank.

Ray puts '(RayTrainWorker pid=7, ip=10.0.0.3)' before each line of a worker's output, and its train
controller prints once which process has which rank: '- (ip=10.0.0.3, pid=7) world_rank=0, ...'.
"""

from __future__ import annotations

import re

_TABLE = re.compile(r"\(ip=([^,\s]+), pid=(\d+)\) world_rank=(\d+)")
_PREFIX = re.compile(r"^\((?P<actor>[\w.]+) pid=(?P<pid>\d+)(?:, ip=(?P<ip>[^)]+))?\) ?")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


class RankFilter:
    """Keeps the lines of one rank; learns the table of ranks from the lines as they pass, so a
    restarted worker group is followed to its new processes."""

    def __init__(self, rank: int) -> None:
        self._rank = rank
        self._ips: set[str] = set()  # of all ranks
        self._ip: str | None = None
        self._pid: str | None = None

    def keep(self, line: str) -> str | None:
        """The line without its prefix if it is this rank's, else None."""
        plain = _COLOUR.sub("", line)
        for ip, pid, rank in _TABLE.findall(plain):
            self._ips.add(ip)
            if int(rank) == self._rank:
                self._ip, self._pid = ip, pid
        found = _PREFIX.match(plain)
        if found is None or found["pid"] != self._pid:
            return None
        # Ray leaves out the ip of workers on the driver's own node.
        if found["ip"] != self._ip and not (found["ip"] is None and len(self._ips) == 1):
            return None
        return plain[found.end() :]
