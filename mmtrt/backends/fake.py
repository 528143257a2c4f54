"""Strict stand-ins for TensorRT-LLM's tools: any recipe, without a GPU and without TensorRT-LLM."""

from __future__ import annotations

import dataclasses
import json
from functools import cached_property

from mmtrt.backends.base import Command, Out, Python, Resources, Script, Skip, Word
from mmtrt.backends.trtllm import Trtllm
from mmtrt.stages import Clone, Download, Env, Stage

VARIABLE = "MMTRT_FAKE"
"""Environment variable by which the stand-ins know the model and the version that they play."""

TOOLS = ("trtllm-build", "trtllm-serve", "mpirun")
"""Programs that a stand-in takes the place of; example scripts are recognised by their type."""


SAMPLE_SIZE = (480, 640)
"""[height, width] of a sample picture where the workload says nothing (*chosen*)."""


class Fake(Trtllm):
    """Lower stages as ``trtllm`` does, and have each command carried out by a stand-in.

    Outputs say that they are fake, and another backend's keys never match theirs.
    """

    name = "fake"
    install_hint = "nothing to install"

    def prepared(self, stages: list[Stage]) -> list[Stage]:
        """Return the stages as they are: the stand-ins come with mmtrt."""
        return stages

    def toolchain(self) -> dict[str, str]:
        """Return the version that the stand-ins play."""
        return {"name": "fake", "version": f"tensorrt-llm {self._version}"}

    def tool_versions(self, tools: tuple[str, ...]) -> dict[str, str]:
        """Return the version that the stand-ins play."""
        return {"tensorrt-llm": self._version} if tools else {}

    def gpu_class(self) -> dict[str, str | int] | None:
        """Return ``None``: nothing here is made for a GPU."""
        return None

    def _timing_class(self) -> str:
        return f"fake-{self._version}"

    def lower(self, stage: Stage) -> Command | Skip:
        """Return the command of a stage."""
        if isinstance(stage, Env):
            return Skip("the stand-ins need no packages")
        if isinstance(stage, Download) and stage.repo_id is not None:
            argv: tuple[Word, ...] = ("download", "--output-dir", Out())
            argv += ("--repo-id", stage.repo_id, "--revision", str(stage.revision))
            argv += ("--hub-cache",) if stage.hub_cache else ()
            return self._played(Command(argv=(*_STAND_IN, *argv)))
        if isinstance(stage, Clone):
            argv = ("clone", "--output-dir", Out(), "--url", stage.url)
            argv += ("--revision", stage.revision)
            return self._played(Command(argv=(*_STAND_IN, *argv)))
        command = super().lower(stage)
        if isinstance(command, Skip) or not command.tools:
            return command
        words: list[Word] = []
        for word in command.argv:
            if isinstance(word, Script):
                # The interpreter stands before it already.
                words += ["-m", "mmtrt.fake", word.path]
            elif isinstance(word, str) and word in TOOLS:
                words += [*_STAND_IN, word]
            else:
                words.append(word)
        return self._played(dataclasses.replace(command, argv=tuple(words)))

    def _played(self, command: Command) -> Command:
        """Return the command with nothing to lease, and told which model it plays."""
        return dataclasses.replace(
            command,
            env={**command.env, VARIABLE: self._role_of(command)},
            pass_env=(),
            resources=Resources(),
            tools=("mmtrt",),
        )

    def _role_of(self, command: Command) -> str:
        """Return what the stand-in of a command plays: the model, and what the command may do."""
        return json.dumps(self._role | {"network": command.resources.network}, sort_keys=True)

    @cached_property
    def _role(self) -> dict[str, object]:
        recipe = self._recipe
        facts = dataclasses.asdict(recipe.variant.facts)
        return {
            "version": self._version,
            "family": recipe.file.family,
            "trtllm_model_type": recipe.file.trtllm_model_type,
            "hf_model_type": recipe.hf_model_type,
            "facts": {name: value for name, value in facts.items() if value is not None},
            # Of the picture that run.py takes where none is named.
            "sample_size": list(recipe.sizing.demand.image_size or SAMPLE_SIZE),
        }


_STAND_IN: tuple[Word, ...] = (Python(), "-m", "mmtrt.fake")
