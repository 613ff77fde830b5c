"""A crash or a hang in a worker process costs one task."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vidgen.data.pool import Pool, WorkerError, WorkerTimeout
from vidgen.errors import DataError


def work(task: str | int) -> object:
    """What a worker does, by task."""
    if task == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if task == "exit":
        os._exit(3)
    if task == "hang":
        time.sleep(60)
    if task == "fail":
        raise DataError("wrong", expected="right", fix="Repair it.")
    return task, os.getpid()


def test_every_task_has_one_outcome_whatever_happens() -> None:
    tasks: list[str | int] = [1, "die", 2, "fail", "exit", 3, "die", 4]
    with Pool(work, workers=2) as pool:
        found = list(pool.run(tasks))
    assert sorted(str(o.task) for o in found) == sorted(map(str, tasks))
    for outcome in found:
        if outcome.task in ("die", "exit"):
            assert isinstance(outcome.error, WorkerError)
            assert ("SIGKILL" if outcome.task == "die" else "exit code 3") in str(outcome.error)
        elif outcome.task == "fail":
            with pytest.raises(DataError, match=r"wrong; expected right\. Repair it"):
                outcome.get()
        else:
            assert outcome.get()[0] == outcome.task  # type: ignore[index]


def test_a_hang_is_cut_off() -> None:
    start = time.monotonic()
    with Pool(work, workers=1, timeout_s=5) as pool:
        outcomes = list(pool.run(["hang", 1]))
    assert isinstance(outcomes[0].error, WorkerTimeout)
    assert outcomes[1].error is None
    assert time.monotonic() - start < 50


DIES, LAST = 8, (3, 5)  # tasks
_got: list[int] = []  # of a worker


def get(task: int) -> int:
    if task < 0:
        raise DataError("nothing to get")
    _got.append(task)
    return 10 * task


def use(task: int, got: int) -> tuple[int, bool]:
    """What was got for it; whether the next task's is there before this one ends."""
    if task == DIES:
        os.kill(os.getpid(), signal.SIGKILL)
    until = time.monotonic() + (0 if task in LAST else 10)
    while task + 1 not in _got and time.monotonic() < until:
        time.sleep(0.01)
    return got, task + 1 in _got


def test_what_the_next_task_needs_is_got_while_a_process_works() -> None:
    with Pool(use, workers=1, ahead=get) as pool:
        assert [outcome.get() for outcome in pool.run([1, 2, 3])] == [
            (10, True),
            (20, True),
            (30, False),
        ]


def test_one_task_has_the_blame_for_what_went_wrong() -> None:
    with Pool(use, workers=1, ahead=get) as pool:
        found = {outcome.task: outcome for outcome in pool.run([7, DIES, 5, -1])}
    assert found[7].get() == (70, True)
    assert isinstance(found[DIES].error, WorkerError)  # its process had 5 in its hands too
    assert found[5].get() == (50, False)
    assert isinstance(found[-1].error, DataError)


def test_a_process_is_replaced_after_as_many_tasks_with_two_in_its_hands() -> None:
    with Pool(work_with, workers=1, ahead=get, recycle=3) as pool:
        pids = [outcome.get() for outcome in pool.run([1, 2, 3, 4, 5])]
    assert len(set(pids[:3])) == 1
    assert len(set(pids[3:])) == 1
    assert pids[0] != pids[3]


def work_with(task: int, got: int) -> int:
    return os.getpid()


def test_processes_are_replaced_and_reused() -> None:
    with Pool(work, workers=1, recycle=2) as pool:
        pids = [o.get()[1] for o in pool.run([1, 2, 3, 4])]  # type: ignore[index]
        assert pids[0] == pids[1] != pids[2] == pids[3]
        kept = [o.get()[1] for o in pool.run([5, 6])]  # type: ignore[index]
        assert kept[0] == kept[1]


def test_tasks_are_taken_only_when_a_process_is_free() -> None:
    taken = []

    def tasks() -> object:
        for n in range(6):
            taken.append(n)
            yield n

    with Pool(work, workers=1) as pool:
        for done, _ in enumerate(pool.run(tasks()), start=1):  # type: ignore[arg-type]
            assert len(taken) <= done + 1


def test_a_worker_that_dies_idle_costs_no_task() -> None:
    with Pool(work, workers=1) as pool:
        (first,) = pool.run([1])
        os.kill(first.get()[1], signal.SIGKILL)  # type: ignore[index]
        time.sleep(0.2)
        (second,) = pool.run([2])
    assert second.get()[0] == 2  # type: ignore[index]


def test_workers_end_with_a_parent_that_was_killed(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(
        "import os, sys, time\n"
        "from vidgen.data.pool import Pool\n"
        "def pid(task): return os.getpid()\n"
        "if __name__ == '__main__':\n"
        "    pool = Pool(pid, workers=2)\n"
        "    print([o.get() for o in pool.run([1, 2])][0], flush=True)\n"
        "    time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        parent.kill()
    deadline = time.monotonic() + 10
    while Path(f"/proc/{worker}").exists() and time.monotonic() < deadline:
        if "Z" in Path(f"/proc/{worker}/stat").read_text().split()[2]:
            break
        time.sleep(0.05)
    else:
        assert not Path(f"/proc/{worker}").exists(), "the worker outlived its parent"


def test_ctrl_c_does_not_reach_a_worker_that_is_starting(tmp_path: Path) -> None:
    (tmp_path / "slow_start.py").write_text(
        "import os, pathlib, time\n"
        "pathlib.Path('starting').mkdir()\n"
        "pathlib.Path('starting', str(os.getpid())).touch()\n"
        "time.sleep(1)\n"
        "def work(task): return task\n"
    )
    script = tmp_path / "parent.py"
    script.write_text(  # stands in for the module: only the worker imports the slow one
        "import sys\n"
        "from vidgen.data.pool import Pool\n"
        "if __name__ == '__main__':\n"
        "    sys.modules['slow_start'] = module = type(sys)('slow_start')\n"
        "    exec('def work(task): pass', vars(module))\n"
        "    with Pool(module.work, workers=1) as pool:\n"
        "        print([outcome.get() for outcome in pool.run([1, 2])])\n"
    )
    parent = subprocess.Popen(
        [sys.executable, script],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not (starting := list(tmp_path.glob("starting/*"))):
        assert parent.poll() is None
        time.sleep(0.02)
    os.kill(int(starting[0].name), signal.SIGINT)
    out, err = parent.communicate(timeout=30)
    assert (out, err) == ("[1, 2]\n", "")
