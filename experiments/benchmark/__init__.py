"""Measures speed, beside other libraries and beside the limits of the device: `python -m experiments.benchmark`.

| file            | what                                                                                   |
|-----------------|----------------------------------------------------------------------------------------|
| `__main__`      | the command: its cases, and the contestants of each case                                |
| `options`       | options of the command, and the checks on them                                          |
| `spec`          | the task of one contestant, as plain data                                               |
| `race`          | starts a process for each contestant, and times them in turn                            |
| `worker`        | the process of a contestant: builds it, warms it up, and steps on request               |
| `contestants`   | the steps of this project and of the Flax net                                           |
| `torch_contestant` | the steps of PyTorch                                                                |
| `noise`         | the batch of noise for all contestants                                                  |
| `device`        | facts about the device: driver, libraries, precision of float32 products                |
| `breakdown`     | the parts of a train step's time: on the host, and in the device's kernels              |
| `convolutions`  | single convolutions and their gradients, beside JAX's convolutions                      |
| `input`         | reading and decoding image files, by this project and by other loaders                  |
| `limits`        | the device's highest rates, and the work of a step                                      |
| `results`       | computes medians, ratios and shares from times                                          |
| `table`         | makes tables from results                                                               |
| `peers`         | the nets and loaders of the peers                                                       |
"""
