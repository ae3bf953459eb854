"""Recordings of live PyTorch modules: what comes out is what the modules did, and got back."""

import copy

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lstmgrad as lg

torch = pytest.importorskip("torch")
from recorded_modules import (  # noqa: E402
    LENGTHS,
    Classifier,
    D,
    H,
    Loop,
    assert_gradients,
    assert_near,
    classified,
    nn,
    summed,
)
from registry import slow  # noqa: E402

CASES = [
    ("LSTM", "float32", True),
    ("LSTM", "float64", True),
    slow("LSTM", "float64", False),
    slow("GRU", "float32", True),
    ("GRU", "float64", True),
    slow("RNN", "float32", False),
    ("RNN", "float64", False),
]


@pytest.mark.parametrize(("kind", "dtype", "packed"), CASES)
def test_contributions_add_up_to_the_gradients_of_a_real_model(kind, dtype, packed):
    torch.manual_seed(0)
    net = Classifier(kind, packed).to(getattr(torch, dtype))
    with lg.interop.record(net) as recording:
        classified(net).backward()
    outputs, cotangents = net.outputs.detach(), net.outputs.grad
    if packed:
        batches = nn.utils.rnn.pack_padded_sequence(
            torch.zeros(len(LENGTHS), 5, 1), torch.tensor(LENGTHS), True, enforce_sorted=False
        )
        outputs, cotangents = (
            nn.utils.rnn.pad_packed_sequence(batches._replace(data=data))[0]
            for data in (outputs, cotangents)
        )
    for place, direction in enumerate(("forward", "reverse")):
        end = "_reverse" * place
        for layer in (0, 1):
            run = recording.run("encoder", layer=layer, direction=direction)
            assert run.lengths == (LENGTHS if packed else (5,) * len(LENGTHS))
            assert_gradients(run, net.encoder, f"_l{layer}{end}", dtype)
        for b, length in enumerate(run.lengths):
            states = run.chain(b).trajectory.states.h[1:]
            own = slice(place * H, (place + 1) * H)
            order = slice(None, None, -1 if place else 1)
            assert_near(states[order], outputs[:length, b, own], dtype)
            # What the last state gets at the end is beside what its output gets.
            got = run.cotangents(b).h[1:][:-1]
            assert_near(
                got,
                cotangents[:length, b, own].flip(0)[:-1]
                if place
                else cotangents[:length, b, own][:-1],
                dtype,
            )


def test_nothing_about_a_run_changes_because_it_is_recorded():
    torch.manual_seed(0)
    net = Classifier("LSTM", True)
    plain = copy.deepcopy(net)
    expected = classified(plain)
    expected.backward()
    with lg.interop.record(net) as recording:
        loss = classified(net)
        loss.backward()
    recording.run("encoder", layer=0, direction="forward")
    after = torch.get_rng_state()
    recording.run("encoder", layer=0, direction="reverse").inputs(0)
    assert torch.equal(torch.get_rng_state(), after)
    assert loss.item() == expected.item()
    for known, found in zip(plain.parameters(), net.parameters(), strict=True):
        assert torch.equal(known.grad, found.grad)
    assert torch.equal(net.outputs.grad, plain.outputs.grad)
    assert "forward" not in vars(net.encoder)


@pytest.mark.parametrize("kind", ["LSTMCell", "GRUCell", "RNNCell"])
def test_cells_in_a_loop_and_their_adjoint(kind):
    torch.manual_seed(0)
    net = Loop(kind).double()
    x = torch.randn(5, 3, D, dtype=torch.float64)
    plain = copy.deepcopy(net)
    plain(x).backward()
    with lg.interop.record(net) as recording:
        net(x).backward()
    for known, found in zip(plain.parameters(), net.parameters(), strict=True):
        assert_near(found.grad, known.grad)
    for known, found in zip(plain.states[:-1], net.states[:-1], strict=True):
        for before, after in zip(known, found, strict=True):
            assert_near(after.grad, before.grad)
    for name, first in (("lower", 0), ("upper", 2 if kind == "LSTMCell" else 1)):
        run = recording[name]
        assert run.lengths == (5,) * 3
        assert_gradients(run, net.get_submodule(name))
        chains, cotangents = run.chain(), run.cotangents()
        adjoint = jax.vmap(lambda chain, one: lg.adjoint(chain, one).to_array())(chains, cotangents)
        hidden = torch.stack([state[first].grad for state in net.states[:-1]], 1)
        assert_near(adjoint[:, 1:-1, :H], hidden)
    # At odd steps the upper cell is read by nobody but its own next step.
    for part in jax.tree.leaves(recording["upper"].cotangents()):
        assert np.all(part[:, 1::2] == 0)
        assert np.all(part[:, 2::2] != 0)


