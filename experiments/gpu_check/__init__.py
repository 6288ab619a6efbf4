"""What to run first on a new GPU: `python -m experiments.gpu_check`.

| file       | what                                                                            |
|------------|---------------------------------------------------------------------------------|
| `__main__` | the command: options, the order of the parts, the exit status                    |
| `plan`     | the parts in order of importance, with their sizes for a GPU and for a CPU       |
| `check`    | runs one part after another, and keeps the record                                |
| `parts`    | what each kind of part does                                                      |
| `tests`    | the tests of tests/gpu in a process of their own                                 |
| `screen`   | the tables at the end                                                            |

Times are taken by experiments/benchmark, and the record is one of its records with more in it: `python -m
experiments.benchmark --render FILE` prints its tables as Markdown.
"""
