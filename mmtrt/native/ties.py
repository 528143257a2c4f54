"""What an engine is tied to, told by its ``config.json``, and whether this machine has it.

Looked at before any engine is loaded: a package that meets an engine of another version or GPU
says neither which, nor what to do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from mmtrt.cpu import lacking, this_cpu
from mmtrt.native.errors import HostLacks, NativeError

AOT_ENGINE = "aot_inductor"
_ABSENT = "not installed"

_PACKAGES: Mapping[str, tuple[str, ...]] = {
    "onnxruntime": ("onnxruntime",),
    "tensorrt": ("tensorrt", "tensorrt-cu13", "tensorrt-cu12"),
    "tensorrt_rtx": ("tensorrt-rtx-cu13", "tensorrt-rtx-cu12", "tensorrt-rtx"),
    AOT_ENGINE: ("torch",),
}
"""Engine format -> distributions, one of which runs it."""


@dataclass(frozen=True, kw_only=True)
class Ties:
    """What the machine that runs an engine must have."""

    engine: str
    """The engine format."""
    package: str
    """What runs it, as it is imported: ``onnxruntime``, ``tensorrt``, ``tensorrt_rtx``, ``torch``.
    """
    version: str
    """Of the package that built it. ONNX graphs run on others too, as far as they know the opset.
    """
    device: str
    """``cpu`` or ``cuda``."""
    opset: int | None = None
    """Of an ONNX graph; newer ones than the package knows are refused."""
    sm: tuple[int, ...] = ()
    """Compute capabilities that it holds code for, such as 90."""
    cpu: str | None = None
    """Class of the processor (``mmtrt.cpu``) that its code is compiled for."""

    def to_json(self) -> dict[str, Any]:
        """Return ``tied_to`` of ``config.json``, where ``engine`` stands beside it.

        What is not known is left out.
        """
        fields = asdict(self)
        del fields["engine"]
        return {name: value for name, value in fields.items() if value not in (None, ())}

    @classmethod
    def from_json(cls, engine: str, document: Mapping[str, Any]) -> Ties:
        """Read what ``to_json`` wrote."""
        return cls(engine=engine, **{**document, "sm": tuple(document.get("sm", ()))})


class Machine:
    """This machine, as far as engines are tied to it; each question is answered when asked."""

    def version(self, engine: str) -> str | None:
        """Return the version of what runs an engine format; ``None`` where it is not installed."""
        for distribution in _PACKAGES.get(engine, ()):
            try:
                return version(distribution)
            except PackageNotFoundError:
                continue
        return None

    def opset(self) -> int | None:
        """Return the newest ONNX opset that the installed ONNX Runtime has an operator of."""
        from onnxruntime.capi import onnxruntime_pybind11_state as runtime

        # Left out of minimal builds.
        schemas = getattr(runtime, "get_all_operator_schema", None)
        if schemas is None:
            return None
        return max(each.since_version for each in schemas() if each.domain == "")

    def sm(self) -> int | None:
        """Return the compute capability of the GPU in use; ``None`` without one."""
        import torch

        if not torch.cuda.is_available():
            return None
        major, minor = torch.cuda.get_device_capability()
        return int(major * 10 + minor)

    def cpu(self) -> str:
        """Return the class of the processor."""
        return this_cpu()


def ties_of(engine: str, device: str, *, opset: int | None = None) -> Ties:
    """Return what an engine that this machine has just built for itself is tied to."""
    machine = Machine()
    sm = machine.sm() if device == "cuda" else None
    return Ties(
        engine=engine,
        package="torch" if engine == AOT_ENGINE else engine,
        version=machine.version(engine) or "unknown",
        device=device,
        opset=opset,
        sm=() if sm is None else (sm,),
        # The calls around GPU kernels are compiled for the processor at hand.
        cpu=machine.cpu() if engine == AOT_ENGINE else None,
    )


def misfits(directory: Path, ties: Ties, machine: Machine) -> Iterator[NativeError]:
    """Yield an ART212 for each field that this machine does not have."""
    for name, built, here, why, fix in _differences(ties, machine):
        # What can be installed is the host's lack, anything else is the wrong engine for it.
        kind = HostLacks if here == _ABSENT else NativeError
        yield kind(
            f"{directory}: {name} is {built}, here it is {here}", code="ART212", why=why, fix=fix
        )


def _differences(ties: Ties, machine: Machine) -> Iterator[tuple[str, str, str, str, str]]:
    engine = ties.engine
    again = f"build it again here with engine={engine}"
    runner = "torch" if engine == AOT_ENGINE else engine
    installed = machine.version(engine)
    if ties.package != runner or installed is None:
        here = runner if installed else _ABSENT
        why = f"engine={engine} is run by the package {runner}"
        yield "package", ties.package, here, why, f"{again}, or install {ties.package}"
    elif ties.opset is None and ties.version != installed:
        why = f"what {runner} compiles runs on the version that compiled it"
        fix = f"{again}, or install {runner} {ties.version}"
        yield "version", ties.version, installed, why, fix
    if ties.opset is not None and installed is not None:
        opset = machine.opset()
        if opset is not None and ties.opset > opset:
            why = f"{runner} {installed} knows no newer operators"
            fix = f"{again}, or install {runner} {ties.version} or later"
            yield "opset", str(ties.opset), str(opset), why, fix
    if ties.device == "cuda" or ties.sm:
        sm = machine.sm()
        there = f"sm {' or '.join(map(str, ties.sm))}" if ties.sm else "a GPU"
        if sm is None:
            why = f"it was built for {there}, and PyTorch finds no GPU here"
            fix = f"use a host with {there}, or build again with engine=onnxruntime"
            yield "device", ties.device, "cpu", why, fix
        elif ties.sm and sm not in ties.sm:
            why = "it holds code for the GPUs that it was built for, no other"
            fix = f"{again} (target.sm={sm}), or use a host with {there}"
            yield "sm", ", ".join(map(str, ties.sm)), str(sm), why, fix
    elif ties.device != "cpu":
        why = f"engine={engine} is built for cpu or cuda"
        yield "device", ties.device, "cpu", why, again
    if ties.cpu is not None:
        cpu = machine.cpu()
        lacks = lacking(ties.cpu, cpu)
        if lacks:
            why = f"this processor lacks {', '.join(lacks)}"
            fix = f"{again}, or use a host whose processor has it"
            yield "cpu", ties.cpu, cpu, why, fix
