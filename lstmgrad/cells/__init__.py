"""Recurrent cells as pure functions, one family a file."""

from lstmgrad.cells._cell import Cell
from lstmgrad.cells._gru import GRUParams, GRUState, gru
from lstmgrad.cells._initializers import identity
from lstmgrad.cells._lstm import LSTMParams, LSTMState, lstm
from lstmgrad.cells._rnn import RNNParams, RNNState, rnn

__all__ = [
    "Cell",
    "GRUParams",
    "GRUState",
    "LSTMParams",
    "LSTMState",
    "RNNParams",
    "RNNState",
    "gru",
    "identity",
    "lstm",
    "rnn",
]
