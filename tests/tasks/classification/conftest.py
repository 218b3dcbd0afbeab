from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def one_thread():
    """Tiny networks on one thread: handing the work out costs more than doing it."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
