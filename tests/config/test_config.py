"""Configurations: checked when built, changed by name, the same after a round trip."""

import dataclasses
import json
import re

import pytest

from resnet_jax.config import (
    BatchNormConfig,
    DataConfig,
    ExperimentConfig,
    ModelConfig,
    OptimConfig,
    ParallelConfig,
    TrainConfig,
    from_dict,
    override,
    to_dict,
)
from resnet_jax.errors import UserError
from resnet_jax.record import differences
from resnet_jax.training.checkpoints import identity


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"model.depth": 57}, "model.depth: got 57; legal: 6n+2 with basic blocks, here 56 or 62."),
        ({"model.depth": 2}, "model.depth: got 2; legal: 6n+2 with basic blocks, here 8."),
        ({"model.depth": 58, "model.block": "bottleneck"}, "here 56 or 65"),
        (
            {"model.depth": 3, "model.block": "bottleneck"},
            "model.depth: got 3; legal: 9n+2 with bottleneck blocks, here 11",
        ),
        ({"model.family": "imagenet"}, "model.depth: got 20; legal: 18, 34, 50, 101, 152."),
        ({"model.family": "imagenet", "model.depth": 18, "model.block": "bottleneck"}, "'auto' or 'basic' at depth 18"),
        ({"model.shortcut": "D"}, "model.shortcut: got 'D'; legal: 'none', 'A', 'B', 'C', 'identity', 'scale', "),
        ({"model.shortcut": None}, "model.shortcut: got None; legal: 'none', 'A', 'B', 'C', 'identity', 'scale', "),
        ({"model.shortcut_scale": -1}, "model.shortcut_scale: got -1.0; legal: a number of at least 0."),
        ({"model.shortcut_dropout": 1.0}, "model.shortcut_dropout: got 1.0; legal: 0 <= shortcut_dropout < 1."),
        ({"model.shortcut_scale": 0.3}, "got 0.3, which has an effect only with model.shortcut='sc"),
        (
            {"model.gate_bias": -3, "model.shortcut": "none"},
            "model.gate_bias: got -3.0, which has an effect only with model.shortcut=",
        ),
        ({"model.shortcut_dropout": 0.1, "model.shortcut": "C"}, "model.shortcut_dropout: got 0.1, which has"),
        ({"model.survival": 0}, "model.survival: got 0.0; legal: 0 < survival <= 1."),
        (
            {"model.survival": 0.5, "model.shortcut": "none"},
            "model.survival: got 0.5; legal: 1, because blocks",
        ),
        (
            {"model.survival": 0.5, "model.cut": ("stage1",)},
            "model.survival: got 0.5; legal: 1, because blocks",
        ),
        ({"model.widen": 0}, "model.widen: got 0; legal: a whole number above 0."),
        (
            {"model.zero_gamma": True, "model.shortcut": "none"},
            "model.zero_gamma: got True; legal: False, because blocks",
        ),
        ({"model.zero_gamma": True, "model.activation_order": "full_preactivation"}, "model.skip_init=0 can be used"),
        ({"model.skip_init": 0, "model.cut": ("stage1",)}, "model.skip_init: got 0.0; legal: None, or another number"),
        ({"model.skip_init": "no"}, "model.skip_init: got 'no'; legal: a value of type float."),
        (
            {"model.cut": ("stage1", "stage4")},
            "model.cut: got 'stage4'; legal: 'stage1' to 'stage3', a block such as 'stage2_block1' "
            "(the stages have 3, 3, 3 blocks), 'every-K' for a K of at most 9.",
        ),
        ({"model.cut": ("stage2_block4",)}, "model.cut: got 'stage2_block4'"),
        (
            {"model.cut": ("stage1",), "model.shortcut": "none"},
            "model.cut: got ('stage1',), which has an effect only with",
        ),
        ({"model.cut": ("every-10",)}, "model.cut: got 'every-10'"),
        ({"model.cut": ("every-0",)}, "model.cut: got 'every-0'"),
        ({"model.cut": "stage1"}, "model.cut: got 'stage1'; legal: a list of str."),
        ({"model.depth": "56"}, "model.depth: got '56'; legal: a value of type int."),
        ({"model.depth": True}, "model.depth: got True; legal: a value of type int."),
        ({"model.depth": 20.0}, "model.depth: got 20.0; legal: a value of type int."),
        ({"model.width": 0}, "model.width: got 0"),
        ({"model.norm.momentum": 1.0}, "model.norm.momentum: got 1.0; legal: 0 <= momentum < 1."),
        ({"model.norm.epsilon": 0}, "model.norm.epsilon: got 0.0; legal: a number above 0."),
        ({"optim.learning_rate": float("nan")}, "optim.learning_rate: got nan; legal: a finite number."),
        ({"optim.learning_rate": -1}, "optim.learning_rate: got -1.0"),
        ({"optim.milestones": (5, 3)}, "optim.milestones: got (5, 3)"),
        ({"optim.milestones": 5}, "optim.milestones: got 5; legal: a list of numbers."),
        (
            {"optim.milestones": (1, 2.5)},
            "optim.milestones: got (1, 2.5); legal: iterations (whole numbers above 0) or",
        ),
        ({"optim.milestones": (0.5, 48_000)}, "optim.milestones: got (0.5, 48000); legal: iterations"),
        ({"optim.milestones": (0.5, 0.5)}, "optim.milestones: got (0.5, 0.5); legal: iterations"),
        ({"optim.milestones": (0.5, 1.0)}, "optim.milestones: got (0.5, 1.0); legal: iterations"),
        ({"optim.milestones": (0, 3)}, "optim.milestones: got (0, 3); legal: iterations"),
        ({"optim.milestones": ("half",)}, "optim.milestones[0]: got 'half'; legal: a value of type float."),
        ({"optim.warmup_iterations": 0}, "optim.warmup_iterations: got 0; legal: a whole number of iterations above 0"),
        ({"optim.warmup_iterations": 1.0}, "optim.warmup_iterations: got 1.0; legal: a whole number of iterations"),
        ({"optim.clip_norm": 0.0}, "optim.clip_norm: got 0.0; legal: a number above 0, or None."),
        ({"optim.label_smoothing": 1.0}, "optim.label_smoothing: got 1.0; legal: 0 <= label_smoothing < 1."),
        ({"optim.ema": 1.0}, "optim.ema: got 1.0; legal: 0 <= ema < 1, or None."),
        ({"data.mixup": -0.1}, "data.mixup: got -0.1; legal: a number of at least 0."),
        ({"data.cutmix": -1}, "data.cutmix: got -1.0; legal: a number of at least 0."),
        (
            {"data.mixup": 0.2, "train.batch_size": 12, "parallel.devices": 4, "model.norm.scope": "global"},
            "train.batch_size: got 12, so each device gets 3 images at once; legal: a multiple of 8, because",
        ),
        ({"optim.warmup": "yes"}, "optim.warmup: got 'yes'; legal: 'none', 'iterations', 'error', 'linear'."),
        ({"train.iterations": 0}, "train.iterations: got 0; legal: a whole number above 0."),
        ({"train.batch_size": 127, "parallel.devices": 2}, "train.batch_size: got 127, which parallel.devices=2"),
        ({"train.batch_size": 9, "parallel.devices": 8}, "legal: a multiple of 8, such as 8."),
        (
            {"train.batch_size": 100, "parallel.devices": 2, "train.accumulation": 4},
            "parallel.devices=2 times train.accumulation=4 does not divide; legal: a multiple of 8, such as 96.",
        ),
        (
            {"train.accumulation": 4, "model.norm.scope": "ghost", "model.norm.ghost_size": 64},
            "does not divide the 32 images that each device gets at once (train.batch_size=128)",
        ),
        ({"train.accumulation": 0}, "train.accumulation: got 0; legal: a whole number above 0."),
        ({"model.norm.scope": "ghost", "model.norm.ghost_size": 48}, "legal: a divisor of 128."),
        ({"parallel.mode": "pmpa"}, "legal: 'jit', 'shard_map', 'pmap'."),
        ({"parallel.devices": 0}, "parallel.devices: got 0"),
        ({"seed": -1}, "seed: got -1"),
        (
            {"finetune.frozen_stages": 1},
            "got 1, which has an effect only with finetune.weights; leave",
        ),
        ({"finetune.stage_rates": (1, 1, 1)}, "finetune.stage_rates: got (1.0, 1.0, 1.0), which has an effect"),
        ({"data.normalize": "weights"}, "data.normalize: got 'weights', but finetune.weights is None"),
        (
            {"finetune.weights": "net", "finetune.frozen_stages": 4},
            "finetune.frozen_stages: got 4; legal: 0 to 3, the net's stages.",
        ),
        (
            {"finetune.weights": "net", "finetune.stage_rates": (1, 1)},
            "finetune.stage_rates: got 2 numbers; legal: 3, one for each stage of the net.",
        ),
        ({"finetune.weights": "net", "finetune.stage_rates": (0, 1, 1)}, "legal: numbers above 0."),
        (
            {"finetune.weights": "net", "finetune.frozen_stages": 2, "finetune.stage_rates": (1, 9, 1)},
            "finetune.stage_rates: got 1.0, 9.0, 1.0; legal: 1 for the first 2 of them",
        ),
        ({"model.depht": 56}, "model.depht: no such field; did you mean 'model.depth'?"),
        ({"model.norm.momentun": 0.5}, "did you mean 'model.norm.momentum'?"),
        ({"depth.model": 56}, "depth.model: no such field"),
    ],
)
def test_an_illegal_value_gets_a_sentence_with_field_value_and_what_is_legal(
    changes: dict[str, object], sentence: str
) -> None:
    with pytest.raises(UserError, match=re.escape(sentence)):
        override(ExperimentConfig(), changes)


