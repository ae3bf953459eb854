"""Several devices, made out of one processor: the same numbers, and who talks to whom."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from devices import READINGS

import lstmgrad as lg

ROOT = Path(lg.__file__).parent.parent
SCRIPT = Path(__file__).with_name("devices.py")
QUICK = "backward_norms"


def start(*arguments: Any) -> subprocess.Popen:
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, env=env, **pipes)


def outcome(child: subprocess.Popen) -> dict[str, Any]:
    out, error = child.communicate(timeout=500)
    assert child.returncode == 0, error
    return json.loads(out.splitlines()[-1])


@pytest.mark.parametrize(
    "names",
    [[QUICK], pytest.param([name for name in READINGS if name != QUICK], marks=pytest.mark.slow)],
    ids=["one", "others"],
)
def test_a_batch_stays_where_it_is(names):
    """Four devices with two sequences each: no number goes from one to another."""
    for name, found in outcome(start("batch", *names)).items():
        assert found["collectives"] == 0, name
        assert found["devices"] == 4, name
        assert found["split"], name
        # Products of 2 rows round otherwise than those of 8.
        assert found["difference"] < 1e-11, name


@pytest.mark.slow
def test_a_product_over_time_talks_once():
    """Each device multiplies its own stretch, and only then the products meet."""
    found = outcome(start("time"))
    assert found["collectives"] > 0
    assert found["loops"] == []
    assert found["difference"] < 1e-12


@pytest.mark.slow
def test_rows_of_weights_stay_where_they_are():
    """What is gathered are vectors of the width of the state, a few at once, never the weights."""
    found = outcome(start("weights"))
    assert 0 < found["largest"] < 64 * 64 / 4
    assert found["difference"] < 1e-8


@pytest.mark.slow
def test_two_processes_give_the_digits_of_one():
    """Two processes of two devices, and one of four: the same bits."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    pair = [start("process", 2, index, port) for index in (0, 1)]
    first, second = map(outcome, pair)
    alone = outcome(start("process", 4, 0))
    assert (first["processes"], alone["processes"]) == (2, 1)
    assert first["rows"] + second["rows"] == alone["rows"]
