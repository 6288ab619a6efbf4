"""Numbers as a reader sees them."""

from resnet_jax.reports.text import percent, seconds


def test_numbers() -> None:
    assert [percent(x) for x in (0.12345, 0.0, -0.00001, -0.5)] == ["12.35", "0.00", "0.00", "−50.00"]  # noqa: RUF001
    assert percent(0.1, signed=True) == "+10.00"
    assert percent(0.00001, signed=True) == "0.00"
    assert [seconds(s) for s in (1.25, 59.9, 65, 3600, 9000)] == [
        "1.2 s",
        "59.9 s",
        "1 min 05 s",
        "1 h 00 min",
        "2 h 30 min",
    ]