def test_round_trip_through_json() -> None:
    config = override(
        ExperimentConfig(),
        {"model.depth": 110, "model.width": 8, "optim.milestones": (1, 2, 3), "optim.learning_rate": 1},
    )
    assert from_dict(json.loads(json.dumps(to_dict(config)))) == config
    assert config.optim.milestones == (1, 2, 3)
    assert isinstance(config.optim.learning_rate, float)


def test_unknown_field_in_a_file_is_named() -> None:
    values = to_dict(ExperimentConfig())
    values["optim"]["lookahead"] = True
    with pytest.raises(UserError, match=r"optim\.lookahead: no such field"):
        from_dict(values)


def test_overriding_is_checked_as_a_whole() -> None:
    # Each of the two changes alone would be illegal.
    config = override(ExperimentConfig(), {"model.family": "imagenet", "model.depth": 50})
    assert config.model.block_kind == "bottleneck"


@pytest.mark.parametrize(
    ("model", "blocks", "widths"),
    [
        (ModelConfig(depth=20), (3, 3, 3), (16, 32, 64)),
        (ModelConfig(depth=56, width=8), (9, 9, 9), (8, 16, 32)),
        (ModelConfig(depth=1202), (200, 200, 200), (16, 32, 64)),
        (ModelConfig(depth=164, block="bottleneck"), (18, 18, 18), (16, 32, 64)),
        (ModelConfig(family="imagenet", depth=34), (3, 4, 6, 3), (64, 128, 256, 512)),
        (ModelConfig(family="imagenet", depth=152), (3, 8, 36, 3), (64, 128, 256, 512)),
    ],
)
def test_stages_follow_the_papers(model: ModelConfig, blocks: tuple[int, ...], widths: tuple[int, ...]) -> None:
    assert model.stage_blocks == blocks
    assert model.stage_widths == widths
    weighted = sum(blocks) * (2 if model.block_kind == "basic" else 3) + 2
    assert weighted == model.depth


