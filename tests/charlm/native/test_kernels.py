"""The compiled kernels against the same algorithm in NumPy, against torch's LSTM, and against what can go wrong."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from charlm import native
from charlm.data import Dictionary, Sentence
from charlm.embeddings import FlairEmbeddings
from charlm.models import LanguageModel
from charlm.native import VARIANTS, Kernel, variant
from charlm.nn import kernel as kernel_module
from charlm.nn import lstm as lstm_module
from charlm.nn.kernel import kernel_name
from charlm.nn.lstm import LSTM, run_layer
from tests.charlm.native.plain_lstm import PlainLSTM

pytestmark = [
    pytest.mark.numeric,
    pytest.mark.skipif(native.why_missing() is not None, reason=f"no compiled kernels: {native.why_missing()}"),
]

HERE = [name for name in VARIANTS if variant(name) is not None]
FP32 = [name for name in HERE if VARIANTS[name] == torch.float32]


def kernel_of(name: str) -> Kernel:
    kernel = variant(name)
    assert kernel is not None
    return kernel


def kernel_of_here(name: str) -> Kernel | None:
    """The kernel of that name, where it is not kept from being used by a limit such as that of `make test-portable`."""
    kernel = kernel_module.kernel_of(VARIANTS[name], torch.device("cpu"))
    allowed = [*VARIANTS].index(name) <= [*VARIANTS].index(kernel.name) if kernel is not None else False
    return kernel if allowed else None


@dataclass
class Case:
    """A layer with random weights, inputs, and gradients of its results, all float64."""

    steps: int
    batch: int
    hidden: int
    rows: int = 7
    seed: int = 0

    def __post_init__(self) -> None:
        draw = np.random.default_rng(self.seed).standard_normal
        self.table = draw((self.rows, 4 * self.hidden))
        self.recurrent = draw((4 * self.hidden, self.hidden)) / self.hidden**0.5
        self.ids = np.random.default_rng(self.seed).integers(self.rows, size=(self.steps, self.batch))
        self.given = [draw((self.batch, self.hidden)) for _ in range(2)]
        self.to_states = draw((self.steps, self.batch, self.hidden))
        self.to_last = [draw((self.batch, self.hidden)) for _ in range(2)]

    def results(self, kernel: Kernel, *, by_rows: bool = True) -> list[np.ndarray]:
        """States, last cell, and gradients of table, recurrent weights, first state and first cell, of the kernel."""
        table, recurrent, state, cell = (
            torch.tensor(part).to(kernel.real).requires_grad_() for part in (self.table, self.recurrent, *self.given)
        )
        tiled = kernel.in_tiles(table.t()).t()
        ids = torch.tensor(self.ids)
        places = torch.arange(self.steps + 1) * self.batch
        arguments = (tiled, ids.flatten()) if by_rows else (tiled[ids.flatten()], None)
        states, last, last_cell = run_layer(kernel, places, *arguments, recurrent, state, cell)
        whole = (states.double() * torch.tensor(self.to_states).flatten(0, 1)).sum()
        for part, weight in zip((last, last_cell), self.to_last, strict=True):
            whole = whole + (part.double() * torch.tensor(weight)).sum()
        whole.backward()
        gradients = [tensor.grad for tensor in (table, recurrent, state, cell)]
        return [part.detach().double().numpy() for part in (states, last_cell, *gradients)]

    def expected(self) -> list[np.ndarray]:
        """The same in NumPy."""
        layer = PlainLSTM(self.table, self.recurrent, self.ids)
        states, cell = layer.forward(*self.given)
        gradients = layer.backward(self.to_states, *self.to_last)
        return [
            states.reshape(-1, self.hidden),
            cell,
            gradients.table,
            gradients.recurrent,
            gradients.state,
            gradients.cell,
        ]


def distance(found: np.ndarray, expected: np.ndarray) -> float:
    """Mean difference of values, relative to that of what is expected where that is more than 1."""
    return float(np.linalg.norm(found - expected) / max(np.linalg.norm(expected), found.size**0.5))


BOUNDS = {"float64": 1e-12, "avx2": 3e-6, "avx512": 3e-6, "avx512_bf16": 1e-2}

sizes = st.builds(
    Case,
    steps=st.integers(1, 9),
    batch=st.integers(1, 20),
    hidden=st.integers(1, 90),
    rows=st.sampled_from([1, 3, 50]),
    seed=st.integers(0, 9),
)


@pytest.mark.parametrize("name", ["float64", *HERE])
@pytest.mark.parametrize("by_rows", [True, False])
@settings(max_examples=25)
@given(case=sizes)
def test_a_kernel_computes_what_the_algorithm_says_at_any_shape(name: str, by_rows: bool, case: Case) -> None:
    for found, expected in zip(case.results(kernel_of(name), by_rows=by_rows), case.expected(), strict=True):
        assert distance(found, expected) < BOUNDS[name]


@pytest.mark.parametrize("name", ["float64", *HERE])
def test_long_products_that_are_cut_into_parts_are_whole(name: str) -> None:
    case = Case(steps=3, batch=13, hidden=300)  # 1,216 factors backward
    for found, expected in zip(case.results(kernel_of(name)), case.expected(), strict=True):
        assert distance(found, expected) < BOUNDS[name]


@pytest.mark.parametrize("name", ["float64", *HERE])
def test_threads_change_no_bit(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "_PRODUCTS_OF_A_THREAD", 1)
    case = Case(steps=5, batch=9, hidden=200)
    threads = torch.get_num_threads()
    results = []
    try:
        for number in (1, 2, 3):
            torch.set_num_threads(number)
            results.append(case.results(kernel_of(name)))
    finally:
        torch.set_num_threads(threads)
    for other in results[1:]:
        # The product for the recurrent weights is torch's, which may sum in another order.
        assert all(np.array_equal(*pair) for n, pair in enumerate(zip(results[0], other, strict=True)) if n != 3)


@pytest.mark.parametrize("name", ["float64", *HERE])
def test_sequences_that_end_are_read_as_if_alone(name: str) -> None:
    kernel, case = kernel_of(name), Case(steps=6, batch=5, hidden=20)
    lengths = [6, 6, 3, 1, 1]
    counts = [sum(length > step for length in lengths) for step in range(6)]
    places = torch.tensor([0, *counts]).cumsum(0)
    inputs = [torch.tensor(part).to(kernel.real) for part in (case.table, case.recurrent, *case.given)]
    weight = torch.tensor(case.to_states)

    def gradients_of(cut: bool) -> list[Tensor]:
        table, recurrent, state, cell = (tensor.clone().requires_grad_() for tensor in inputs)
        tiled, ids = kernel.in_tiles(table.t()).t(), torch.tensor(case.ids)
        if cut:
            ids = torch.cat([ids[step, :count] for step, count in enumerate(counts)])
            output, *last = run_layer(kernel, places, tiled, ids, recurrent, state, cell)
            rows = torch.cat([weight[step, :count] for step, count in enumerate(counts)])
            whole = (output.double() * rows).sum() + sum(part.double().square().sum() for part in last)
        else:
            whole = torch.zeros((), dtype=torch.float64)
            for row, length in enumerate(lengths):
                places_alone = torch.arange(length + 1)
                given = (state[row, None], cell[row, None])
                output, *last = run_layer(kernel, places_alone, tiled, ids[:length, row], recurrent, *given)
                whole = whole + (output.double() * weight[:length, row]).sum()
                whole = whole + sum(part.double().square().sum() for part in last)
        return [whole, *torch.autograd.grad(whole, [table, recurrent, state, cell])]

    for found, expected in zip(gradients_of(cut=True), gradients_of(cut=False), strict=True):
        assert distance(found.detach().double().numpy(), expected.detach().double().numpy()) < BOUNDS[name]


def test_derivatives_are_those_of_the_function() -> None:
    kernel = kernel_of("float64")
    case = Case(steps=3, batch=2, hidden=5)
    inputs = [torch.tensor(part, requires_grad=True) for part in (case.table, case.recurrent, *case.given)]

    def layer(table: Tensor, *others: Tensor) -> tuple[Tensor, ...]:
        places, ids = torch.tensor([0, 2, 4, 5]), torch.tensor(case.ids).flatten()[:5]  # one sequence ends earlier
        return run_layer(kernel, places, kernel.in_tiles(table.t()).t(), ids, *others)

    assert torch.autograd.gradcheck(layer, inputs)


def lstm_and_input(**settings: int) -> tuple[nn.LSTM, Tensor]:
    torch.manual_seed(1)
    reference = nn.LSTM(12, 40, **settings).double()
    return reference, torch.randn(11, 6, 12, dtype=torch.float64)


@pytest.mark.parametrize("name", FP32)
@pytest.mark.parametrize("layers", [1, 2])
def test_float32_is_that_of_torch(name: str, layers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    if kernel_of_here(name) is None:
        pytest.skip("another limit keeps this variant from being used")
    monkeypatch.setenv("CHARLM_NATIVE", name)
    reference, x = lstm_and_input(num_layers=layers)
    ours = LSTM(12, 40, num_layers=layers)
    ours.load_state_dict(reference.state_dict())
    assert ours._kernel(x.float()) is kernel_of(name)
    expected, _ = reference(x)
    expected.square().sum().backward()
    # Neither the order of the values in memory nor where they begin matters.
    crooked = torch.empty(6, 12, 23)[:, :, 1::2].permute(2, 0, 1).copy_(x)
    output, (state, cell) = ours(crooked)
    output.square().sum().backward()
    assert (state.shape, cell.shape) == ((layers, 6, 40), (layers, 6, 40))
    torch.testing.assert_close(output.double(), expected, atol=1e-5, rtol=1e-5)
    for parameter, other in zip(ours.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(parameter.grad.double(), other.grad, atol=1e-5, rtol=1e-5)
    with torch.no_grad():
        torch.testing.assert_close(ours(crooked)[0], output, atol=1e-6, rtol=1e-6)


@pytest.mark.skipif("avx512_bf16" not in HERE or kernel_name(torch.device("cpu"), "bf16") == "torch", reason="no bf16")
def test_bf16_is_as_close_to_float64_as_that_of_torch() -> None:
    reference, x = lstm_and_input()
    ours, theirs = LSTM(12, 40), nn.LSTM(12, 40)
    errors = []
    for module in (reference, ours, theirs):
        module.load_state_dict(reference.state_dict())
        with torch.autocast("cpu", torch.bfloat16, enabled=module is not reference):
            output, _ = module(x if module is reference else x.float())
            output.double().square().sum().backward()
        gradients = [parameter.grad.double().numpy() for parameter in module.parameters()]
        if module is reference:
            exact = [output.detach().numpy(), *gradients]
        else:
            found = [output.detach().double().numpy(), *gradients]
            errors.append([distance(*pair) for pair in zip(found, exact, strict=True)])
    assert output.dtype == torch.bfloat16
    assert all(own <= 1.2 * other for own, other in zip(*errors, strict=True))


def test_rows_of_an_embedding_are_read_as_its_output_is() -> None:
    if kernel_name(torch.device("cpu"), "fp32") == "torch":
        pytest.skip("this processor has no kernel")
    ours, rows = LSTM(8, 20), torch.randn(5, 8, requires_grad=True)
    ids = torch.randint(5, (4, 3))
    assert ours.reads_rows(rows, ids)
    assert not ours.reads_rows(torch.randn(13, 8), ids)  # more rows than ids
    results = []
    for output, _ in (ours.read_rows(rows, ids), ours(rows[ids])):
        results.append([output, *torch.autograd.grad(output.square().sum(), [rows, *ours.parameters()])])
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_a_number_that_is_none_stays_seen() -> None:
    for name in ["float64", *HERE]:
        case = Case(steps=2, batch=2, hidden=3)
        case.table[:] = np.nan
        assert np.isnan(case.results(kernel_of(name))[0]).all(), name


def test_huge_inputs_are_bounded() -> None:
    for name in ["float64", *HERE]:
        case = Case(steps=2, batch=2, hidden=3)
        case.table *= 1e6
        states = case.results(kernel_of(name))[0]
        assert distance(states, case.expected()[0]) < BOUNDS[name], name


@pytest.mark.parametrize("name", ["float64", *HERE])
@pytest.mark.parametrize(("rows", "classes", "stride"), [(1, 1, 1), (3, 16, 16), (7, 37, 40), (5, 2000, 2016)])
def test_a_softmax_and_its_gradient_are_those_of_torch(name: str, rows: int, classes: int, stride: int) -> None:
    kernel = kernel_of(name)
    torch.manual_seed(rows)
    whole = (3 * torch.randn(rows, stride)).to(kernel.element)
    logits, rest = whole[:, :classes], whole[:, classes:].clone()
    bias = torch.randn(classes, dtype=kernel.real, requires_grad=True)
    targets = torch.randint(classes, (rows,))
    exact = logits.double().requires_grad_()
    expected = nn.functional.cross_entropy(exact + bias.double(), targets, reduction="sum")
    (0.5 * expected).backward()
    found, to_bias = kernel.softmax(logits, bias, targets, scale=0.5)
    assert found == pytest.approx(expected.item(), rel=1e-5, abs=1e-5)
    bound = BOUNDS[name]
    torch.testing.assert_close(to_bias.double(), bias.grad.double(), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(logits.double(), exact.grad, atol=1e-6 + bound / 10, rtol=bound)
    assert torch.equal(whole[:, classes:], rest)


def test_ids_beyond_the_table_are_an_error_and_touch_nothing() -> None:
    kernel = kernel_of("float64")
    case = Case(steps=2, batch=2, hidden=3)
    for bad in (-1, case.rows):
        case.ids[1, 1] = bad
        with pytest.raises(IndexError, match=f"ids are from 0 to 6, found .*{bad}"):
            case.results(kernel)
        with pytest.raises(IndexError, match=f"ids are from 0 to 3, found {bad}"):
            kernel.softmax(torch.zeros(1, 4).double(), torch.zeros(4).double(), torch.tensor([bad]), scale=1)


def test_a_state_of_another_batch_is_refused() -> None:
    ours, x = LSTM(4, 5), torch.randn(3, 2, 4)
    with pytest.raises(RuntimeError, match=r"\(1, 2, 5\)"):
        ours(x, (torch.zeros(1, 3, 5), torch.zeros(1, 3, 5)))


@pytest.mark.parametrize("name", HERE)
@pytest.mark.parametrize("largest", [1 << 20, 0])
def test_a_reader_packs_once_and_reads_as_the_layers_do(
    name: str, largest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kernel_of_here(name) is None:
        pytest.skip("another limit keeps this variant from being used")
    monkeypatch.setenv("CHARLM_NATIVE", name)
    monkeypatch.setattr(lstm_module, "_LARGEST_TABLE", largest)
    ours, rows, ids = LSTM(8, 20, num_layers=2), torch.randn(5, 8), torch.randint(5, (9, 3))
    packed = []
    pack = Kernel.pack
    monkeypatch.setattr(Kernel, "pack", lambda *given, **more: packed.append(1) or pack(*given, **more))
    is_bf16 = VARIANTS[name] == torch.bfloat16
    with torch.no_grad():
        with torch.autocast("cpu", torch.bfloat16, enabled=is_bf16):
            reader = ours.reader(rows)
        assert reader is not None
        first, state = reader(ids[:4], None)
        second, _ = reader(ids[4:], state)
        assert len(packed) == 2  # layers
        expected, _ = nn.LSTM.forward(ours, rows[ids])
    bound = 2e-2 if is_bf16 else 1e-5
    torch.testing.assert_close(torch.cat([first, second]).float(), expected, atol=bound, rtol=bound)


@pytest.fixture
def packed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A number for each time that weights were packed."""
    if kernel_name(torch.device("cpu"), "fp32") == "torch":
        pytest.skip("this processor has no kernel")
    times: list[int] = []
    pack = Kernel.pack
    monkeypatch.setattr(Kernel, "pack", lambda *given, **more: times.append(1) or pack(*given, **more))
    return times


