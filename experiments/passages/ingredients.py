"""The table in docs/results.md of training techniques that the papers do not have, such as mixup ("ingredients").

The numbers come from the records of the study digits-modern (experiments/studies/modern.py).
"""

from pathlib import Path

from experiments.studies import studies
from experiments.studies.modern import DIGITS
from experiments.study import variant_name
from resnet_jax.config import override
from resnet_jax.record import RECORD_FILE, read_record
from resnet_jax.reports.stats import Summary, paired_difference
from resnet_jax.reports.text import NOTHING, difference_text, interval_cell, summary_text

RECORDS = Path(__file__).parents[1] / "records" / "digits-modern"
HEADERS = ("net", "ingredient", "seeds", "test error, %", "minus the papers' recipe", "95 % interval", "test loss")


def ingredients() -> str:
    """A table with a row for each net and variant: the papers' recipe, one technique added, or all techniques added.

    Variants without a finished run are left out. Each test error is compared with the error of the same net
    with the papers' recipe. The difference is paired by seed.
    """
    (study, _) = studies()["digits-modern"]
    lines = [f"| {' | '.join(HEADERS)} |", "| --- | --- | ---: | ---: | ---: | ---: | ---: |"]
    for depth in (20, 56):
        base: dict[int, float] = {}
        variants = [variant for variant in study.variants if variant["model.depth"] == depth]
        for name, changes in zip(("none: the papers' recipe", *DIGITS, "all together"), variants, strict=True):
            folder = variant_name(override(study.base, changes), changes)
            finals = {}
            for seed in study.seeds:
                file = RECORDS / f"{folder}-seed{seed}" / RECORD_FILE
                final = read_record(file).final if file.exists() else None
                if final is not None:
                    finals[seed] = final
            if not finals:
                continue
            errors = {seed: final.test_error for seed, final in finals.items()}
            losses = Summary(tuple(final.test_loss for final in finals.values()))
            apart = paired_difference(errors, base) if base else None
            base = base or errors
            cells = [f"resnet-{depth}", name, str(len(finals)), summary_text(Summary(tuple(errors.values())))]
            cells += [difference_text(apart), interval_cell(apart) if apart else NOTHING, f"{losses.mean:.3f}"]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
