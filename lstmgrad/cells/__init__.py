"""Recurrent cells as pure functions, one family per file.

The imports below are the registry: every constructor among them is in `registry()`, and with it in
the tests and on the command line. A new cell is one more import here.
"""

from collections.abc import Callable

from lstmgrad._calls import public

# isort: off
# In the order of all tables: plain networks, gated units, LSTMs, linear recurrences.
from lstmgrad.cells._rnn import RNNParams as RNNParams, RNNState as RNNState, rnn as rnn
from lstmgrad.cells._leaky import leaky_rnn as leaky_rnn, residual_rnn as residual_rnn
from lstmgrad.cells._antisymmetric import (
    AntisymmetricRNNParams as AntisymmetricRNNParams,
    antisymmetric_rnn as antisymmetric_rnn,
)
from lstmgrad.cells._orthogonal import (
    OrthogonalRNNParams as OrthogonalRNNParams,
    orthogonal_rnn as orthogonal_rnn,
)
from lstmgrad.cells._oscillator import (
    CoRNNParams as CoRNNParams,
    CoRNNState as CoRNNState,
    co_rnn as co_rnn,
)
from lstmgrad.cells._gru import GRUParams as GRUParams, GRUState as GRUState, gru as gru
from lstmgrad.cells._closed_form import CfCParams as CfCParams, cfc as cfc
from lstmgrad.cells._mgu import MGUParams as MGUParams, mgu as mgu
from lstmgrad.cells._minimal import MinGRUParams as MinGRUParams, min_gru as min_gru
from lstmgrad.cells._lstm import LSTMParams as LSTMParams, LSTMState as LSTMState, lstm as lstm
from lstmgrad.cells._lstm_1997 import LSTM1997Params as LSTM1997Params, lstm_1997 as lstm_1997
from lstmgrad.cells._peephole import (
    PeepholeLSTMParams as PeepholeLSTMParams,
    peephole_lstm as peephole_lstm,
)
from lstmgrad.cells._coupled import (
    CoupledLSTMParams as CoupledLSTMParams,
    coupled_lstm as coupled_lstm,
)
from lstmgrad.cells._conv_lstm import ConvLSTMParams as ConvLSTMParams, conv_lstm as conv_lstm
from lstmgrad.cells._minimal import MinLSTMParams as MinLSTMParams, min_lstm as min_lstm
from lstmgrad.cells._xlstm import (
    MLSTMParams as MLSTMParams,
    MLSTMState as MLSTMState,
    SLSTMParams as SLSTMParams,
    SLSTMState as SLSTMState,
    slstm as slstm,
    mlstm as mlstm,
)
from lstmgrad.cells._lru import LRUParams as LRUParams, LRUState as LRUState, lru as lru
from lstmgrad.cells._rg_lru import RGLRUParams as RGLRUParams, rg_lru as rg_lru
from lstmgrad.cells._selective_ssm import (
    SelectiveSSMParams as SelectiveSSMParams,
    SelectiveSSMState as SelectiveSSMState,
    selective_ssm as selective_ssm,
)
from lstmgrad.cells._mamba_2 import Mamba2Params as Mamba2Params, mamba_2 as mamba_2
from lstmgrad.cells._diagonal_ssm import (
    S4DParams as S4DParams,
    S4DState as S4DState,
    S5Params as S5Params,
    s4d as s4d,
    s5 as s5,
)
from lstmgrad.cells._lin_oss import LinOSSParams as LinOSSParams, lin_oss as lin_oss
from lstmgrad.cells._delta_net import (
    DeltaNetParams as DeltaNetParams,
    GatedDeltaNetParams as GatedDeltaNetParams,
    MatrixState as MatrixState,
    delta_net as delta_net,
    gated_delta_net as gated_delta_net,
)
from lstmgrad.cells._rwkv_7 import RWKV7Params as RWKV7Params, rwkv_7 as rwkv_7

# What is not a cell.
from lstmgrad.cells._cell import Cell as Cell, ForgetGate as ForgetGate, HiddenState as HiddenState
from lstmgrad.cells._initializers import (
    chrono as chrono,
    identity as identity,
    orthogonal as orthogonal,
    with_chrono_bias as with_chrono_bias,
    with_forget_bias as with_forget_bias,
)
from lstmgrad.cells._layer import (
    LayerParams as LayerParams,
    LayerState as LayerState,
    layer_input as layer_input,
    plain_layer as plain_layer,
    residual_layer as residual_layer,
    stack_layers as stack_layers,
)
# isort: on


@public
def registry() -> dict[str, Callable[..., Cell]]:
    """Returns the constructors of all cells by name: the functions here that return a `Cell`.

    Returns:
        A new dict from the name of each function to the function itself,
        ``constructor(input_size, hidden_size, *, dtype=None, ...) -> Cell``. With the defaults of
        the other options, every cell reads inputs of shape (d,), and every state has a part "h",
        the one that a readout looks at: of shape (h,), complex for `lru` and `s5`, and (h, N) for
        `selective_ssm`, `mamba_2` and, complex, `s4d`.

    Example:
        ``registry()["lstm"] is lg.cells.lstm``.

        >>> lg.cells.registry()["lstm"] is lg.cells.lstm
        True
    """
    return {
        name: value
        for name, value in globals().items()
        if getattr(value, "__annotations__", {}).get("return") is Cell
    }
