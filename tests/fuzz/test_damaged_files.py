"""A small draw of damaged files; the large one is `python tests/fuzz/files.py --cases 10000`."""

import files
import numpy as np
import pytest


@pytest.mark.slow
def test_damaged_files_are_a_sentence(tmp_path):
    files.write_seeds(tmp_path)
    for name in files.FORMATS:
        found = dict(files.run(name, 150, 3, tmp_path))
        assert sorted(found) == list(range(150))
        wrong = {case: what for case, what in found.items() if what not in ("read", "refused")}
        assert not wrong, f"{name}, seed 3: {wrong}"


def test_damage_is_drawn_again(tmp_path):
    """What a report says draws the same file, and most draws are other files."""

    data = [bytes(range(200)), b"PK" + bytes(300)]
    draws = [files.damage(np.random.default_rng(case), data[case % 2], data) for case in range(40)]
    again = [files.damage(np.random.default_rng(case), data[case % 2], data) for case in range(40)]
    assert draws == again
    assert len(set(draws) - set(data)) > 30
