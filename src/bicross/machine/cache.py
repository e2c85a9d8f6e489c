"""The measured profile is kept in the user's cache folder, so that a machine is measured once."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bicross.encoders import find_model
from bicross.encoders.loading import DEFAULT_BI_ENCODER, DEFAULT_CROSS_ENCODER, weights_sha256
from bicross.errors import BicrossError
from bicross.machine.measuring import cpu_name, measure, precisions, usable_cores
from bicross.planning import MachineProfile

FORMAT = 3


def cache_folder() -> Path:
    """Where bicross keeps what it can make again."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bicross"


def machine_profile(
    bi_encoder: str | Path = DEFAULT_BI_ENCODER,
    cross_encoder: str | Path = DEFAULT_CROSS_ENCODER,
    *,
    remeasure: bool = False,
    quick: bool = False,
    note: Callable[[str], None] = lambda line: None,
) -> MachineProfile:
    """What this machine does with these models: as it was measured, or measured now and kept.

    It is measured again when the CPU, the cores, the models, their precisions, bicross or OpenVINO are others.

    Args:
        bi_encoder: Name or folder.
        cross_encoder: Name or folder.
        remeasure: Measure in any case.
        quick: See ``measure``; kept apart.
        note: Called with one line when it is measured, and when the cache is damaged or cannot be written.

    Raises:
        ModelNotFoundError, ModelError, UsageError, StorageError: See ``measure``.
    """
    file = cache_folder() / "machine.json"
    key = profile_key(bi_encoder, cross_encoder) + (" | quick" if quick else "")
    known = read_profiles(file, note)
    if not remeasure and key in known:
        try:
            return MachineProfile.from_dict(known[key])
        except (KeyError, TypeError, ValueError):
            note(f"{file}: damaged; measuring again")
    note("measuring this machine, about a minute; the result is kept …")
    try:
        profile = measure(bi_encoder, cross_encoder, file.parent, quick=quick)
    except OSError as error:
        raise BicrossError(
            f"{file.parent}: a small index cannot be made there to measure with ({error.strerror or error}); "
            "set XDG_CACHE_HOME to a folder that can be written"
        ) from error
    try:
        write_profiles(file, known | {key: profile.as_dict()})
    except OSError as error:
        note(f"{file}: cannot be written ({error.strerror}); the machine will be measured again next time")
    return profile


def profile_key(bi_encoder: str | Path, cross_encoder: str | Path) -> str:
    """What a profile depends on."""
    weights = (weights_sha256(find_model(model))[:16] for model in (bi_encoder, cross_encoder))
    made_by = tuple(f"{package} {version(package)}" for package in ("bicross", "openvino"))
    kinds = "+".join(precisions(bi_encoder, cross_encoder))
    return " | ".join((cpu_name(), f"{usable_cores()} cores", *made_by, *weights, kinds))


def read_profiles(file: Path, note: Callable[[str], None]) -> dict[str, Any]:
    """The profiles in the file; none when it is not there, of another format, or damaged."""
    try:
        content = json.loads(file.read_bytes())
        return dict(content["profiles"]) if content["format"] == FORMAT else {}
    except FileNotFoundError:
        return {}
    except (OSError, KeyError, TypeError, ValueError):
        note(f"{file}: damaged; measuring again")
        return {}


def write_profiles(file: Path, profiles: dict[str, Any]) -> None:
    """All profiles, whole or not at all."""
    new = file.with_name(f"{file.name}.{os.getpid()}")
    try:
        new.write_text(json.dumps({"format": FORMAT, "profiles": profiles}, indent=1) + "\n", encoding="utf-8")
        new.replace(file)
    finally:
        new.unlink(missing_ok=True)
