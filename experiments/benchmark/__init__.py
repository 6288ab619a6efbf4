"""How fast is it, against whom, and how far from the limit? `python -m experiments.benchmark`.

| file            | what                                                                                   |
|-----------------|----------------------------------------------------------------------------------------|
| `__main__`      | the command: its cases, and the contestants of each                                     |
| `options`       | its options, and the checks on them                                                     |
| `spec`          | what one contestant is told to do, as plain data                                        |
| `race`          | contestants in processes of their own, timed in turn                                    |
| `worker`        | such a process: it builds its contestant, warms it up and steps when told               |
| `contestants`   | the step of this project, and that of the Flax net                                      |
| `torch_contestant` | the steps of PyTorch                                                                |
| `noise`         | the batch of noise that all step on                                                     |
| `device`        | the device itself: driver, libraries, the arithmetic of float32                        |
| `breakdown`     | where the time of a train step goes: the host's part, the device's kernels              |
| `convolutions`  | single convolutions and their gradients, beside JAX's own                               |
| `input`         | images made from files, by this project and by other loaders                            |
| `limits`        | what the device can do at most, and what a step asks of it                              |
| `results`       | from times to medians, ratios and shares                                                |
| `table`         | from results to tables                                                                  |
| `peers`         | the nets of the peers                                                                   |
"""
