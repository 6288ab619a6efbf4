"""PyTorch's files read without PyTorch; tests/parity compares with files that it wrote itself."""

import argparse
import datetime
import io
import pickle
import re
import uuid
import zipfile
from collections import Counter, OrderedDict, defaultdict, deque
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from resnet_jax.errors import UserError
from resnet_jax.weights.pickled import read
from tests.weights.torch_files import calling, dictionary, number, numbers, saved, stream, tensor, text, zipped

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
    with pytest.raises(UserError, match=rf"net\.pth: .*posix\.{name}"):
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


def call(module: str, name: str, arguments: bytes) -> bytes:
    """The opcodes of a call; `arguments` are those of its arguments."""
    return f"c{module}\n{name}\n(".encode() + arguments + b"tR"


def storage(key: str, module: str, kind: str, count: int) -> bytes:
    """The opcodes of a storage, which PyTorch's pickles have by its key."""
    name = f"c{module}\n{kind}\n".encode()
    return b"(" + text("storage") + name + text(key) + text("cpu") + number(count) + b"tQ"


HOOKS = b"ccollections\nOrderedDict\n)R"
ONE = number(0) + numbers((3,)) + numbers((1,))
PLAIN = tensor("1", np.zeros(3, np.float32), legacy=False)
# As torch.save of 2.13 writes them; torch.load(weights_only=True) reads each.
UNUSUAL = {
    "complex64": (
        call(
            "torch._utils",
            "_rebuild_tensor_v2",
            storage("1", "torch", "ComplexFloatStorage", 3) + ONE + b"\x89" + HOOKS,
        ),
        "ComplexFloat",
    ),
    "float8": (
        call(
            "torch._utils",
            "_rebuild_tensor_v3",
            storage("1", "torch.storage", "UntypedStorage", 3) + ONE + b"\x89" + HOOKS + b"ctorch\nfloat8_e4m3fn\n",
        ),
        "float8_e4m3fn",
    ),
    "sparse": (
        call(
            "torch._utils",
            "_rebuild_sparse_tensor",
            call("torch.serialization", "_get_layout", text("torch.sparse_coo")) + b"(" + PLAIN + PLAIN + b"t",
        ),
        "sparse",
    ),
    "quantized": (
        call(
            "torch._utils",
            "_rebuild_qtensor",
            storage("1", "torch", "QUInt8Storage", 3) + ONE + b"(ctorch\nper_tensor_affine\nK\x01K\x00t\x89" + HOOKS,
        ),
        "quantized",
    ),
}


@pytest.mark.parametrize("name", UNUSUAL)
def test_tensors_of_other_kinds_do_no_harm_beside_a_state_dict(name: str) -> None:
    code, kind = UNUSUAL[name]
    storages = {"0": STATE["fc.weight"], "1": np.zeros(3, np.complex64)}
    fine = text("fc.weight") + tensor("0", STATE["fc.weight"], legacy=False)
    found = read(zipped(b"}(" + text("scales") + code + text("model") + b"}(" + fine + b"uu", storages), "net.pth")
    assert found.keys() == {"fc.weight"}
    assert found["fc.weight"].tobytes() == STATE["fc.weight"].tobytes()
    with pytest.raises(UserError, match=rf"net\.pth: fc\.bias has numbers of type {kind}, .*save the array in float32"):
        read(zipped(b"}(" + fine + text("fc.bias") + code + b"u", storages), "net.pth")


@pytest.mark.parametrize("function", ["_rebuild_parameter_with_state", "_rebuild_from_type_v2"])
def test_tensors_with_attributes_are_read(function: str) -> None:
    array = STATE["fc.weight"]
    plain = tensor("0", array, legacy=False)
    if function == "_rebuild_from_type_v2":
        rebuild, arguments = plain[: plain.index(b"(")], plain[plain.index(b"(") :].removesuffix(b"R")
        code = call("torch._tensor", function, rebuild + b"ctorch\nTensor\n" + arguments + b"}")
    else:
        code = call("torch._utils", function, plain + b"\x88" + HOOKS + b"}")
    found = read(zipped(b"}(" + text("fc.weight") + code + b"u", {"0": array}), "net.pth")
    assert found["fc.weight"].tobytes() == array.tobytes()


