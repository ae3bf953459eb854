"""What the tables say, in plain sentences: each is chosen by what was measured."""

import math

import numpy as np

from lstmgrad.cli._shared.console import listed
from lstmgrad.cli.recall._study import LEARNED, Networks, Study
from lstmgrad.cli.recall._tables import gate_power, median_log10

LOST = -3.0
"""log10 of the norm below which a gradient counts as lost, as in `lg.horizon`."""


def reading(study: Study) -> str:
    """Returns the sentences."""
    sentences = (
        _what_is_recalled(study),
        _what_can_be_learned(study),
        _through_the_path(study),
        _what_is_remembered(study),
        _far_beyond(study),
    )
    return " ".join(filter(None, sentences))


def headline(study: Study) -> str:
    """Returns one line: which kinds recall at the delay of the training, and which do not."""
    learned, chance, mixed = _groups(study)
    parts = []
    if learned:
        parts.append(f"{_titles(learned)} {_recalls(learned)} what was shown")
    for each in mixed:
        scores = each.scores[study.options.delay]
        good = int((scores >= LEARNED).sum())
        often = f"recalls it in {good} of {len(scores)} networks" if good else "is in between"
        parts.append(f"{each.title} {often}")
    if chance:
        stays = "is" if len(chance) == 1 else "are"
        parts.append(f"{_titles(chance)} {stays} at chance")
    return f"Delay {study.options.delay}: {'; '.join(parts)}"


def _groups(study: Study) -> tuple[list[Networks], list[Networks], list[Networks]]:
    """Kinds whose networks all learned the task, all stayed at the baseline, and the others."""
    learned, chance, mixed = [], [], []
    delay = study.options.delay
    for each in study.networks:
        scores = each.scores[delay]
        if (scores >= LEARNED).all():
            learned.append(each)
        elif (np.abs(scores - study.baseline.score) <= study.near(delay)).all():
            chance.append(each)
        else:
            mixed.append(each)
    return learned, chance, mixed


def _what_is_recalled(study: Study) -> str:
    """Which kinds recall at the delay of the training; seeds that differ are named."""
    learned, chance, mixed = _groups(study)
    options, parts = study.options, []
    if learned:
        parts.append(
            f"{_titles(learned)} {_recalls(learned)} what was shown ({_scores(study, learned)})"
        )
    if chance:
        does = f"{_titles(chance)} {_does(chance)} no better than without a memory"
        parts.append(f"{does} ({_scores(study, chance)})")
    for each in mixed:
        scores = each.scores[options.delay]
        good = int((scores >= LEARNED).sum())
        how = f"{good} of {len(scores)} networks" if len(scores) > 1 else "the one network"
        does = f"recalls it in {how}" if good and len(scores) > 1 else "is in between"
        parts.append(f"{each.title} {does} ({', '.join(f'{score:.2f}' for score in scores)})")
    when = list(study.stages.values())[-1]
    return _sentence(f"{when}, at a delay of {options.delay}, {'; '.join(parts)}")


def _what_can_be_learned(study: Study) -> str:
    """What the gradient at initialization brings back from the first input."""
    far, near = [], []
    for each in study.networks:
        log, seen = median_log10(next(iter(each.readings.values())).norms, study.lag)
        (near if seen and log >= LOST else far).append((each, log, seen))
    parts = []
    if far:
        parts.append(
            f"at most {_powers(far)} of it, so that training can hardly see the first input"
        )
    if near:
        parts.append(f"up to {_powers(near)}")
    if not parts:
        return ""
    return _sentence(
        f"the gradient says what can be learned, not what is remembered: at initialization "
        f"{study.lag} steps leave {', but '.join(parts)}"
    )


def _through_the_path(study: Study) -> str:
    """The additive paths, beside the power of the gate that the bias gives."""
    parts = []
    for each in study.networks:
        first = next(iter(each.readings.values()))
        if first.path is None:
            continue
        log, _ = median_log10(first.path, study.lag)
        own = f"10^{log:.1f} in {each.title}"
        if each.forget_bias is not None:
            power = gate_power(each.forget_bias, study.lag)
            own += f" (sigma({each.forget_bias:g})^{study.lag} = 10^{power:.1f})"
        parts.append(own)
    if not parts:
        return ""
    return _sentence(
        f"by the additive path alone, the product of the forget gates, it is {listed(parts)}"
    )