def test_a_cell_without_a_batch_is_one_sequence():
    torch.manual_seed(0)
    cell, x = nn.LSTMCell(D, H).double(), torch.randn(5, D, dtype=torch.float64)
    start = torch.randn(2, H, dtype=torch.float64, requires_grad=True)
    with lg.interop.record(cell) as recording:
        state, loss = tuple(start), torch.zeros(())
        for one in x:
            state = cell(one, state)
            loss = loss + state[0].sum()
        loss.backward()
    run = recording.run()
    assert run.lengths == (5,)
    assert_near(run.cotangents(0).h[1:], np.ones((5, H)))
    assert_near(lg.adjoint(run.chain(0), run.cotangents(0)).to_array()[0], start.grad.flatten())


@pytest.mark.filterwarnings("ignore:.*weight_norm.*deprecated")
def test_weights_are_those_that_were_computed():
    torch.manual_seed(0)
    norm = nn.utils.weight_norm
    layer = norm(nn.LSTM(D, H).double(), "weight_hh_l0")
    cell = nn.utils.parametrizations.weight_norm(nn.LSTMCell(D, H).double(), "weight_hh")
    x = torch.randn(5, 1, D, dtype=torch.float64)
    net = nn.ModuleDict({"layer": layer, "cell": cell})
    with lg.interop.record(net) as recording:
        loss, state = layer(x)[0].sin().sum(), None
        for one in x:
            state = cell(one, state)
            loss = loss + state[0].cos().sum()
        loss.backward()
    inside = cell.parametrizations.weight_hh
    for run, g, v in (
        (recording["layer"], layer.weight_hh_l0_g, layer.weight_hh_l0_v),
        (recording["cell"], inside.original0, inside.original1),
    ):
        plain, direction = jnp.asarray(g.detach()), jnp.asarray(v.detach())

        def used(g, v):
            return g * v / jnp.linalg.norm(v, axis=1, keepdims=True)

        weight, back = jax.vjp(used, plain, direction)
        assert_near(run.model(0).params.weight_hh, weight)
        for got, expected in zip(back(jnp.asarray(summed(run).weight_hh)), (g, v), strict=True):
            assert_near(got, expected.grad)


def test_a_stack_is_one_recurrence():
    torch.manual_seed(0)
    layer = nn.RNN(D, H, 2, nonlinearity="relu").double()
    x = torch.randn(5, 3, D, dtype=torch.float64)
    with lg.interop.record(layer) as recording:
        outputs, last = layer(x)
        ((outputs[::2] ** 2).sum() + last.sin().sum()).backward()
    run = recording.run()
    chains = run.chain()
    assert chains.layout.parts == ("h0", "h1")
    assert_near(chains.trajectory.states.h1[:, 1:], outputs.transpose(0, 1))
    for index, params in enumerate(summed(run)):
        assert_near(params.weight_hh, getattr(layer, f"weight_hh_l{index}").grad)
    # The upper layer alone reads the h of the lower one.
    assert_near(recording.run(layer=1).inputs(2), chains.trajectory.states.h0[2, 1:])


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
def test_projections_starts_and_inputs():
    torch.manual_seed(0)
    layer = nn.LSTM(D, 6, proj_size=H, batch_first=True).double()
    h, c = (torch.randn(1, 3, size, dtype=torch.float64, requires_grad=True) for size in (H, 6))
    x = torch.randn(3, 5, D, dtype=torch.float64, requires_grad=True)
    with lg.interop.record(layer) as recording:
        outputs, (_, last) = layer(x, (h, c))
        ((outputs[:, ::2] ** 2).sum() + last.sin().sum()).backward()
    run = recording.run()
    found = [lg.contributions(run.chain(b), run.cotangents(b)) for b in range(3)]
    assert_near(sum(one.gradient.weight_hr for one in found), layer.weight_hr_l0.grad)
    assert_near(sum(one.gradient.lstm.weight_hh for one in found), layer.weight_hh_l0.grad)
    assert_near(np.array([one.input_gradients for one in found]), x.grad)
    start = lg.adjoint(run.chain(1), run.cotangents(1)).to_array()[0]
    assert_near(start, torch.cat([h.grad[0, 1], c.grad[0, 1]]))


def test_a_module_that_runs_several_times():
    torch.manual_seed(0)
    layer = nn.GRU(D, H).double()
    x = torch.randn(2, 5, 1, D, dtype=torch.float64)
    with lg.interop.record(layer) as recording:
        outputs, state = layer(x[0])
        more, _ = layer(x[1], state.detach())  # back-propagation ends here
        (outputs.sin().sum() + more.cos().sum()).backward()
    runs = [recording.run(call=call) for call in (0, 1)]
    assert_near(runs[1].model(0).state.h, outputs[-1, 0])
    both = [summed(run).weight_hh for run in runs]
    assert_near(both[0] + both[1], layer.weight_hh_l0.grad)
    with pytest.raises(ValueError, match=r"^call: expected one of 0 to 1, because '' was called 2"):
        recording.run()


