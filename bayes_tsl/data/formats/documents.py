"""Tables, JSON and binary files: what their columns or keys are called says the rest."""

from __future__ import annotations

from bayes_tsl.data.formats.kinds import Format, console

TABLE = Format("table", "a table as of read_losses: columns step, loss and more", shape="table")
COLUMNS = Format("wandb-csv", "W&B charts, Lightning, Keras and any table with a column per metric", shape="table")
TENSORBOARD_CSV = Format("tensorboard-csv", "TensorBoard's download of a scalar", shape="table", by_file="Value")
OBJECTS = Format("wandb-jsonl", "W&B history, LLaMA-Factory, ms-swift, Lingua and any JSON lines", shape="json")
TRAINER_STATE = Format("trainer-state", "trainer_state.json of Hugging Face", shape="json")
JSON = Format("json", "a JSON array of rows, or an object of lists or rows", shape="json")
MLFLOW = console("mlflow", "MLflow: a metric's file", r"^\d{10,13} {value} {step}$", by_file="value")
EVENTS = Format("tensorboard", "TensorBoard: an event file, or a folder of them", shape="events")
WANDB = Format("wandb", "W&B: the binary .wandb file of a run", shape="wandb")

DOCUMENTS = (TABLE, COLUMNS, TENSORBOARD_CSV, OBJECTS, TRAINER_STATE, JSON, MLFLOW, EVENTS, WANDB)
