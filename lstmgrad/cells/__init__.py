"""Recurrent cells as pure functions, one family a file."""

from lstmgrad.cells._antisymmetric import AntisymmetricRNNParams, antisymmetric_rnn
from lstmgrad.cells._cell import Cell, HiddenState
from lstmgrad.cells._conv_lstm import ConvLSTMParams, conv_lstm
from lstmgrad.cells._coupled import CoupledLSTMParams, coupled_lstm
from lstmgrad.cells._gru import GRUParams, GRUState, gru
from lstmgrad.cells._initializers import (
    chrono,
    critical_gain,
    identity,
    orthogonal,
    with_chrono_bias,
    with_forget_bias,
)
from lstmgrad.cells._layer import (
    LayerParams,
    LayerState,
    layer_input,
    plain_layer,
    residual_layer,
    stack_layers,
)
from lstmgrad.cells._leaky import leaky_rnn, residual_rnn
from lstmgrad.cells._lru import LRUParams, LRUState, lru
from lstmgrad.cells._lstm import LSTMParams, LSTMState, lstm
from lstmgrad.cells._lstm_1997 import LSTM1997Params, lstm_1997
from lstmgrad.cells._mgu import MGUParams, mgu
from lstmgrad.cells._minimal import MinGRUParams, MinLSTMParams, min_gru, min_lstm
from lstmgrad.cells._orthogonal import OrthogonalRNNParams, orthogonal_rnn
from lstmgrad.cells._oscillator import CoRNNParams, CoRNNState, co_rnn
from lstmgrad.cells._peephole import PeepholeLSTMParams, peephole_lstm
from lstmgrad.cells._registry import registry
from lstmgrad.cells._rg_lru import RGLRUParams, rg_lru
from lstmgrad.cells._rnn import RNNParams, RNNState, rnn
from lstmgrad.cells._selective_ssm import SelectiveSSMParams, SelectiveSSMState, selective_ssm
from lstmgrad.cells._xlstm import MLSTMParams, MLSTMState, SLSTMParams, SLSTMState, mlstm, slstm

__all__ = [
    "AntisymmetricRNNParams",
    "Cell",
    "CoRNNParams",
    "CoRNNState",
    "ConvLSTMParams",
    "CoupledLSTMParams",
    "GRUParams",
    "GRUState",
    "HiddenState",
    "LRUParams",
    "LRUState",
    "LSTM1997Params",
    "LSTMParams",
    "LSTMState",
    "LayerParams",
    "LayerState",
    "MGUParams",
    "MLSTMParams",
    "MLSTMState",
    "MinGRUParams",
    "MinLSTMParams",
    "OrthogonalRNNParams",
    "PeepholeLSTMParams",
    "RGLRUParams",
    "RNNParams",
    "RNNState",
    "SLSTMParams",
    "SLSTMState",
    "SelectiveSSMParams",
    "SelectiveSSMState",
    "antisymmetric_rnn",
    "chrono",
    "co_rnn",
    "conv_lstm",
    "coupled_lstm",
    "critical_gain",
    "gru",
    "identity",
    "layer_input",
    "leaky_rnn",
    "lru",
    "lstm",
    "lstm_1997",
    "mgu",
    "min_gru",
    "min_lstm",
    "mlstm",
    "orthogonal",
    "orthogonal_rnn",
    "peephole_lstm",
    "plain_layer",
    "registry",
    "residual_layer",
    "residual_rnn",
    "rg_lru",
    "rnn",
    "selective_ssm",
    "slstm",
    "stack_layers",
    "with_chrono_bias",
    "with_forget_bias",
]
