"""How a training runs: where it stands on disk, going on after a stop, and stopping before it does harm.

A run has a folder. While it lasts, ``training.json`` says what was asked for and ``checkpoints`` holds where it stands;
when it ends, the model is written beside them, and then the checkpoints are removed.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol

import torch
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from bicross.encoders.engines.openvino import resolve_precision
from bicross.encoders.progress import progress
from bicross.errors import StorageError, TrainingError, UsageError
from bicross.writing import written

FILE = "training.json"
CHECKPOINTS = "checkpoints"

#: The measure that is watched: the evaluators give it this name.
NDCG = "ndcg@10"

#: How often it is taken, if nothing else is said.
MEASURED_TIMES = 5


class Settings(Protocol):
    """What the trainings of both encoders have in common."""

    @property
    def epochs(self) -> float: ...
    @property
    def learning_rate(self) -> float: ...
    @property
    def every(self) -> int: ...
    @property
    def precision(self) -> str: ...
    @property
    def seed(self) -> int: ...


@dataclass(frozen=True)
class Run:
    """A folder that a training writes to.

    Attributes:
        folder: Where the model will be.
        begun: It goes on from a run that was stopped.
    """

    folder: Path
    begun: bool

    @property
    def checkpoints(self) -> Path:
        return self.folder / CHECKPOINTS


def open_run(folder: Path, asked: Mapping[str, Any], *, ours: bool = False) -> Run:
    """Begin a run in ``folder``, or go on with the one that was begun there.

    Args:
        folder: New, empty, or of an unfinished run.
        asked: All that the result depends on; plain values.
        ours: The folder is no user's: what another run left there is thrown away in place of an error.

    Raises:
        UsageError: The folder holds something else: a finished model, or a run that was begun with other settings.
        StorageError: It cannot be written to.
    """
    file = folder / FILE
    plain = json.loads(json.dumps(dict(asked)))
    if ours and folder.exists() and not _goes_on(file, plain):
        shutil.rmtree(folder)
    check_folder(folder)
    if file.is_file():
        record = json.loads(file.read_text(encoding="utf-8"))
        if differing := sorted(
            name for name in plain | record["asked"] if plain.get(name) != record["asked"].get(name)
        ):
            raise UsageError(
                f"{folder}: a training was begun here with another {' and '.join(differing)}; say the same again to go "
                "on with it, or name another folder with --into"
            )
        for half in folder.glob(f"{CHECKPOINTS}/checkpoint-*"):
            if not _is_whole(half):
                shutil.rmtree(half)
        return Run(folder, True)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"{folder}: cannot be made ({error.strerror})") from error
    with written(file) as out:
        json.dump({"asked": plain, "finished": False}, out, indent=1, ensure_ascii=False)
    return Run(folder, False)


def check_folder(folder: Path) -> None:
    """Find out before long work whether a run can be there.

    Raises:
        UsageError: The folder holds something else.
    """
    file = folder / FILE
    if file.is_file():
        if json.loads(file.read_text(encoding="utf-8")).get("finished"):
            raise UsageError(f"{folder}: holds a model that was trained to the end; name another folder with --into")
    elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder}: is not empty; name a new folder with --into")


def _goes_on(file: Path, asked: Mapping[str, Any]) -> bool:
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
        return not record["finished"] and record["asked"] == asked
    except (OSError, ValueError, KeyError):
        return False


def fingerprint(values: Iterator[str]) -> str:
    """Of what is learnt from, so that a run does not go on with other texts."""
    digest = sha256()
    for value in values:
        digest.update(value.encode("utf-8", "surrogatepass"))
        digest.update(b"\0")
    return digest.hexdigest()[:16]


def arguments(settings: Settings, run: Run, device: str, steps: int, rows: int) -> dict[str, Any]:
    """What the trainers of both encoders are told.

    Args:
        settings: Of the training.
        run: Where checkpoints go.
        device: ``cpu``, or ``cuda``.
        steps: Of one epoch.
        rows: Of a step.
    """
    every = settings.every or max(1, int(settings.epochs * steps) // MEASURED_TIMES)
    return {
        "output_dir": str(run.checkpoints.absolute()),
        "num_train_epochs": settings.epochs,
        "per_device_train_batch_size": rows,
        "dataloader_drop_last": True,
        "learning_rate": settings.learning_rate,
        "warmup_steps": 0.1,
        "lr_scheduler_type": "linear",
        "weight_decay": 0.01,
        "bf16": _in_bf16(settings.precision, device),
        "use_cpu": device == "cpu",
        "eval_strategy": "steps",
        "save_strategy": "steps",
        "eval_steps": every,
        "save_steps": every,
        "logging_steps": every,
        "save_total_limit": 2,
        "load_best_model_at_end": True,
        "metric_for_best_model": f"eval_{NDCG}",
        "greater_is_better": True,
        "seed": settings.seed,
        "data_seed": settings.seed,
        "disable_tqdm": True,
        "report_to": [],
    }


def check_machine(settings: Settings, device: str) -> None:
    """Find out before long work.

    Raises:
        UsageError: There is no such device or precision, or the machine has it not.
    """
    if settings.precision not in ("auto", "f32", "bf16"):
        raise UsageError(f"a model is trained in auto, f32 or bf16, not in {settings.precision!r}")
    if device == "cpu":
        resolve_precision(settings.precision)
    elif device != "cuda":
        raise UsageError(f"device {device!r}: a model is trained on cpu or cuda; choose a GPU by CUDA_VISIBLE_DEVICES")
    elif not torch.cuda.is_available():
        raise UsageError("device 'cuda': torch finds no GPU; choose cpu")
    elif settings.precision == "bf16" and not torch.cuda.is_bf16_supported():
        raise UsageError("this GPU does not compute in bf16; choose precision f32")


def _in_bf16(precision: str, device: str) -> bool:
    if device == "cpu":
        return resolve_precision(precision) == "bf16"
    return precision != "f32" and bool(torch.cuda.is_bf16_supported())


def one_device(given: TrainingArguments) -> TrainingArguments:
    """The same on one GPU: of several the trainer would use all, and a batch would be another one."""
    if given.n_gpu > 1:
        given._n_gpu = 1
    return given


class Patience(TrainerCallback):
    """Stops after so many measures in a row that are not better than the best.

    It counts in what the checkpoint keeps, so a run that goes on has not forgotten.
    """

    def __init__(self, measures: int) -> None:
        self.measures = measures

    def _look(self, state: TrainerState, control: TrainerControl) -> None:
        taken = [row[f"eval_{NDCG}"] for row in state.log_history if f"eval_{NDCG}" in row]
        if taken and len(taken) - 1 - taken.index(max(taken)) >= self.measures:
            control.should_training_stop = True

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._look(state, control)

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self._look(state, control)


def run_to_the_end(trainer: Trainer, run: Run, say: Callable[[str], None]) -> None:
    """Train, from the last checkpoint where there is one.

    Raises:
        TrainingError: A gradient is no number any more.
        StorageError: The disk was full at a checkpoint; the one before it is kept.
    """
    last = last_checkpoint(run.checkpoints)
    if last is not None:
        say(f"going on after step {_step(last)}")
    elif run.begun:
        say("the training that was begun here had no checkpoint yet; it begins anew")
    trainer.remove_callback(PrinterCallback)
    with ExitStack() as shown, _full_disk_named(trainer, run.checkpoints):
        trainer.add_callback(_Watch(run.checkpoints, shown))
        trainer.train(resume_from_checkpoint=str(last) if last is not None else None)
        best = trainer.state.best_global_step
        if best and trainer.state.best_model_checkpoint is None:  # the folder was moved, and the trainer lost track
            trainer._load_from_checkpoint(str(run.checkpoints / f"checkpoint-{best}"))


@contextmanager
def saving(run: Run) -> Iterator[None]:
    """Write the model.

    Raises:
        StorageError: The disk is full; what was learnt is in the last checkpoint.
    """
    try:
        yield
    except Exception as error:
        if not _says_full(error):
            raise
        raise StorageError(
            f"{run.folder}: the disk is full; what was learnt is kept in {run.checkpoints.name}: make room and say the "
            "same again to write the model"
        ) from error


def close_run(run: Run, result: object) -> None:
    """Record what came of it, and remove the checkpoints."""
    record = json.loads((run.folder / FILE).read_text(encoding="utf-8"))
    with written(run.folder / FILE) as out:
        json.dump(
            {**record, "finished": True, "result": asdict(result)},  # type: ignore[call-overload]
            out,
            indent=1,
            ensure_ascii=False,
        )
    shutil.rmtree(run.checkpoints, ignore_errors=True)


def last_checkpoint(folder: Path) -> Path | None:
    """The newest one that is whole."""
    return max((path for path in folder.glob("checkpoint-*") if _is_whole(path)), key=_step, default=None)


def _is_whole(checkpoint: Path) -> bool:
    """The trainer writes its state last."""
    try:
        return "global_step" in json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.rpartition("-")[2])


class SayMeasures(TrainerCallback):
    """A line at each measure."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.say = say

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, metrics: Any = None, **kwargs: Any
    ) -> None:
        losses = [row["loss"] for row in state.log_history if "loss" in row]
        loss = f", loss {losses[-1]:.4f}" if losses else ""
        self.say(f"step {state.global_step} of {state.max_steps}: nDCG@10 {metrics[f'eval_{NDCG}']:.4f}{loss}")


