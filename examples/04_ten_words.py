"""What each of ten words adds to the gradient when a network has to recall the first one.

The gradient with respect to the weights is a sum over the steps, one for each word that is read. A
step that the gradient does not reach adds nothing to it: the network cannot learn from that word
what is asked for ten words later. Over 50 draws of the weights, at initialization and after a short
training in which the first word is another one every time: the median of each word's share, and of
its norm relative to the last word, in the band from the 10 % to the 90 % quantile.

Alt: Share of each of ten words in the gradient, and the norm of what it adds over that of the last
word, for RNN, GRU and LSTMs, at initialization and after training on recalling the first word.
"""

import argparse
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

import lstmgrad as lg

WORDS = ["the", "keys", "to", "the", "old", "cabinet", "in", "the", "kitchen", "are"]

parser = argparse.ArgumentParser(description="What each word adds to the gradient.")
parser.add_argument("figure", nargs="?", default="ten_words.png", help="the file to write")
parser.add_argument("--small", action="store_true", help="a tiny run, to see that it works")
args = parser.parse_args()
draws, h, steps = (2, 4, 2) if args.small else (50, 32, 200)
vocabulary = sorted(set(WORDS))
d, T = len(vocabulary), len(WORDS)
text = jax.nn.one_hot(jnp.asarray([vocabulary.index(word) for word in WORDS]), d)
recall = lg.tasks.delayed_recall()  # its loss and its score are those of a question at the end


def draw(key, delay: int) -> lg.tasks.Examples:
    """The words with another first one, which is asked for at the last step."""
    first = jax.random.randint(key, (), 0, d, dtype=jnp.int32)
    inputs = text.at[0].set(jax.nn.one_hot(first, d))
    return lg.tasks.Examples(inputs, jnp.full(T, first), jnp.zeros(T).at[-1].set(1))


task = lg.tasks.Task(
    name="first_word",
    input_size=d,
    output_size=d,
    least_delay=T - 1,
    draw=draw,
    loss=recall.loss,
    score=recall.score,
    without_memory=lambda delay: lg.tasks.Performance(math.log(d), 1 / d),
)


@functools.partial(jax.jit, static_argnames="step")
def parts(params, readout, state, step) -> lg.Contributions:
    """What each word adds, draws on the first axis."""

    def of_one(params, readout):
        def loss(states):  # -ln p(first word) after the last one
            return -jax.nn.log_softmax(readout(states.h[-1]))[vocabulary.index(WORDS[0])]

        chain = lg.chain(lg.Model(step, params, state), text)
        return lg.contributions(chain, lg.loss_cotangents(loss, chain.trajectory))

    return jax.vmap(of_one)(params, readout)


def chrono(params, key):
    """Forget biases for time constants from 1 to T."""
    return lg.cells.with_chrono_bias(params, key, T)


keys, bias_keys = (jax.random.split(jax.random.key(seed), draws) for seed in (0, 1))
rnn, gru, lstm = (make(d, h) for make in (lg.cells.rnn, lg.cells.gru, lg.cells.lstm))
weights = jax.vmap(lstm.init)(keys)
kinds = {
    "RNN": rnn.model(jax.vmap(rnn.init)(keys)),
    "GRU": gru.model(jax.vmap(gru.init)(keys)),
    "LSTM, forget bias 1": lstm.model(weights),
    "LSTM, chrono biases": lstm.model(jax.vmap(chrono)(weights, bias_keys)),
}
if args.small:
    kinds = {"RNN": kinds["RNN"]}
titles = {0: "at initialization", steps: f"after {steps} training steps"}
found = {title: {} for title in titles.values()}
for name, model in kinds.items():
    for count, title in titles.items():
        fit = lg.training.fit(model, task, keys, delay=T - 1, steps=count, batch_size=16)
        found[title][name] = parts(fit.model.params, fit.readout, model.state, model.step)
        if count:
            last = fit.curve.scores[:, -1]
            print(
                f"{name}: {np.median(last):.2f} right answers at the end of the training (median)"
            )
figure = lg.plot.words(found, words=WORDS)
figure.savefig(args.figure, dpi=300)

for title, results in found.items():
    print(f"\n{title}, share of the gradient in percent and log10 of the norm over the last word's")
    print("          " + "".join(f"{name:>21}" for name in results))
    columns = []
    for result in results.values():
        logs = result.log_norms - result.log_norms[:, -1:]
        columns += [100 * np.median(result.shares, 0), np.median(logs, 0) / math.log(10)]
    for word, *row in zip(WORDS, *columns, strict=True):
        pairs = zip(row[::2], row[1::2], strict=True)
        print(f"{word:10}" + "".join(f"{share:13.1f}{norm:8.2f}" for share, norm in pairs))
