"""What a run leaves behind: the files of a run directory and their schema, for the loop that writes them
and the reports that read them. Nothing here imports JAX.

A run directory `runs/<study>/<run>/` holds

| file              | what                                                                              |
|-------------------|-----------------------------------------------------------------------------------|
| `config.json`     | the run's ExperimentConfig, written first                                         |
| `metrics.jsonl`   | one `MetricsLine` per epoch, appended; the same whatever interruptions there were |
| `gradients.jsonl` | one `GradientLine` every `train.gradient_norms_every` steps, in the same way      |
| `timings.jsonl`   | wall-clock seconds and sessions, apart, since they never repeat                   |
| `record.json`     | the `RunRecord`, written last and atomically: its presence means finished         |
| `checkpoints/`    | where an interrupted run goes on from                                             |
| `weights/`        | the net of the last step, as resnet_jax.weights writes and reads it               |

and `runs/<study>/study.json` lists the study's runs in its order.
"""

from resnet_jax.record.files import (
    PLACES as PLACES,
    differences as differences,
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
