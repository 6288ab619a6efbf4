"""The speed benchmark: `python -m experiments.benchmark`.

It compares the speed of this project with the speed of other libraries (the peers) and with the device's limits. A
contestant is one program whose steps are timed: this project's net, or a peer's net. A case is one net with one batch
size, image shape, dtype and phase (train or eval).

| file               | what it contains                                                              |
|--------------------|-------------------------------------------------------------------------------|
| `__main__`         | the command: its cases, and the contestants of each case                      |
| `options`          | options of the command, and the checks on them                                |
| `spec`             | the description of one contestant, as plain data                              |
| `race`             | starts a process for each contestant, and times the contestants round by round |
| `worker`           | the program of such a process: builds a contestant, and runs steps on request |
| `contestants`      | the contestants that use JAX: this project's nets, and Flax nets              |
| `torch_contestant` | the contestants that use PyTorch                                              |
| `noise`            | the batch of random images on which all contestants compute                   |
| `device`           | facts about the device: driver, libraries, precision of float32 products      |
| `breakdown`        | the time of a train step, divided into the host's time and the device's time  |
| `convolutions`     | times of this project's convolutions, compared with JAX's convolutions        |
| `input`            | times of reading and decoding image files, compared with other loaders        |
| `processes`        | times of train steps in one process and in two                                |
| `limits`           | measures the highest rates; computes multiply-adds and bytes of a step        |
| `results`          | computes medians, ratios and shares from times                                |
| `table`            | makes tables from results                                                     |
| `peers`            | the nets and image loaders of the peers                                       |
"""
