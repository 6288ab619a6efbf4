"""A plot shows what it is given."""

from experiments.sketch import HEIGHT, WIDTH, plot, positions


def test_columns_go_from_the_first_step_to_the_last() -> None:
    for steps in (1, 2, 59, 60, 61, 64_000):
        found = positions(steps)
        assert (found[0], found[-1], len(found)) == (0, steps - 1, min(steps, WIDTH))
        assert found == sorted(set(found))


def test_each_column_has_one_point_at_its_height() -> None:
    values = [0.1, 0.1, 0.05, 0.0]
    *rows, axis, ends = plot(values, last=1_000).splitlines()
    assert len(rows) == HEIGHT
    columns = ["".join(row.ljust(15)[11 + i] for row in rows) for i in range(4)]
    assert [column.index("*") for column in columns] == [0, 0, 3, 7]
    assert all(column.count("*") == 1 for column in columns)
    assert rows[0].split("|")[0].strip() == "0.1"
    assert rows[-1].split("|")[0].strip() == "0"
    assert axis.endswith("+----")
    assert ends.split() == ["0", "1,000", "steps"]


def test_nothing_but_zeros_can_be_drawn() -> None:
    assert plot([0.0, 0.0], last=2).count("*") == 2