@FORMS
def test_bfloat16_comes_back_to_the_bit(legacy: bool) -> None:
    state = {"fc.weight": STATE["fc.weight"].astype(ml_dtypes.bfloat16)}
    found = read(saved(state, legacy=legacy), "net.pth")["fc.weight"]
    assert found.dtype == ml_dtypes.bfloat16
    assert found.tobytes() == state["fc.weight"].tobytes()
    # 16 bits of the float32: exactly the upper half where the lower is zero.
    np.testing.assert_array_equal(found.astype(np.float32).view(np.uint32) & 0xFFFF, 0)


BESIDE = {
    "Counter": Counter({60: 1, 90: 1}),
    "set": {1, 2},
    "frozenset": frozenset("ab"),
    "defaultdict": defaultdict(list, {"a": [1]}),
    "deque": deque([1, 2]),
    "Namespace": argparse.Namespace(lr=0.1, device="cuda"),
    "path": Path("/data/imagenet"),
    "datetime": datetime.datetime(2024, 1, 2, 3, 4, 5, tzinfo=datetime.UTC),
    "timedelta": datetime.timedelta(hours=2),
    "NumPy scalar": np.float64(0.5),
    "NumPy array": np.arange(3.0),
    "bytes": b"\x00\xff",
    "complex": 1 + 2j,
    "range": range(3),
    "uuid": uuid.UUID(int=5),
}


def beside(value: object, protocol: int) -> bytes:
    """A checkpoint with a value beside its state dict, pickled by Python itself."""
    body = pickle.dumps(value, protocol)
    whole = saved({"fc.weight": STATE["fc.weight"]}, under="state_dict")
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    # {"epoch": 3, "state_dict": ...} with one more entry, whose value is that pickle's without its protocol and end.
    code = content["net/data.pkl"].removesuffix(b".")
    opcodes = body[2 + 9 * (protocol >= 4) :].removesuffix(b".")
    content["net/data.pkl"] = b"\x80" + bytes([protocol]) + code[2:] + text("beside") + opcodes + b"s."
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, part in content.items():
            archive.writestr(name, part)
    return file.getvalue()


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("name", BESIDE)
def test_values_beside_a_state_dict_do_no_harm(name: str, protocol: int) -> None:
    content = beside(BESIDE[name], protocol)
    found = read(content, "net.pth")
    assert found["fc.weight"].tobytes() == STATE["fc.weight"].tobytes()


@pytest.mark.parametrize("code", [b"ctorch\ndevice\n(" + text("cuda") + b"tR", b"ctorch\nfloat16\n", b"ctorch\nbool\n"])
def test_pytorch_s_devices_and_dtypes_do_no_harm(code: bytes) -> None:
    body = b"}(" + text("beside") + code + text("fc.weight") + tensor("0", STATE["fc.weight"], legacy=False) + b"u"
    assert read(zipped(body, {"0": STATE["fc.weight"]}), "net.pth").keys() == {"fc.weight"}


@pytest.mark.parametrize(
    "name",
    [
        *("os.system", "posix.popen", "subprocess.Popen", "builtins.exec", "builtins.eval", "builtins.getattr"),
        *("builtins.__import__", "builtins.open", "builtins.map", "operator.attrgetter", "functools.partial"),
        *("importlib.import_module", "runpy.run_path", "webbrowser.open", "shutil.rmtree", "pathlib.os.system"),
        *("torch.load", "torch.hub.load", "torch.jit._pickle.restore_type_tag", "torch.nn.modules.linear.Linear"),
        *("numpy.load", "numpy.fromfile", "numpy.testing._private.utils.runstring", "torch._utils._import_dotted_name"),
        *(
            "collections.namedtuple",
            "types.CodeType",
            "types.FunctionType",
            "codecs.open",
            "pickle.loads",
            "copyreg.add_extension",
        ),
    ],
)
def test_names_that_could_run_code_are_refused(name: str) -> None:
    module, _, function = name.rpartition(".")
    with pytest.raises(UserError, match=re.escape(name)):
        read(calling(module, function, "true", legacy=False), "net.pth")