def test_a_detached_state_ends_the_run_of_a_cell():
    torch.manual_seed(0)
    cell, x = nn.GRUCell(D, H).double(), torch.randn(10, 1, D, dtype=torch.float64)
    with lg.interop.record(cell) as recording:
        state, loss = torch.zeros(1, H, dtype=torch.float64), torch.zeros(())
        for step, one in enumerate(x):
            state = cell(one, state.detach() if step == 5 else state)
            loss = loss + state.sin().sum()
        loss.backward()
    with pytest.raises(ValueError, match="the steps of '' are 2 runs"):
        recording.run()
    runs = [recording.run(call=call) for call in (0, 1)]
    assert [run.lengths for run in runs] == [(5,), (5,)]
    assert_near(sum(summed(run).weight_hh for run in runs), cell.weight_hh.grad)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_a_validation_batch_has_no_cotangents(mode):
    torch.manual_seed(0)
    net, cell = Classifier("LSTM", True).eval(), nn.LSTMCell(D, H)
    with lg.interop.record(nn.ModuleList([net, cell])) as recording, mode():
        classified(net)
        state = torch.zeros(2, H), torch.zeros(2, H)
        for one in torch.randn(4, 2, D):
            state = cell(one, state)
    assert recording.names == ("0.encoder", "1")
    run = recording.run("0.encoder", layer=1, direction="reverse")
    assert len(run.chain(0)) == LENGTHS[0]
    assert_near(recording["1"].chain().trajectory.states.c[:, -1], state[1], "float32")
    for found in (run, recording["1"]):
        with pytest.raises(
            ValueError, match=r"^cotangents: expected a backward pass through '.*' in"
        ):
            found.cotangents(0)


def test_two_backward_passes_add_up():
    torch.manual_seed(0)
    cell, x = nn.RNNCell(D, H).double(), torch.randn(5, 2, D, dtype=torch.float64)
    with lg.interop.record(cell) as recording:
        states, state = [], None
        for one in x:
            state = cell(one, state)
            states.append(state)
        states[2].sum().backward(retain_graph=True)
        states[4].sin().sum().backward()
    run = recording.run()
    assert_gradients(run, cell)
    assert_near(run.cotangents().h[:, 3], np.ones((2, H)))


def test_nothing_stays_behind_after_an_exception():
    net = Classifier("LSTM", True)
    with pytest.raises(RuntimeError), lg.interop.record(net):
        net.encoder(torch.zeros(2, 3, D + 1))
    with lg.interop.record(net):
        loss = classified(net)
    assert not net.outputs._backward_hooks
    for module in net.modules():
        assert "forward" not in vars(module)
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
    loss.backward()


class Normed(nn.LSTMCell):
    def forward(self, x, state):
        return torch.tanh(x @ self.weight_ih.T)[:, :H], state[1]


class Dropping(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell = nn.GRUCell(D, H)

    def forward(self, x):
        h = None
        for one in x:
            h = nn.functional.dropout(self.cell(one, h), 0.5)
        return h


def test_what_cannot_be_recorded_is_said():
    record, x = lg.interop.record, torch.randn(3, 2, D)

    def refuses(message, module, used, **options):
        with record(module) as recording:
            used(module)
        with pytest.raises(ValueError, match=message):
            recording.run(**options)

    with pytest.raises(ValueError, match=r"^module: expected a live torch.nn.Module, but got dict"):
        record({})
    with pytest.raises(ValueError, match=r"^module: expected an nn.LSTM, .* but Linear has none"):
        record(nn.Linear(2, 2))
    both = nn.LSTM(D, H, 2, bidirectional=True)
    refuses("^direction: expected 'forward' or 'reverse', because '' is", both, lambda m: m(x))
    refuses(
        "^layer: expected one of 0 to 1, because a layer", both, lambda m: m(x), direction="forward"
    )
    refuses("^layer: expected 0 to 1", both, lambda m: m(x), layer=2, direction="forward")
    dropping = nn.LSTM(D, H, 2, dropout=0.5)
    refuses("^layer: expected one of 0 to 1, because outputs are dropped", dropping, lambda m: m(x))
    refuses("^name: expected one of '', the recurrent", both, lambda m: m(x), name="lstm")
    refuses("^name: expected a module that ran", both, lambda m: None)
    refuses("^call: expected one of 0 to 0", both, lambda m: m(x), call=1)
    own = Normed(D, H)
    refuses("the forward of '', Normed, is one of its own", own, lambda m: m(x[0], (x[1], x[2])))
    refuses("the steps of 'cell' are 3 runs", Dropping(), lambda m: m(x), name="cell")

    def mixed(module):
        with torch.autocast("cpu", torch.bfloat16):
            module(x)

    refuses("ran under torch.autocast", nn.GRU(D, H), mixed)

    def changing(module):
        h = None
        for one in x:
            h = module(one, h)
            with torch.no_grad():
                module.weight_hh.mul_(0.5)

    refuses("^name: .*those of '' changed before step 2", nn.GRUCell(D, H), changing)
    with record(both) as recording:
        both(x)
    run = recording.run(layer=0, direction="forward")
    with pytest.raises(ValueError, match=r"^sequence: expected one of 0 to 1, or None"):
        run.chain(2)
    with pytest.raises(ValueError, match=r"^record: expected one block"), recording:
        pass
    assert "2 sequences of 3 steps, no cotangents" in repr(run)
    assert "LSTM, ran 1 times" in repr(recording)