class _Watch(TrainerCallback):
    """Shows how far it is, and stops it before a gradient that is no number reaches the weights."""

    def __init__(self, checkpoints: Path, shown: ExitStack) -> None:
        self.checkpoints = checkpoints
        self.shown = shown
        self.advance: Callable[[int], None] = lambda count: None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.advance = self.shown.enter_context(progress("Training", state.max_steps, None))
        self.advance(state.global_step)

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, model: Any = None, **kwargs: Any
    ) -> None:
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        if not all(bool(torch.isfinite(g).all()) for g in gradients):
            kept = last_checkpoint(self.checkpoints)
            raise TrainingError(
                f"the loss is no number any more at step {state.global_step + 1}; "
                + (f"the checkpoint of step {_step(kept)} is kept ({kept})" if kept else "no checkpoint was made yet")
                + "; try a smaller --learning-rate, in another folder"
            )

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self.advance(1)


@contextmanager
def _full_disk_named(trainer: Trainer, checkpoints: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if not _says_full(error):
            raise
        for half in checkpoints.glob("checkpoint-*"):
            if not _is_whole(half):
                shutil.rmtree(half, ignore_errors=True)
        kept = last_checkpoint(checkpoints)
        raise StorageError(
            f"{checkpoints}: the disk is full at the checkpoint of step {trainer.state.global_step}; "
            + (f"that of step {_step(kept)} is kept" if kept else "there is none before it")
            + "; make room and say the same again to go on"
        ) from error


def _says_full(error: BaseException | None) -> bool:
    """Writers of tensors wrap the system's error, or only repeat its words."""
    while error is not None:
        full = os.strerror(errno.ENOSPC), os.strerror(errno.EDQUOT), os.strerror(errno.EFBIG)
        if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) or any(
            words in str(error) for words in full
        ):
            return True
        error = error.__cause__ or error.__context__
    return False
