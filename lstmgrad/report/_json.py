"""The JSON twin of the page: the same findings, evidence and settings for a program."""

import json as standard
from collections.abc import Mapping

from lstmgrad._calls import public
from lstmgrad._checks import check_kind
from lstmgrad.diagnosis import Diagnosis


@public
def json(diagnosis: Diagnosis, *, about: Mapping[str, str] | None = None) -> bytes:
    """Returns a diagnosis as the content of a JSON file.

    Args:
        diagnosis: from `lg.diagnose`.
        about: where model and input come from, by name, as for `page`.

    Returns:
        UTF-8: ``Diagnosis.plain()``, with ``about`` beside it. JSON has no NaN and no infinity:
        they are the strings "nan", "inf" and "-inf".

    Raises:
        ValueError: not a diagnosis.

    Example:
        ``json.loads(lg.report.json(found))["findings"][0]["rule"]`` is ``found[0].rule``.

        >>> batch = jnp.stack([inputs, -inputs])
        >>> found = lg.diagnose(jax.vmap(lambda one: lg.chain(model, one))(batch), lag=5)
        >>> lg.report.json(found)[:1]
        b'{'
    """
    check_kind(diagnosis, Diagnosis, "diagnosis")
    content = {**diagnosis.plain(), "about": dict(about or {})}
    text = standard.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
    return (text + "\n").encode()
