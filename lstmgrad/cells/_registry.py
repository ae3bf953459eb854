"""All cells by name, for whatever goes through them: tests, tables, the command line."""

from collections.abc import Callable

from lstmgrad.cells._antisymmetric import antisymmetric_rnn
from lstmgrad.cells._cell import Cell
from lstmgrad.cells._conv_lstm import conv_lstm
from lstmgrad.cells._coupled import coupled_lstm
from lstmgrad.cells._gru import gru
from lstmgrad.cells._leaky import leaky_rnn, residual_rnn
from lstmgrad.cells._lru import lru
from lstmgrad.cells._lstm import lstm
from lstmgrad.cells._lstm_1997 import lstm_1997
from lstmgrad.cells._mgu import mgu
from lstmgrad.cells._minimal import min_gru, min_lstm
from lstmgrad.cells._orthogonal import orthogonal_rnn
from lstmgrad.cells._oscillator import co_rnn
from lstmgrad.cells._peephole import peephole_lstm
from lstmgrad.cells._rg_lru import rg_lru
from lstmgrad.cells._rnn import rnn
from lstmgrad.cells._selective_ssm import selective_ssm
from lstmgrad.cells._xlstm import mlstm, slstm

_CELLS: tuple[Callable[..., Cell], ...] = (
    rnn,
    leaky_rnn,
    residual_rnn,
    antisymmetric_rnn,
    orthogonal_rnn,
    co_rnn,
    gru,
    mgu,
    min_gru,
    lstm,
    lstm_1997,
    peephole_lstm,
    coupled_lstm,
    conv_lstm,
    min_lstm,
    slstm,
    mlstm,
    lru,
    rg_lru,
    selective_ssm,
)


def registry() -> dict[str, Callable[..., Cell]]:
    """Returns the constructors of all cells by name.

    Returns:
        A new dict from the name of the function to the function,
        ``constructor(input_size, hidden_size, *, dtype=None, ...) -> Cell``. With the defaults of
        the other options every cell reads inputs of shape (d,), and every state has a part "h",
        the one that a readout looks at: of shape (h,), complex for `lru`, and (h, N) for
        `selective_ssm`.

    Example:
        ``registry()["lstm"] is lg.cells.lstm``.
    """
    return {constructor.__name__: constructor for constructor in _CELLS}
