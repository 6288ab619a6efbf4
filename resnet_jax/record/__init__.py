"""The files of a run directory and their schema. Training writes these files, and reports read them.

A run directory `runs/<study>/<run>/` holds

| file              | content                                                                           |
|-------------------|-----------------------------------------------------------------------------------|
| `config.json`     | the run's ExperimentConfig, written first                                         |
| `metrics.jsonl`   | one `MetricsLine` per epoch, appended; interruptions do not change its content    |
| `gradients.jsonl` | one `GradientLine` every `train.gradient_norms_every` steps, appended             |
| `timings.jsonl`   | wall-clock seconds and sessions, which differ even between equal runs             |
| `record.json`     | the `RunRecord`, written last and atomically: a run with this file has ended      |
| `checkpoints/`    | checkpoints, from which an interrupted run resumes                                |
| `weights/`        | the net after the last step, in the format of resnet_jax.weights                  |

The file `runs/<study>/study.json` lists the names of the study's runs. This package does not import JAX.
"""

from resnet_jax.record.files import (
    PLACES as PLACES,
    differences as differences,
    differing as differing,
    ends_half_written as ends_half_written,
    read_config as read_config,
    read_gradients as read_gradients,
    read_json as read_json,
    read_metrics as read_metrics,
    read_record as read_record,
    record_from as record_from,
    record_to_json as record_to_json,
)
from resnet_jax.record.schema import (
    CHECKPOINTS as CHECKPOINTS,
    CONFIG_FILE as CONFIG_FILE,
    GRADIENTS_FILE as GRADIENTS_FILE,
    METRICS_FILE as METRICS_FILE,
    RECORD_FILE as RECORD_FILE,
    SCHEMA as SCHEMA,
    STUDY_FILE as STUDY_FILE,
    TIMINGS_FILE as TIMINGS_FILE,
    WEIGHTS as WEIGHTS,
    Cost as Cost,
    DataFacts as DataFacts,
    Environment as Environment,
    Final as Final,
    GradientLine as GradientLine,
    MetricsLine as MetricsLine,
    RunRecord as RunRecord,
    Session as Session,
    Start as Start,
)
