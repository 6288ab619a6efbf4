"""Mixtures against the same in NumPy; their draws by example, and by the distributions of the papers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from resnet_jax.data.augment import draw as draw_crops
from resnet_jax.data.mix import Mix, blend, draw, partners

KEY = jax.random.key(7)


def drawn(examples: int, *, mixup: float = 0.0, cutmix: float = 0.0, size: tuple[int, int] = (8, 6)) -> Mix:
    epoch, index = jnp.zeros(examples, jnp.int32), jnp.arange(examples, dtype=jnp.int32)
    mix = draw(KEY, epoch, index, size=size, mixup=mixup, cutmix=cutmix, dtype=jnp.dtype("float32"))
    found: Mix = jax.tree.map(np.asarray, mix)
    return found


def test_partners_are_neighbours() -> None:
    assert partners(jnp.arange(6)).tolist() == [1, 0, 3, 2, 5, 4]


@pytest.mark.parametrize(("mixup", "cutmix"), [(0.4, 0.0), (0.0, 1.0), (0.4, 1.0)])
@pytest.mark.usefixtures("x64")
def test_images_are_blended_and_pasted_as_in_numpy(mixup: float, cutmix: float) -> None:
    images = np.random.default_rng(0).normal(size=(20, 8, 6, 2))
    epoch, index = jnp.arange(20, dtype=jnp.int32) // 7, jnp.arange(20, dtype=jnp.int32) * 31
    mix = draw(KEY, epoch, index, size=(8, 6), mixup=mixup, cutmix=cutmix, dtype=jnp.dtype("float64"))
    found = np.asarray(blend(jnp.asarray(images), mix))
    pasted, blended = 0, 0
    for i in range(20):
        own, partner, weight = images[i], images[i ^ 1], float(mix.weight[i])
        top, bottom, left, right = (int(end) for end in mix.box[i])
        expected = weight * own + (1.0 - weight) * partner
        expected[top:bottom, left:right] = partner[top:bottom, left:right]
        np.testing.assert_allclose(found[i], expected, rtol=1e-12, atol=1e-12)
        area = (bottom - top) * (right - left)
        assert float(mix.share[i]) == pytest.approx(weight if weight < 1.0 else 1.0 - area / 48)
        pasted, blended = pasted + (area > 0), blended + (weight < 1.0)
    assert (pasted > 0, blended > 0) == (cutmix > 0.0, mixup > 0.0)


def test_with_the_whole_weight_an_image_stays_as_it_is_to_the_bit() -> None:
    images = np.random.default_rng(0).normal(size=(6, 4, 4, 1)).astype(np.float32)
    none = Mix(jnp.ones(6), jnp.zeros((6, 4), jnp.int32), jnp.ones(6))
    np.testing.assert_array_equal(np.asarray(blend(jnp.asarray(images), none)), images)


@pytest.mark.parametrize("alpha", [0.2, 1.0])
def test_weights_are_beta_distributed(alpha: float) -> None:
    weights = drawn(2_000, mixup=alpha).weight
    assert stats.kstest(weights, stats.beta(alpha, alpha).cdf).pvalue > 0.01


def test_boxes_are_those_of_the_paper() -> None:
    """On a large image, so that rounding to pixels is small: sides sqrt(1 - weight), centres anywhere."""
    size = 10_000
    mix = drawn(2_000, cutmix=1.0, size=(size, size))
    top, bottom, left, right = (mix.box[:, i] / size for i in range(4))
    inside = (top > 0) & (bottom < 1) & (left > 0) & (right < 1)
    # A square where it is not cut off at the image's edge, with the area that the labels are mixed by.
    np.testing.assert_allclose((bottom - top)[inside], (right - left)[inside], atol=1e-6)
    np.testing.assert_allclose(mix.share, 1.0 - (bottom - top) * (right - left), atol=1e-3)
    # By the paper's Eq. 2: a side of sqrt(u), u uniform, centred uniformly, cut off at the edge.
    rng = np.random.default_rng(0)
    half, centre = np.sqrt(rng.uniform(size=20_000)) / 2, rng.uniform(size=20_000)
    sides = np.minimum(centre + half, 1.0) - np.maximum(centre - half, 0.0)
    assert stats.ks_2samp(bottom - top, sides).pvalue > 0.01
    assert stats.ks_2samp(right - left, sides).pvalue > 0.01
    assert np.all(mix.weight == 1.0)


def test_with_both_each_image_has_one_of_them_and_half_have_each() -> None:
    mix = drawn(2_000, mixup=1.0, cutmix=1.0)
    cut, blended = mix.weight == 1.0, (mix.box == 0).all(axis=1)
    assert np.all(cut | blended)
    assert 900 < cut.sum() < 1_100


def test_a_mixture_depends_on_the_example_and_its_epoch_alone() -> None:
    epoch, index = jnp.asarray([3, 3, 4, 4], jnp.int32), jnp.asarray([10, 11, 10, 11], jnp.int32)
    options = {"size": (8, 8), "mixup": 0.3, "cutmix": 0.7, "dtype": jnp.dtype("float32")}
    together = draw(KEY, epoch, index, **options)  # type: ignore[arg-type]
    for i in range(4):
        alone = draw(KEY, epoch[i : i + 1], index[i : i + 1], **options)  # type: ignore[arg-type]
        for a, b in zip(together, alone, strict=True):
            assert np.asarray(a)[i].tobytes() == np.asarray(b)[0].tobytes()
    assert len({float(share) for share in together.share}) > 2


def test_mixtures_do_not_follow_the_crops() -> None:
    index = jnp.arange(2_000, dtype=jnp.int32)
    offsets, flips = draw_crops(KEY, jnp.zeros(2_000, jnp.int32), index, pad=4)
    weights = drawn(2_000, mixup=1.0).weight
    for other in (np.asarray(offsets)[:, 0], np.asarray(offsets)[:, 1], np.asarray(flips)):
        assert abs(np.corrcoef(weights, other)[0, 1]) < 0.08  # 3.6 standard errors
