"""Errors and suggestions as parts of a sentence."""

import errno

import pytest

from resnet_jax.errors import UserError
from resnet_jax.text import LONGEST, nearest, reason, sentence


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/a/b"), "No space left on device"),
        (ValueError("first line:\nsecond"), "first line"),
        (ValueError("  much   room. "), "much room"),
        (KeyError(), "KeyError"),
        (ValueError("x" * 1000), "x" * LONGEST),
    ],
)
def test_a_reason_is_one_line_without_a_full_stop(error: Exception, said: str) -> None:
    assert reason(error) == said


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (UserError("depth: got 57; legal: 56."), "depth: got 57; legal: 56."),
        (KeyboardInterrupt(), "interrupted"),
        (OSError(errno.ENOSPC, "No space left on device", "/a/b"), "/a/b: No space left on device"),
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device"),
        (ZeroDivisionError("division by zero\nmore"), "ZeroDivisionError: division by zero"),
    ],
)
def test_an_error_in_a_line(error: BaseException, said: str) -> None:
    assert sentence(error) == said


def test_the_nearest_name_or_all_of_them() -> None:
    assert nearest("deptf", ["depth", "width"]) == "did you mean 'depth'?"
    assert nearest("zzz", ["width", "depth"]) == "legal: depth, width."