def test_cuts_name_stages_blocks_and_every_kth_block() -> None:
    model = ModelConfig(depth=20, cut=("stage3", "stage1_block2", "every-4"))
    assert model.cut_blocks == {(1, 2), (2, 1), (3, 2), (3, 1), (3, 3)}
    assert [model.shortcut_of(block) for block in model.blocks] == ["A", "none", "A", "none", *"AA", *["none"] * 3]


def test_survival_decays_linearly_to_the_last_block() -> None:
    # Huang et al. 2016, Fig. 2: from 1 at the input to 0.5 at the last of 54 blocks.
    model = ModelConfig(depth=110, survival=0.5)
    assert [model.survival_of(number) for number in (0, 27, 54)] == [1.0, 0.75, 0.5]
    assert model.is_noisy
    assert not ModelConfig(depth=110).is_noisy


def test_what_records_of_earlier_versions_lack_is_off() -> None:
    values = to_dict(ExperimentConfig())
    for name in ("shortcut_scale", "residual_scale", "gate_bias", "shortcut_dropout", "cut", "survival", "skip_init"):
        del values["model"][name]
    del values["model"]["widen"]
    model = from_dict(values).model
    assert model == ModelConfig()
    assert (model.residual_scale, model.cut, model.survival, model.skip_init, model.widen) == (1.0, (), 1.0, None, 1)


