"""Formats numbers as text: errors in per cent, differences in percentage points, counts and durations."""

from resnet_jax.reports.stats import Difference, Interval, Summary

MINUS, TIMES, EN_DASH = "\N{MINUS SIGN}", "\N{MULTIPLICATION SIGN}", "\N{EN DASH}"
NOTHING = EN_DASH


def percent(fraction: float, signed: bool = False) -> str:
    """Formats a fraction in per cent, with two decimals and without "%". With `signed`, the sign is always shown."""
    text = f"{100.0 * fraction:+.2f}" if signed else f"{100.0 * fraction:.2f}"
    # A rounded zero has no sign.
    text = "0.00" if float(text) == 0.0 else text
    return text.replace("-", MINUS)


def summary_text(summary: Summary) -> str:
    """Formats mean and standard deviation in per cent, such as "12.34 ± 0.56". One seed has no standard deviation."""
    return percent(summary.mean) + (f" ± {percent(summary.std)}" if summary.std is not None else "")


def difference_text(difference: Difference | None) -> str:
    """Formats the mean and standard deviation of a difference, such as "+12.34 ± 0.56".

    If there are too few pairs for an interval, gives the difference of each pair instead: "+11.20 and +13.60".
    """
    if difference is None:
        return NOTHING
    if difference.too_few_pairs:
        return both(difference, signed=True)
    spread = f" ± {percent(difference.std)}" if difference.std is not None else ""
    return percent(difference.mean, signed=True) + spread


def both(difference: Difference, signed: bool = False) -> str:
    """Formats the difference of each pair, ordered by seed, such as "+56.20 and +79.60"."""
    return listed([percent(value, signed) for value in difference.values])


def points(difference: Difference, signed: bool = False) -> str:
    """Formats the mean of a difference, such as "12.34 points".

    If there are too few pairs for an interval, gives the difference of each pair instead: "56.20 and 79.60 points".
    """
    if difference.too_few_pairs:
        return f"{both(difference, signed or difference.on_both_sides)} points"
    return f"{percent(difference.mean, signed)} points"


def interval_text(interval: Interval) -> str:
    """Formats an interval in percentage points, such as "+1.20 to +3.40"."""
    return f"{percent(interval.low, signed=True)} to {percent(interval.high, signed=True)}"


def interval_cell(difference: Difference | None) -> str:
    """Formats the interval of a difference for a table cell; "too few seeds" if there is no interval."""
    if difference is None:
        return NOTHING
    return "too few seeds" if difference.interval is None else interval_text(difference.interval)


def interval_words(difference: Difference) -> str:
    """Formats the interval of a difference in brackets, for a sentence, or gives the reason why there is none."""
    if difference.interval is None:
        if not difference.paired:
            return "(too few seeds for an interval)"
        return "(one seed, no interval)" if difference.n == 1 else "(two seeds; too few seeds for an interval)"
    how = f"{difference.n} pairs by seed" if difference.paired else "unpaired, Welch"
    return f"(95 % interval {interval_text(difference.interval)}, {how})"


def diverged_text(diverged: int, runs: int) -> str:
    """Formats the number of diverged runs, such as "diverged (1 of 3)"."""
    return f"diverged ({diverged} of {runs})"


def count(number: int) -> str:
    """Formats a whole number with commas between thousands."""
    return f"{number:,}"


def seconds(value: float) -> str:
    """Formats a duration, such as "41.5 s", "3 min 05 s" or "2 h 10 min"."""
    if value < 60.0:
        return f"{value:.1f} s"
    whole = round(value)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = round(value / 60.0)
    return f"{minutes // 60} h {minutes % 60:02d} min"


def listed(items: list[str]) -> str:
    """Joins words, such as "a", "a and b", or "a, b and c"."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def shortened(label: str, most: int = 4) -> str:
    """Shortens a list of fields to `most` parts, such as "mixup: 0.2; cutmix: 1; nesterov: yes; 7 more"."""
    parts = label.split("; ")
    return label if len(parts) <= most else "; ".join([*parts[: most - 1], f"{len(parts) - most + 1} more"])


def nets(net: str) -> str:
    """The plural for a kind of net, such as "plain nets", "residual nets" or "resnet-B nets"."""
    return {"plain": "plain nets", "resnet": "residual nets"}.get(net, f"{net} nets")
