"""Contestants of the tests of races: a case is {"n": 4}, and the right answer 0, 1, …, n − 1."""

import os
import time

import numpy as np


def truth(case):
    return np.arange(case["n"], dtype=float), 1.0


def truth_of_two_rows(case):
    rows = np.array([1, case["n"] - 1])
    return rows.astype(float), np.full(2, 2.0), rows


def no_truth(case):
    raise ArithmeticError("unknown")


def quick(case):
    return lambda: np.arange(case["n"], dtype=np.float32)


def slow(case):
    def thunk():
        time.sleep(case.get("pause", 0.06))
        return np.arange(case["n"]) + case.get("off", 0.0)

    return thunk


def misshapen(case):
    return lambda: np.zeros((case["n"], 2))


def lost(case):
    return lambda: np.full(case["n"], np.nan)


def crashes(case):
    def thunk():
        raise ArithmeticError("no\nluck")

    return thunk


def dies(case):
    os.write(2, b"first words\nlast words\n")
    os._exit(7)


def hangs(case):
    return lambda: time.sleep(60)


def fails_later(case):
    calls = []

    def thunk():
        calls.append(1)
        if len(calls) > 1:
            raise ArithmeticError("only once")
        return np.arange(case["n"])

    return thunk


def tells_its_threads(case):
    print("a line that must not reach the pipe")
    names = ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "MINE")
    return lambda: np.array([float(os.environ[name]) for name in names])


def remembers(case):
    """Appends its name to a file whenever it runs."""

    def thunk():
        with open(case["file"], "a") as out:
            out.write(case["name"])
        time.sleep(0.06)
        return np.arange(case["n"])

    return thunk


def large(case):
    return lambda: np.arange(10 * 2**20)[: case["n"]]
