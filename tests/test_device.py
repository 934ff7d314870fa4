import pytest
import torch

from rucksac.device import PROCESSOR, carried, chosen
from rucksac.errors import UsageError

CARD = torch.cuda.is_available()


def test_auto_takes_a_card_where_there_is_one():
    assert chosen("cpu") == PROCESSOR
    assert chosen("auto").type == ("cuda" if CARD else "cpu")


@pytest.mark.skipif(CARD, reason="there is a card here")
def test_a_card_that_is_not_there_is_refused():
    with pytest.raises(UsageError, match="--device is cuda, but PyTorch finds no card with CUDA here; use auto or cpu"):
        chosen("cuda")


def test_arguments_are_taken_to_the_device_and_the_results_are_brought_back():
    seen = []

    def function(tensors):
        seen.extend(tensor.device.type for tensor in tensors)
        return torch.zeros(2), torch.ones(1)

    nowhere = torch.device("meta")  # the one other place that every machine has: shapes without values
    assert [each.tolist() for each in carried(function, nowhere)([torch.ones(2), torch.ones(3)])] == [[0.0, 0.0], [1.0]]
    assert seen == ["meta", "meta"]
    with pytest.raises(NotImplementedError, match="meta"):
        carried(lambda tensors: tensors, nowhere)([torch.ones(2)])
