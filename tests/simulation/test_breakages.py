"""Every deliberate breakage of the protocol is found, by seeds that the unbroken protocol passes."""

from __future__ import annotations

import pytest

from simulated.breakages import BREAKAGES
from simulated.seeds import first_failure, run_seeds


@pytest.mark.parametrize("name", BREAKAGES)
def test_a_breakage_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    breakage = BREAKAGES[name]
    with monkeypatch.context() as patch:
        breakage.apply(patch)
        found = first_failure(breakage.seeds, breakage.focus)
    assert found is not None, f"nothing found in {breakage.seeds}: {breakage.apply.__doc__}"
    seed, how = found
    assert "Violation" in how or "Hung" in how, how
    run_seeds(range(breakage.seeds.start, seed + 1), breakage.focus)
