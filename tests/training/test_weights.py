"""The optimizer and the average against torch's own, to the bit."""

from __future__ import annotations

import pytest
import torch

from ai4diag.training.weights import AdamW, Average


def network(seed=3):
    torch.manual_seed(seed)
    return torch.nn.Sequential(torch.nn.Linear(7, 33), torch.nn.LayerNorm(33), torch.nn.ReLU(), torch.nn.Linear(33, 2))


def gradients(net, step):
    torch.manual_seed(step)
    net(torch.randn(5, 7)).square().mean().backward()


@pytest.mark.parametrize("decay", [0.0, 0.02])
def test_adamw_is_that_of_torch(decay):
    ours, theirs = network(), network()
    optimizer = AdamW(ours.parameters(), decay)
    split = [[p for p in theirs.parameters() if (p.ndim > 1) == many] for many in (True, False)]
    groups = [{"params": split[0], "weight_decay": decay}, {"params": split[1], "weight_decay": 0.0}]
    reference = torch.optim.AdamW(groups, fused=True)
    for step in range(30):
        for group in reference.param_groups:
            group["lr"] = 0.01 / (step + 1)
        reference.zero_grad()
        optimizer.forget()
        gradients(theirs, step)
        gradients(ours, step)
        if step % 3 == 0:  # a parameter that took no part in the loss
            theirs[0].bias.grad = ours[0].bias.grad = None
        reference.step()
        optimizer.step(0.01 / (step + 1))
    for one, two in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(one, two)


def test_a_spoilt_step_changes_nothing():
    net = network()
    optimizer = AdamW(net.parameters(), 0.01)
    gradients(net, 0)
    optimizer.step(0.01)
    before = [p.detach().clone() for p in net.parameters()], {n: t.clone() for n, t in optimizer.state().items()}
    optimizer.step(0.01, spoilt=torch.ones(()))
    assert all(torch.equal(one, two) for one, two in zip(before[0], net.parameters(), strict=True))
    assert all(torch.equal(tensor, before[1][name]) for name, tensor in optimizer.state().items())
    optimizer.step(0.01, spoilt=torch.zeros(()))
    assert not torch.equal(before[0][0], net[0].weight)


def test_average_is_lerp_of_every_tensor():
    net = torch.nn.Sequential(torch.nn.Linear(7, 33), torch.nn.BatchNorm1d(33))
    average = Average(net, 0.97)
    expected = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    for step in range(20):
        net(torch.randn(5, 7))
        with torch.no_grad():
            net[0].weight += torch.randn(33, 7)
        average.update(step)
        decay = min(0.97, (1 + step) / (10 + step))
        for name, tensor in net.state_dict().items():
            if tensor.is_floating_point():
                expected[name].lerp_(tensor, 1 - decay)
            else:
                expected[name].copy_(tensor)
    assert expected.keys() == average.state.keys()
    assert all(torch.equal(average.state[name], tensor) for name, tensor in expected.items())
    assert average.state["1.num_batches_tracked"] == 20
