"""What we use of torch beyond its public interface is still there."""

from charlm.nn import compat
from charlm.nn.compat import missing_symbols


def test_torch_has_every_private_symbol_that_is_used():
    assert missing_symbols() == []


def test_a_lost_symbol_is_named(monkeypatch):
    monkeypatch.setattr(compat, "_SYMBOLS", ("torch.optim.SGD", "torch.optim.Lost.step"))
    assert missing_symbols() == ["torch.optim.Lost.step"]