def _what_is_remembered(study: Study) -> str:
    """The swap of the first input."""
    stage, when = list(study.stages.items())[-1]
    moved, noise = [], []
    for each in study.networks:
        swaps = each.swaps[stage]
        if swaps is None:
            continue
        distance, level = float(np.median(swaps.distances)), float(np.median(swaps.noise))
        if distance <= level:
            noise.append(each)
        else:
            moved.append(f"{_size(distance)} in {each.title}")
    parts = []
    if moved:
        parts.append(f"moves h_T by {listed(moved)}")
    if noise:
        parts.append(f"moves it by nothing that rounding does not in {_titles(noise)}")
    if not parts:
        return ""
    return _sentence(f"what is remembered: another first input, {when}, {' and '.join(parts)}")


def _far_beyond(study: Study) -> str:
    """Recall at the longest delay, beside what the gradient has left there."""
    options, sentences = study.options, []
    for each in study.networks:
        if each.lasting is None or each.lasting.reading.path is None:
            continue
        longest = options.longest
        score = float(np.median(each.scores[longest]))
        kept = score - study.baseline.score > study.near(longest)
        norm = float(np.median(np.asarray(each.lasting.reading.norms.log_norms, float)[:, -1]))
        path = float(np.median(np.asarray(each.lasting.reading.path.log_norms, float)[:, -1]))
        lag = int(np.asarray(each.lasting.reading.path.lags)[0, -1])
        start = (
            f"{each.title} recalls {score:.2f} at a delay of {longest}, "
            f"where dc_T/dc_k is 10^{norm / math.log(10):.0f} at lag {lag} and its path "
            f"10^{path / math.log(10):.0f}"
        )
        if kept and min(norm, path) < LOST * math.log(10):
            start += ": a gradient that has vanished is not yet a symbol forgotten"
        elif not kept:
            start += ": this far, the LSTM forgets, too" if "LSTM" in each.title else ""
        sentences.append(_sentence(f"{start}; {_when_lost(each, options.dtype)}"))
    return " ".join(sentences)


def _when_lost(each: Networks, dtype: str) -> str:
    """From which lag the path is below what the dtype keeps, and what the gates did."""
    lasting = each.lasting
    assert lasting is not None
    lost, expected = np.median(lasting.lost_from()), np.median(lasting.expected_from())
    floor = f"10^{lasting.floor / math.log(10):.0f}, the least that {dtype} keeps in full,"
    if math.isfinite(lost):
        text = f"its path falls below {floor} from lag {lost:.0f} on"
    else:
        text = f"at that pace its path falls below {floor} after some {_round(expected)} steps"
    if lasting.gates is None:
        return text
    gates = lasting.gates
    index = int(np.argmin(gates.worst_values))
    return (
        f"{text}; the forget gate of the unit that keeps most is {_gate(gates.means)} on average, "
        f"with a standard deviation of {np.median(gates.spreads):.1g} over time, and loses most at "
        f"step {gates.worst_steps[index]}, where it is {gates.worst_values[index]:.2g}"
    )


def _gate(means: np.ndarray) -> str:
    """A number close to 1 by its distance from 1."""
    away = 1 - float(np.median(means))
    return f"1 - {away:.1g}" if 0 < away < 0.01 else f"{1 - away:.3f}"


def _round(steps: float) -> str:
    return f"{float(f'{steps:.1g}'):.0f}" if math.isfinite(steps) and steps < 1e9 else "10^9"


def _size(distance: float) -> str:
    if distance >= 0.01:
        return f"{distance:.2g}"
    return f"10^{math.log10(distance):.0f}" if distance > 0 else "exactly 0"


def _powers(found: list) -> str:
    return listed(
        [f"{'' if seen else 'less than '}10^{log:.1f} in {each.title}" for each, log, seen in found]
    )


def _scores(study: Study, kinds: list[Networks]) -> str:
    scores = np.concatenate([each.scores[study.options.delay] for each in kinds])
    low, high = f"{scores.min():.2f}", f"{scores.max():.2f}"
    count = f"{len(scores)} of {len(scores)} networks" if len(scores) > 1 else "one network"
    return f"{low} in {count}" if low == high else f"{low} to {high} in {count}"


def _titles(kinds: list[Networks]) -> str:
    return listed([each.title for each in kinds])


def _recalls(kinds: list[Networks]) -> str:
    return "recalls" if len(kinds) == 1 else "recall"


def _does(kinds: list[Networks]) -> str:
    return "does" if len(kinds) == 1 else "do"


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."
