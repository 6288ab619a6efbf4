"""A start from a net in a file: what is taken over, what stays as it is, and what the record says."""

import dataclasses
import hashlib
import itertools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resnet_jax.config import ExperimentConfig, FinetuneConfig, ModelConfig, OptimConfig, override
from resnet_jax.data import ArraySource, normalization
from resnet_jax.data.order import training_batches
from resnet_jax.errors import UserError
from resnet_jax.models.resnet import build
from resnet_jax.models.stacking import stack, unstack
from resnet_jax.record import read_record, record_to_json
from resnet_jax.training import optim, run_directory, schedules
from resnet_jax.training.loop import Interrupted
from resnet_jax.training.program import Program, prepare
from resnet_jax.training.run import run
from resnet_jax.weights import files
from resnet_jax.weights.preprocessing import per_channel
from tests.training.test_loop import SMALL
from tests.weights.factory import random_weights

# A net of 7 classes of grey images, to be fine-tuned on the ten digits.
NET = ModelConfig(depth=8, width=4, num_classes=7)
NORMALIZED = per_channel(8, 8, (0.3,), (0.4,))


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("net") / "net"
    files.save(dataclasses.replace(random_weights(NET, channels=1), preprocessing=NORMALIZED), place)
    return place


@pytest.fixture(scope="module")
def config(net: Path) -> ExperimentConfig:
    changes = {"finetune.weights": str(net), "finetune.frozen_stages": 2, "data.normalize": "weights"}
    return override(SMALL, {**changes, "train.iterations": 24, "train.eval_every": 0})


@pytest.fixture(scope="module")
def program(config: ExperimentConfig) -> Program:
    return prepare(config)