def test_a_stand_in_runs_and_keeps_nothing(tmp_path: Path) -> None:
    """Names with dots, which protocol 4 resolves attribute by attribute, lead nowhere through a stand-in."""
    bait = tmp_path / "ran"
    for name in ("Namespace.__init__.__globals__", "Namespace.__class__", "_sys.exit"):
        code = b"\x80\x04" + b"\x8c\x08argparse" + b"\x8c" + bytes([len(name)]) + name.encode() + b"\x93)R."
        content = zipped(b"N", {}).replace(b"\x80\x02N.", code)
        with pytest.raises(UserError):
            read(content, "net.pth")
    assert not bait.exists()


@pytest.mark.parametrize(
    ("keys", "wanted", "taken", "said"),
    [
        (("state_dict", "state_dict_ema"), None, "state_dict", "is used; other nets in the file: 'state_dict_ema'"),
        (("model_ema", "model"), None, "model", "'model' is used; other nets in the file: 'model_ema'"),
        (("model", "model_ema"), "model_ema", "model_ema", ""),
        (("ema",), None, "ema", ""),
        (("student",), None, "student", ""),
    ],
)
def test_which_of_several_nets_is_taken_and_said(
    keys: tuple[str, ...], wanted: str | None, taken: str, said: str
) -> None:
    arrays = {key: np.full(3, i, np.float32) for i, key in enumerate(keys)}
    body = b"}("
    for i, key in enumerate(keys):
        body += text(key) + dictionary({"fc.bias": tensor(str(i), arrays[key], legacy=False)})
    notes: list[str] = []
    content = zipped(body + b"u", {str(i): arrays[key] for i, key in enumerate(keys)})
    found = read(content, "net.pth", from_key=wanted, note=notes.append)
    np.testing.assert_array_equal(found["fc.bias"], arrays[taken])
    assert said in "".join(notes)
    assert bool(notes) == bool(said)
    with pytest.raises(UserError, match=r"from_key: got 'other'; legal for net\.pth: '"):
        read(content, "net.pth", from_key="other")


def test_several_nets_under_unusual_keys_have_to_be_chosen() -> None:
    one = dictionary({"fc.bias": tensor("0", np.zeros(3, np.float32), legacy=False)})
    content = zipped(b"}(" + text("student") + one + text("teacher") + one + b"u", {"0": np.zeros(3, np.float32)})
    with pytest.raises(UserError, match=r"several state dicts; .*--from-key; legal: 'student', 'teacher'"):
        read(content, "net.pth")


def test_other_pickles_get_a_sentence() -> None:
    numbers = zipped(b"]", {})
    with pytest.raises(UserError, match="holds list, not a state dict"):
        read(numbers, "net.pth")
    with pytest.raises(UserError, match=r"no state dict.*epoch"):
        read(zipped(b"}X\x05\x00\x00\x00epochK\x03s", {}), "net.pth")
    with pytest.raises(UserError, match=r"torch\.save did not write"):
        read(pickle.dumps(1, 2) + pickle.dumps(2, 2), "net.pth")
    with pytest.raises(UserError, match=r"exactly one data\.pkl"):
        read(zipped(b"N", {}).replace(b"data.pkl", b"data.abc"), "net.pth")


def test_the_number_of_an_object_takes_no_memory() -> None:
    """LONG_BINPUT numbers an object; 2**32 - 1 would take 32 GiB as the place in an array."""
    with pytest.raises(UserError, match="no state dict in it"):
        read(zipped(b"}r\xff\xff\xff\xff", {}), "net.pth")
