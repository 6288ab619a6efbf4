"""The check to run first on a new GPU: `python -m experiments.gpu_check`.

| file       | what                                                                            |
|------------|---------------------------------------------------------------------------------|
| `__main__` | the command: options, the order of the parts, the exit status                    |
| `plan`     | the parts in order of importance, with their sizes for a GPU and for a CPU       |
| `check`    | runs one part after another, and keeps the record                                |
| `parts`    | the kinds of parts: each measures, and adds to the record                        |
| `tests`    | the tests of tests/gpu, in a separate process                                    |
| `screen`   | the tables at the end                                                            |

experiments/benchmark takes the times. The record is a record of the benchmark with more fields, so `python -m
experiments.benchmark --render FILE` prints its tables as Markdown.
"""