@pytest.fixture(scope="module")
def finished(config: ExperimentConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("runs") / "finished"
    run(config, directory, study="test")
    return directory


def frozen(name: str) -> bool:
    return name.startswith(("stem", "stage1", "stage2"))


def test_all_but_the_last_layer_is_taken_over(program: Program, net: Path) -> None:
    theirs = files.load(net).variables()
    assert program.assembly.initial.params.keys() == theirs["params"].keys()
    for name, tree in program.assembly.initial.params.items():
        if name != "head":
            jax.tree.map(np.testing.assert_array_equal, tree, theirs["params"][name])
    jax.tree.map(np.testing.assert_array_equal, program.assembly.initial.batch_stats, theirs["batch_stats"])
    assert program.assembly.initial.params["head"]["kernel"].shape == (16, 10)
    # The new layer is the one that a run from random values begins with.
    fresh = build(program.assembly.config.model).init(
        jax.random.split(jax.random.key(0))[0], jnp.zeros((1, 8, 8, 1)), train=False
    )
    np.testing.assert_array_equal(program.assembly.initial.params["head"]["kernel"], fresh["params"]["head"]["kernel"])


def test_images_are_normalised_as_the_net_s_were(program: Program) -> None:
    assert program.assembly.normalization.mean.ravel() == [0.3]
    assert program.assembly.normalization.std.ravel() == [0.4]


def test_frozen_stages_stay_to_the_bit_and_the_others_do_not(program: Program) -> None:
    state = program.put(program.assembly.initial)
    batches = training_batches(seed=0, examples=len(program.assembly.dataset.train), batch_size=128, first_step=0)
    for batch in itertools.islice(batches, 3):
        state, _ = program.train_on(state, [batch])
    new = program.fetch(state)
    for kind in ("params", "batch_stats"):
        before, after = getattr(program.assembly.initial, kind), getattr(new, kind)
        for path, leaf in jax.tree_util.tree_leaves_with_path(after):
            old: Any = before
            for key in path:
                old = old[key.key]
            assert (leaf.tobytes() == old.tobytes()) == frozen(path[0].key), jax.tree_util.keystr(path)


@pytest.mark.parametrize("scanned", [False, True], ids=["unrolled", "scanned"])
def test_a_frozen_part_computes_as_in_eval_mode_and_gets_no_gradient(scanned: bool) -> None:
    config = ModelConfig(depth=20, width=2, num_classes=3)
    host = random_weights(config).variables()
    x = jnp.asarray(np.random.default_rng(0).normal(size=(6, 8, 8, 3)), jnp.float32)
    model = build(config).clone(scanned=scanned, frozen_stages=3)
    variables = stack(host, config) if scanned else host

    @jax.jit
    def both(variables: Any) -> Any:
        def total(params: Any) -> Any:
            given = {"params": params, "batch_stats": variables["batch_stats"]}
            logits, updated = model.apply(given, x, train=True, mutable=["batch_stats"])
            return jnp.square(logits).sum(), (logits, updated["batch_stats"])

        grads, aux = jax.grad(total, has_aux=True)(variables["params"])
        return grads, aux, model.apply(variables, x, train=False)

    grads, (logits, batch_stats), in_eval = jax.device_get(both(variables))
    np.testing.assert_allclose(logits, in_eval, rtol=1e-5)
    jax.tree.map(np.testing.assert_array_equal, batch_stats, variables["batch_stats"])
    grads = unstack(grads, config) if scanned else grads
    assert {name for name, tree in grads.items() if any(leaf.any() for leaf in jax.tree.leaves(tree))} == {"head"}


@pytest.mark.parametrize(
    ("finetune", "factors"),
    [
        (FinetuneConfig(weights="net", stage_rates=(0.1, 0.5, 2.0)), (0.1, 0.1, 0.5, 2.0, 2.0, 1.0)),
        (FinetuneConfig(weights="net", frozen_stages=1), (0.0, 0.0, 1.0, 1.0, 1.0, 1.0)),
        (FinetuneConfig(weights="net", frozen_stages=3, stage_rates=(1.0, 1.0, 5.0)), (0.0, 0.0, 0.0, 0.0, 0.0, 1.0)),
    ],
)
def test_each_stage_has_its_factor_of_the_rate(finetune: FinetuneConfig, factors: tuple[float, ...]) -> None:
    """Two steps against the formula of optim.py in NumPy; a frozen stage has neither gradient nor decay."""
    names = ("stem_conv", "stage1_block1", "stage2_rest", "stage3_block1", "final_norm", "head")
    config = OptimConfig(learning_rate=0.5, momentum=0.9, weight_decay=0.01)
    rng = np.random.default_rng(0)
    params = {name: {"kernel": rng.normal(size=4).astype(np.float32)} for name in names}
    grads = [{name: {"kernel": rng.normal(size=4).astype(np.float32)} for name in names} for _ in range(2)]
    optimizer = optim.sgd(config, finetune, stages=3)
    state, ours = optimizer.init(params), params
    for step in grads:
        updates, state = optimizer.update(step, state, ours, error=jnp.asarray(0.5))
        ours = jax.tree.map(lambda p, u: np.asarray(p + u), ours, updates)
    assert schedules.rate_state(state).rate == 0.5
    for name, factor in zip(names, factors, strict=True):
        w, v = params[name]["kernel"].astype(np.float64), 0.0
        for step in grads:
            v = 0.9 * v + step[name]["kernel"] + 0.01 * w
            w = w - factor * 0.5 * v
        if factor == 0.0:
            assert ours[name]["kernel"].tobytes() == params[name]["kernel"].tobytes()
        np.testing.assert_allclose(ours[name]["kernel"], w, rtol=1e-5)


def test_the_record_names_the_file_and_its_digest(finished: Path, net: Path) -> None:
    start = read_record(finished / "record.json").start
    assert start is not None
    assert (start.file, start.num_classes) == ("net/model.safetensors", 7)
    assert start.digest == hashlib.sha256((net / "model.safetensors").read_bytes()).hexdigest()[:16]


def test_a_run_leaves_its_net_with_all_that_using_it_takes(finished: Path, program: Program, net: Path) -> None:
    left = files.load(finished)
    assert left.class_names == tuple("0123456789")
    assert (left.preprocessing.resize, left.preprocessing.shape) == (8, (8, 8, 1))
    assert left.preprocessing.normalization.mean.ravel() == [0.3]
    assert left.origin.file == "finished"
    assert left.origin.digest == read_record(finished / "record.json").final_fingerprint
    # Its frozen part is still the file's, and it predicts what the record says.
    np.testing.assert_array_equal(left.arrays["stem_conv/kernel"], files.load(net).arrays["stem_conv/kernel"])
    test = program.assembly.dataset.test
    x = jnp.asarray((test.images / 255.0 - 0.3) / 0.4, jnp.float32)
    logits = build(left.model).apply(jax.device_put(left.variables()), x, train=False)
    final = read_record(finished / "record.json").final
    assert final is not None
    assert float((np.asarray(logits).argmax(1) != test.labels).mean()) == pytest.approx(final.test_error, abs=1e-9)


def test_an_interrupted_run_ends_as_one_that_was_not(config: ExperimentConfig, finished: Path, tmp_path: Path) -> None:
    asked = itertools.count(1)
    with pytest.raises(Interrupted):
        run(config, tmp_path / "run", study="test", stop=lambda: next(asked) >= 13)
    again = run(config, tmp_path / "run", study="test")
    whole = read_record(finished / "record.json")
    assert (again.final_fingerprint, again.start) == (whole.final_fingerprint, whole.start)


def test_other_weights_under_the_same_name_are_another_run(config: ExperimentConfig, net: Path, tmp_path: Path) -> None:
    place = tmp_path / "net"
    changed = override(config, {"finetune.weights": str(place)})
    files.save(files.load(net), place)
    asked = itertools.count(1)
    with pytest.raises(Interrupted):
        run(changed, tmp_path / "run", study="test", stop=lambda: next(asked) >= 2)
    files.save(dataclasses.replace(random_weights(NET, channels=1, seed=1), preprocessing=NORMALIZED), place)
    with pytest.raises(UserError, match=r"a checkpoint of another run: finetune\.digest is '\w{16}'"):
        run(changed, tmp_path / "run", study="test")


def test_a_finished_run_does_not_count_for_other_weights_at_the_same_place(
    config: ExperimentConfig, net: Path, finished: Path, tmp_path: Path
) -> None:
    place, there = tmp_path / "net", tmp_path / "run"
    changed = override(config, {"finetune.weights": str(place)})
    files.save(files.load(net), place)
    record = read_record(finished / "record.json")
    there.mkdir()
    (there / "record.json").write_text(record_to_json(dataclasses.replace(record, config=changed)))
    assert run(changed, there, study="test").final_fingerprint == record.final_fingerprint
    files.save(dataclasses.replace(random_weights(NET, channels=1, seed=1), preprocessing=NORMALIZED), place)
    run_directory._digest.cache_clear()  # one command reads a file once
    with pytest.raises(UserError, match=r"a run that started from another net, with digest \w{16}"):
        run(changed, there, study="test")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"model.depth": 14},
            r"finetune\.weights: net/model\.safetensors holds resnet-8 .* use --model\.depth=8\.",
        ),
        ({"model.width": None, "model.shortcut": "B"}, r"use --model\.shortcut=A .*--model\.width=4\."),
        ({"finetune.weights": "nowhere"}, "nowhere: there is no such file or folder"),
        # A field that is not set in the file's net, and one of several values, as the command line takes them.
        ({"model.skip_init": 0.5}, r"use --model\.skip-init=None\."),
        ({"model.cut": ("stage2", "stage3_block1")}, r"use --model\.cut\."),
    ],
)
def test_a_net_that_is_not_the_run_s(
    changes: dict[str, Any], sentence: str, config: ExperimentConfig, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=sentence):
        run(override(config, changes), tmp_path / "run", study="test")
    assert list(tmp_path.iterdir()) == []


