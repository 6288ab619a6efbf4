"""A check to run first on a machine with a new GPU: `python -m experiments.gpu_check`.

The check has parts, each of which runs tests or measures times. The times are measured by experiments/benchmark. The
record has all fields of a benchmark record and some more, so `python -m experiments.benchmark --render FILE` prints its
tables as Markdown.

| file       | what it contains                                                               |
|------------|--------------------------------------------------------------------------------|
| `__main__` | the command: options and exit status                                           |
| `plan`     | the parts in order of importance, with their sizes for a GPU and for a CPU     |
| `check`    | runs the parts one after another, and writes the record                        |
| `parts`    | a class for each kind of part                                                  |
| `tests`    | runs the tests of tests/gpu in a separate process                              |
| `screen`   | the tables at the end                                                          |
"""
