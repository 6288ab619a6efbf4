"""PyTorch's files read without PyTorch; tests/parity compares with files that it wrote itself."""

from __future__ import annotations

import pickle
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest

from resnet_jax.errors import UserError
from resnet_jax.weights.pickled import read
from tests.weights.torch_files import calling, dictionary, saved, stream, tensor, zipped

RNG = np.random.default_rng(0)
STATE = OrderedDict(
    {
        "conv1.weight": RNG.normal(size=(4, 3, 3, 3)).astype(np.float32),
        "bn1.num_batches_tracked": np.array(7, np.int64),
        "fc.weight": RNG.normal(size=(5, 4)),
        "fc.bias": RNG.normal(size=5).astype(np.float16),
    }
)
FORMS = pytest.mark.parametrize("legacy", [False, True], ids=["zip", "stream"])


@FORMS
@pytest.mark.parametrize("under", [None, "state_dict", "model"])
def test_arrays_come_back_to_the_bit(legacy: bool, under: str | None) -> None:
    found = read(saved(STATE, legacy=legacy, under=under), "net.pth")
    assert list(found) == list(STATE)
    for name, array in STATE.items():
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)
        assert found[name].tobytes() == array.tobytes()


@FORMS
def test_a_tensor_may_be_a_strided_part_of_its_numbers(legacy: bool) -> None:
    whole = np.arange(24, dtype=np.float32)
    view = whole.reshape(4, 6)[1:, ::2].T  # [3, 3], from number 6 on
    code = tensor("0", np.empty((3, 3), np.float32), legacy=legacy, offset=6, strides=(2, 6)).replace(
        b"J\x09\x00\x00\x00", b"J\x18\x00\x00\x00"
    )
    body = dictionary({"fc.weight": code})
    content = (stream if legacy else zipped)(body, {"0": whole})
    np.testing.assert_array_equal(read(content, "net.pth")["fc.weight"], view)


@FORMS
@pytest.mark.parametrize("name", ["system", "popen"])
def test_a_pickle_that_calls_a_program_is_refused_and_runs_none(legacy: bool, name: str, tmp_path: Path) -> None:
    bait = tmp_path / "ran"
    with pytest.raises(UserError, match=rf"net\.pth: a pickle that asks for posix\.{name}, .* nothing of it was run"):
        read(calling("posix", name, f"touch {bait}", legacy=legacy), "net.pth")
    with pytest.raises(UserError, match=r"asks for builtins\.eval"):
        read(calling("builtins", "eval", f"open({str(bait)!r}, 'w')", legacy=legacy), "net.pth")
    assert not bait.exists()


class _Program:
    def __init__(self, bait: Path) -> None:
        self.bait = bait

    def __reduce__(self) -> tuple[object, tuple[str, ...]]:
        return open, (str(self.bait), "w")


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_python_s_own_pickles_run_nothing_either(protocol: int, tmp_path: Path) -> None:
    bait = tmp_path / "ran"
    content = pickle.dumps({"state_dict": _Program(bait)}, protocol)
    with pytest.raises(UserError, match=r"asks for _?io\.open"):
        read(content, "net.pth")
    assert not bait.exists()
    pickle.loads(content)["state_dict"].close()  # it does run where nobody looks
    assert bait.exists()


@FORMS
def test_a_truncated_file_at_any_length(legacy: bool) -> None:
    content = saved(STATE, legacy=legacy)
    for length in range(4, len(content) - 1, 41):
        with pytest.raises(UserError, match=r"net\.pth: damaged or truncated \(.+\)\.$"):
            read(content[:length], "net.pth")


def test_a_flipped_bit_in_a_zip_file_is_found() -> None:
    content = bytearray(saved(STATE))
    at = content.index(STATE["conv1.weight"].tobytes()) + 5
    content[at] ^= 1
    with pytest.raises(UserError, match="CRC"):
        read(bytes(content), "net.pth")


@pytest.mark.parametrize(
    ("offset", "strides"),
    [(100, (1, 1)), (0, (9, 1)), (0, (-1, 1)), (-1, (1, 1))],
    ids=["after", "over", "back", "before"],
)
def test_a_tensor_outside_its_numbers_is_refused(offset: int, strides: tuple[int, int]) -> None:
    array = np.zeros((3, 3), np.float32)
    content = zipped(
        dictionary({"fc.weight": tensor("0", array, legacy=False, offset=offset, strides=strides)}), {"0": array}
    )
    with pytest.raises(UserError, match="lies outside its numbers"):
        read(content, "net.pth")


def test_other_pickles_get_a_sentence() -> None:
    numbers = zipped(b"]", {})
    with pytest.raises(UserError, match="holds list, not a state dict"):
        read(numbers, "net.pth")
    with pytest.raises(UserError, match=r"no state dict in it, nor under state_dict, .*\(it holds epoch\)"):
        read(zipped(b"}X\x05\x00\x00\x00epochK\x03s", {}), "net.pth")
    with pytest.raises(UserError, match=r"not as torch\.save writes it"):
        read(pickle.dumps(1, 2) + pickle.dumps(2, 2), "net.pth")
    with pytest.raises(UserError, match=r"without one data\.pkl"):
        read(zipped(b"N", {}).replace(b"data.pkl", b"data.abc"), "net.pth")
