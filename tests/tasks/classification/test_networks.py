"""Networks: shapes, sizes, initial weights, and that the small one needs no MONAI."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from pydantic import TypeAdapter
from safetensors.torch import save_file

from ai4diag.config.classification import ClassificationModel
from ai4diag.errors import ConfigError, DataError
from ai4diag.tasks.classification.networks import build, load_initial


def model(**values):
    return TypeAdapter(ClassificationModel).validate_python(values)


def test_the_small_network_keeps_full_resolution_and_rounds_sides_up():
    network = build(model(network="small_resnet", width=4, blocks=2, members=3), 5, 1, (27, 30))
    seen = []
    for module in network.member[0].body:
        module.register_forward_hook(lambda module, given, result: seen.append(tuple(result.shape[1:])))
    assert network(torch.zeros(2, 1, 27, 30)).shape == (3, 2, 5)
    assert seen == [(4, 27, 30)] * 2 + [(8, 14, 15)] * 2 + [(16, 7, 8)] * 2
    first, second = (torch.cat([p.flatten() for p in member.parameters()]) for member in network.member[:2])
    assert not torch.equal(first, second)


def test_the_small_network_reads_volumes():
    network = build(model(network="small_resnet", width=4, blocks=1), 1, 1, (7, 8, 9))
    assert network(torch.zeros(2, 1, 7, 8, 9)).shape == (1, 2, 1)


def test_the_small_network_needs_no_monai():
    code = (
        "import sys, torch; from ai4diag.config.classification import SmallResNet;"
        "from ai4diag.tasks.classification.networks import build;"
        "build(SmallResNet(width=4), 1, 1, (28, 28)); print('monai' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


@pytest.mark.parametrize(
    ("values", "size"),
    [
        ({"network": "resnet", "layers": 10}, (28, 28)),
        ({"network": "resnet", "layers": 10}, (16, 16, 16)),
        ({"network": "resnet", "layers": 50, "stem": "large"}, (32, 32)),
        ({"network": "densenet"}, (32, 32)),
        ({"network": "efficientnet"}, (32, 32)),
    ],
)
def test_networks_of_monai_take_pictures_and_volumes(values, size):
    network = build(model(**values), 3, 1, size).eval()
    with torch.inference_mode():
        assert network(torch.zeros(2, 1, *size)).shape == (1, 2, 3)


def test_a_small_stem_keeps_the_resolution_of_small_images():
    small = build(model(network="resnet", layers=10), 1, 1, (28, 28)).member[0]
    large = build(model(network="resnet", layers=10), 1, 1, (224, 224)).member[0]
    assert small.conv1.stride == (1, 1)
    assert small.no_max_pool
    assert large.conv1.stride == (2, 2)


def test_images_that_are_too_small_are_refused_before_training():
    with pytest.raises(ConfigError, match=r"densenet needs images of at least 32 pixels a side, found \[28, 28\]"):
        build(model(network="densenet"), 1, 1, (28, 28))


def test_initial_weights_are_taken_where_they_fit(tmp_path):
    given = build(model(network="small_resnet", width=4), 7, 1, (12, 12)).member[0]
    path = tmp_path / "start.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in given.state_dict().items()}, path)
    network = build(model(network="small_resnet", width=4, members=2), 3, 1, (12, 12))
    taken = load_initial(network, path)
    assert taken == len(given.state_dict()) - 2  # the head has another number of outputs
    for member in network.member:
        torch.testing.assert_close(member.stem.weight, given.stem.weight)
        assert member.head.weight.shape == (3, 16)
    with pytest.raises(ConfigError, match="no tensor"):
        load_initial(build(model(network="resnet", layers=10), 1, 3, (12, 12)), path)
    (tmp_path / "text").write_text("weights")
    with pytest.raises(DataError, match="no safetensors file"):
        load_initial(network, tmp_path / "text")
    with pytest.raises(DataError, match="does not exist"):
        load_initial(network, tmp_path / "absent")


def test_a_model_trained_here_is_a_start_for_the_next(tmp_path):
    settings = model(network="small_resnet", width=4, members=2)
    given = build(settings, 1, 1, (12, 12))
    save_file(
        {name: tensor.contiguous() for name, tensor in given.state_dict().items()}, tmp_path / "model.safetensors"
    )
    network = build(settings.model_copy(update={"members": 3}), 1, 1, (12, 12))
    assert load_initial(network, tmp_path / "model.safetensors") == len(given.member[0].state_dict())
    for member, source in zip(network.member, (0, 1, 0), strict=True):
        for name, tensor in given.member[source].state_dict().items():
            torch.testing.assert_close(member.state_dict()[name], tensor)
    assert not torch.equal(network.member[0].stem.weight, network.member[1].stem.weight)