def test_a_net_of_other_images(config: ExperimentConfig, tmp_path: Path) -> None:
    files.save(random_weights(NET), tmp_path / "net")
    with pytest.raises(UserError, match=r"takes images of 3 channels, but the images of digits have 1"):
        prepare(override(config, {"finetune.weights": str(tmp_path / "net")}))
    rng = np.random.default_rng(0)
    image = normalization(ArraySource(rng.integers(0, 256, (3, 9, 9, 1), np.uint8), np.zeros(3, np.int32)), SMALL.data)
    mean_image = dataclasses.replace(NORMALIZED, resize=9, height=9, width=9, normalization=image)
    files.save(dataclasses.replace(random_weights(NET, channels=1), preprocessing=mean_image), tmp_path / "net")
    with pytest.raises(UserError, match=r"the mean image of net/model\.safetensors has 9x9 pixels"):
        prepare(override(config, {"finetune.weights": str(tmp_path / "net")}))


def test_the_advice_for_several_values_can_be_pasted(config: ExperimentConfig, tmp_path: Path) -> None:
    cut = dataclasses.replace(NET, cut=("stage2", "stage3_block1"))
    files.save(dataclasses.replace(random_weights(cut, channels=1), preprocessing=NORMALIZED), tmp_path / "net")
    with pytest.raises(UserError, match=r"use --model\.cut stage2 stage3_block1\.$"):
        prepare(override(config, {"finetune.weights": str(tmp_path / "net")}))


def test_a_net_without_a_last_layer_gets_a_new_one(config: ExperimentConfig, net: Path, tmp_path: Path) -> None:
    whole = files.load(net)
    arrays = {name: array for name, array in whole.arrays.items() if not name.startswith("head/")}
    headless = dataclasses.replace(
        whole, model=dataclasses.replace(whole.model, num_classes=None), arrays=arrays, class_names=()
    )
    files.save(headless, tmp_path / "net")
    with_head, without = (
        prepare(override(config, {"finetune.weights": str(place)})).assembly for place in (net, tmp_path / "net")
    )
    jax.tree.map(np.testing.assert_array_equal, with_head.initial.params, without.initial.params)
    assert without.pretrained is not None
    assert without.pretrained.facts.num_classes == 0