def test_defaults_are_the_papers_recipe() -> None:
    # He et al. 2015, Sec. 4.2, written out again.
    assert OptimConfig() == OptimConfig(
        learning_rate=0.1, momentum=0.9, weight_decay=1e-4, milestones=(32_000, 48_000), decay_factor=0.1
    )
    assert (TrainConfig().iterations, TrainConfig().batch_size) == (64_000, 128)
    assert BatchNormConfig() == BatchNormConfig(momentum=0.9, epsilon=1e-5, scope="global")
    assert DataConfig().normalize == "pixel_mean"
    assert ParallelConfig() == ParallelConfig(mode="jit", devices=1)


@pytest.mark.parametrize(
    ("scope", "devices", "accumulation", "images"),
    [("global", 4, 1, 128), ("global", 4, 2, 64), ("device", 2, 1, 64), ("device", 2, 2, 32), ("ghost", 2, 1, 16)],
)
def test_the_images_that_share_batch_statistics(scope: str, devices: int, accumulation: int, images: int) -> None:
    changes = {"model.norm.scope": scope, "parallel.devices": devices, "train.accumulation": accumulation}
    groups = {"model.norm.ghost_size": 16} if scope == "ghost" else {}
    assert override(ExperimentConfig(), changes | groups).norm_batch == images


def test_how_a_run_runs_is_no_other_run_unless_batch_statistics_are_each_devices_own() -> None:
    one = ExperimentConfig()
    many = override(one, {"parallel.devices": 8, "parallel.mode": "pmap", "train.checkpoint_steps": 7})
    assert differences(one, many) == []
    own = {"model.norm.scope": "device"}
    assert differences(override(one, own), override(many, own)) == ["parallel.devices is 1, not 8"]
    # Parts of a batch are made of every device's share, so with "global" they are other images on other devices.
    parts = {"train.accumulation": 2}
    assert differences(override(one, parts), override(many, parts)) == ["parallel.devices is 1, not 8"]
    ghosts = parts | {"model.norm.scope": "ghost", "model.norm.ghost_size": 8}
    assert differences(override(one, ghosts), override(many, ghosts)) == []


def test_a_field_of_an_earlier_version_that_changed_no_result_is_read_over() -> None:
    values = to_dict(ExperimentConfig())
    values["train"]["checkpoint_every"] = 5
    assert from_dict(values) == ExperimentConfig()


def test_configurations_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        ModelConfig().depth = 56  # type: ignore[misc]


def test_a_whole_number_beyond_all_floats_is_refused_in_a_sentence() -> None:
    with pytest.raises(UserError, match=r"optim\.learning_rate: got inf; legal: a finite number"):
        override(ExperimentConfig(), {"optim.learning_rate": 10**400})


def test_shares_of_the_run_are_iterations_of_it() -> None:
    shares = override(
        ExperimentConfig(),
        {"optim.milestones": (0.5, 0.75), "optim.warmup": "linear", "optim.warmup_iterations": 0.05},
    )
    for iterations, milestones, length in ((64_000, (32_000, 48_000), 3_200), (240, (120, 180), 12), (3, (2, 3), 1)):
        config = override(shares, {"train.iterations": iterations})
        assert config.optim.milestones == (0.5, 0.75)  # as given
        resolved = config.in_iterations().optim
        assert (resolved.milestones, resolved.warmup_iterations) == (milestones, length)
    # A run of one step reaches none of them, and they still rise.
    assert override(shares, {"train.iterations": 1}).in_iterations().optim.milestones == (1, 2)


def test_a_run_is_the_same_whichever_way_its_milestones_are_written() -> None:
    base = {"train.iterations": 240}
    shares = override(ExperimentConfig(), {**base, "optim.milestones": (0.5, 0.75)})
    iterations = override(ExperimentConfig(), {**base, "optim.milestones": (120, 180)})
    assert differences(shares, iterations) == []
    assert identity(shares) == identity(iterations)
    other = override(shares, {"optim.milestones": (0.5, 0.8)})
    assert differences(other, iterations) == ["optim.milestones is [120, 192], not [120, 180]"]
    assert to_dict(from_dict(json.loads(json.dumps(to_dict(shares))))) == to_dict(shares)
