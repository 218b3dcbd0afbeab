"""The workspace: the folder that holds `params.yaml`, `pipelines/`, `datasets/`, `data/` and `mlruns/`."""

from __future__ import annotations

import functools
import inspect
import shlex
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ai4diag.config.base import read_yaml
from ai4diag.config.recipe import Recipe, load_recipe
from ai4diag.data.catalogue import Catalogue
from ai4diag.errors import Ai4diagError, ConfigError, UsageError, did_you_mean
from ai4diag.files import exclusive, sha256_json


@dataclass(frozen=True)
class Workspace:
    """A folder in which pipelines live."""

    root: Path

    @classmethod
    def find(cls, start: Path) -> Workspace:
        """Return the nearest workspace at or above `start`.

        Raises:
            UsageError: there is none.
        """
        start = Path(start).resolve()
        for folder in (start, *start.parents):
            if (folder / "params.yaml").is_file() and (folder / "pipelines").is_dir():
                return cls(folder)
        raise UsageError(
            f"{start} is not inside an ai4diag workspace: no folder above it has params.yaml and pipelines/.",
            "Change to the repository's folder first.",
        )

    @property
    def data(self) -> Path:
        """Raw files of the data sets, one folder each."""
        return self.root / "data"

    @property
    def catalogue(self) -> Catalogue:
        """The dataset cards."""
        return Catalogue(self.root / "datasets")

    @cached_property
    def table(self) -> dict[str, dict[str, str]]:
        """The pipelines of `params.yaml`: name to `task` and `dataset`.

        Raises:
            ConfigError: `params.yaml` does not have that form.
        """
        return self._lines("pipelines")

    @cached_property
    def waiting(self) -> dict[str, dict[str, str]]:
        """The pipelines of `params.yaml` whose data must be brought by hand: only their `--quick` variant runs.

        They stand apart so that `dvc repro` leaves them alone. Who has the data moves the line to `pipelines`.

        Raises:
            ConfigError: `params.yaml` does not have that form.
        """
        return self._lines("waiting", default={})

    def _lines(self, key: str, default: dict[str, dict[str, str]] | None = None) -> dict[str, dict[str, str]]:
        path = self.root / "params.yaml"
        values = read_yaml(path)
        table = values.get(key, default) if isinstance(values, dict) else None
        if not isinstance(table, dict) or not all(_is_line(name, line) for name, line in table.items()):
            raise ConfigError(
                f"{path}: {key} must map each name to its task and dataset.",
                "For example: breast-mass: {task: tabular, dataset: wdbc}",
            )
        return table

    def pipeline(
        self, name: str, *, quick: bool = False, folds: int = 0, seeds: int = 1, overrides: Sequence[str] = ()
    ) -> Pipeline:
        """Open a pipeline.

        Args:
            name: its folder's name.
            quick: the recipe's small variant.
            folds: cross-validate with so many folds, whatever split the recipe has; 0 leaves the recipe's.
            seeds: train with so many seeds, counted up from the recipe's.
            overrides: `train.epochs=3` and the like.

        Raises:
            UsageError: no such pipeline; the nearest is named.
            ConfigError: its recipe is wrong, or `params.yaml` says something else.
        """
        known = self.table | self.waiting
        if name not in known:
            raise UsageError(
                f"There is no pipeline '{name}' in {self.root / 'params.yaml'}. {did_you_mean(name, known)}"
            )
        folder = self.root / "pipelines" / name
        split = ["data.split.test=folds", f"data.split.folds={folds}"] if folds else []
        recipe = load_recipe(folder / "pipeline.yaml", quick=quick, overrides=[*split, *overrides])
        listed, said = known[name], {"task": recipe.task, "dataset": recipe.data.dataset}
        if listed != said and not overrides and not quick:
            raise ConfigError(
                f"params.yaml says {listed} of {name}, its pipeline.yaml says {said}.", "Make params.yaml say the same."
            )
        words = {
            "quick": quick,
            f"folds{folds}": folds,
            f"seeds{seeds}": seeds > 1,
            f"set-{sha256_json(list(overrides))[:8]}": overrides,
        }
        variant = "-".join(word for word, present in words.items() if present)
        return Pipeline(self, name, recipe, variant, tuple(overrides), folds, seeds)


def _is_line(name: Any, line: Any) -> bool:
    """Whether this is a line of `params.yaml`: a name with its task and dataset."""
    return (
        isinstance(name, str)
        and isinstance(line, dict)
        and set(line) == {"task", "dataset"}
        and all(isinstance(value, str) for value in line.values())
    )


@dataclass(frozen=True)
class Pipeline:
    """A pipeline, or a variant of it.

    Attributes:
        workspace: where it lives.
        name: its folder's name.
        recipe: `pipeline.yaml`, with the variant's changes applied.
        variant: empty for the pipeline itself; else the folder of the variant's output, such as `quick`.
        overrides: what `--set` changed.
        folds: what `--folds` asked for; 0: nothing.
        seeds: number of seeds that it is trained with.
    """

    workspace: Workspace
    name: str
    recipe: Recipe
    variant: str = ""
    overrides: tuple[str, ...] = ()
    folds: int = 0
    seeds: int = 1

    @property
    def words(self) -> str:
        """How a command names it: `breast-mass --quick --set train.epochs=3`."""
        quick = ["--quick"] if self.variant.startswith("quick") else []
        counts = ["--folds", str(self.folds)] * bool(self.folds) + ["--seeds", str(self.seeds)] * (self.seeds > 1)
        changes = [word for change in self.overrides for word in ("--set", change)]
        return shlex.join([self.name, *quick, *counts, *changes])

    @property
    def folder(self) -> Path:
        """The pipeline's folder."""
        return self.workspace.root / "pipelines" / self.name

    @property
    def out(self) -> Path:
        """Where the stages write: `out/`, or for a variant `out/<variant>/`."""
        return self.folder / "out" / self.variant

    @contextmanager
    def alone(self) -> Iterator[None]:
        """No other process may write to `out` meanwhile.

        Raises:
            MachineError: one does.
        """
        with exclusive(self.folder / "out" / f".{self.variant or 'full'}.lock", self.words):
            yield

    def hooks(self) -> dict[str, Callable[..., Any]]:
        """Import `pipeline.py` and return its public functions, which replace a task's defaults.

        A function whose name begins with an underscore, or that is imported, is the file's own.

        Raises:
            ConfigError: the file cannot be imported.
        """
        import importlib.util

        path = self.folder / "pipeline.py"
        if not path.is_file():
            return {}
        spec = importlib.util.spec_from_file_location(f"ai4diag_pipeline_{self.name.replace('-', '_')}", path)
        if spec is None or spec.loader is None:
            raise ConfigError(f"{path} cannot be imported.")
        module = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(module)
        except Exception as error:
            raise ConfigError(f"{path} cannot be imported: {type(error).__name__}: {error}.") from error
        return {
            name: _explained(path, value)
            for name, value in vars(module).items()
            if inspect.isfunction(value) and value.__module__ == module.__name__ and not name.startswith("_")
        }


def _explained(path: Path, hook: Callable[..., Any]) -> Callable[..., Any]:
    """Return a hook whose errors name its file and line: they are the pipeline's, not the library's."""

    @functools.wraps(hook)
    def called(*given: Any, **named: Any) -> Any:
        try:
            return hook(*given, **named)
        except Ai4diagError:
            raise
        except Exception as error:
            lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
            where = f"{path}, line {lines[-1]}" if lines else f"{path}"
            raise ConfigError(f"{where}: {hook.__name__} raised {type(error).__name__}: {error}.") from error

    return called