def vectors_of(model: LanguageModel) -> Tensor:
    sentences = [Sentence("word " * 40), Sentence("some others " * 9)]
    FlairEmbeddings(model, chars_per_chunk=16).embed(sentences)
    return torch.cat([sentence.get_token_embeddings() for sentence in sentences])


def test_embedding_packs_the_weights_once_for_many_pieces_of_text(
    packed: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = LanguageModel(Dictionary.load("chars"), is_forward_lm=True, hidden_size=24, nlayers=1).eval()
    first, second = vectors_of(model), vectors_of(model)
    assert len(packed) == 1
    assert torch.equal(first, second)
    monkeypatch.setenv("CHARLM_NATIVE", "off")
    torch.testing.assert_close(first, vectors_of(model), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("change", ["step", "load", "replace", "inference", "data", "optimizer"])
def test_embedding_reads_the_weights_as_they_are_now(change: str, packed: list[int]) -> None:
    dictionary = Dictionary.load("chars")
    torch.manual_seed(3)
    model, other = (LanguageModel(dictionary, is_forward_lm=True, hidden_size=24, nlayers=1).eval() for _ in range(2))
    before = vectors_of(model)
    if change == "load":
        model.load_state_dict(other.state_dict())
    elif change == "optimizer":  # which counts no new version of a tensor
        for parameter in model.parameters():
            parameter.grad = torch.ones_like(parameter)
        torch.optim.AdamW(model.parameters(), lr=0.1, fused=True).step()
        other.load_state_dict(model.state_dict())
    else:
        with torch.inference_mode(change == "inference"), torch.no_grad():
            for ours, theirs in zip(model.parameters(), other.parameters(), strict=True):
                if change == "replace":
                    ours.data = theirs.detach().clone()
                else:
                    (ours.data if change == "data" else ours).copy_(theirs)
    expected = vectors_of(other)
    assert not torch.allclose(before, expected)
    assert torch.equal(vectors_of(model), expected)
    assert len(packed) == 3
