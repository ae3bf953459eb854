"""Training: a model and a readout on a memory task, what to watch meanwhile, and what to add.

    task = lg.tasks.delayed_recall()
    cell = lg.cells.lstm(task.input_size, 32)
    keys = jax.random.split(jax.random.key(0), 3)                    three networks at once
    model = cell.model(jax.vmap(cell.init)(keys))
    fit = lg.training.fit(model, task, keys, delay=99)
    print(fit.curve)                                                 loss and score by step
    lg.training.evaluate(fit, task, jax.random.key(1), delay=1000)   at a delay of its own

What is trained are the parameters of a `Model`, of a cell here or from `lg.interop`, and a linear
readout of its hidden state. What comes back is a model again, and everything that takes a model
takes it. `observe=` sees the network and the state of the training at every report, and `start=`
goes on from such a state, out of a file, too.

For a training of your own, here or in another framework: `monitor` gives the numbers to log,
`flossing_regularizer`, `spectral_norm_regularizer` and `spectral_radius_regularizer` are terms of a
loss, and `path_dropout` makes a step whose gradient keeps to one path.
"""

from lstmgrad.training._curve import TrainingCurve
from lstmgrad.training._evaluation import evaluate
from lstmgrad.training._fit import Fit, Snapshot, fit
from lstmgrad.training._monitor import monitor
from lstmgrad.training._path_dropout import path_draws, path_dropout
from lstmgrad.training._readout import Readout
from lstmgrad.training._regularizers import (
    flossing_regularizer,
    spectral_norm_regularizer,
    spectral_radius_regularizer,
)
from lstmgrad.training._state import TrainingState

__all__ = [
    "Fit",
    "Readout",
    "Snapshot",
    "TrainingCurve",
    "TrainingState",
    "evaluate",
    "fit",
    "flossing_regularizer",
    "monitor",
    "path_draws",
    "path_dropout",
    "spectral_norm_regularizer",
    "spectral_radius_regularizer",
]
