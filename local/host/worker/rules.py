"""The vendor's rules of indexing, for Python versions that its runtime does not support.

They are those of azure-functions-runtime 1.3.0; a contract test lets both judge the same small apps.
"""

import functools
import importlib
import inspect
import json
import time
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import azure.functions as func
from azure.functions import meta

from local.host.functions import HostError, Indexed
from local.host.retry import Retry
from local.host.worker.protos import BindingInfo, RpcRetryOptions
from local.host.worker.where import where

LONGEST_S = 2**31 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """A function as the worker needs it to call it.

    Args:
        indexed: What the host is told.
        call: The user's callable.
        wants_context: Whether it takes a `context` that no binding fills.
        returns: Type of the binding that takes what it returns; None where nothing does.
    """

    indexed: Indexed
    call: Callable[..., Any]
    wants_context: bool
    returns: str | None


def index(module: str) -> list[Function]:
    """Import an app and index it.

    Raises:
        HostError: The import failed or a function breaks a rule: the app has no functions then. Every such function
            is named at once.
    """
    try:
        found = _app(importlib.import_module(module)).get_functions()
    except Exception as error:
        raise HostError(f"{module} cannot be loaded, so the app has no functions: {where(error)}") from error
    functions, problems = [], []
    for each in found:
        try:
            functions.append(_function(each))
        except Exception as error:  # noqa: BLE001 - whatever it is, it would end indexing there
            problems.append(f"{each.get_function_name()}: {where(error)}")
    if problems:
        raise HostError("these functions cannot be loaded, so the app has no functions:\n  " + "\n  ".join(problems))
    return functions


def converter(kind: str) -> Any:
    """The library's converter of a binding; None for one that it does not know."""
    return meta.get_binding_registry().get(kind)  # type: ignore[no-untyped-call]


def _app(module: ModuleType) -> Any:
    apps = [each for each in vars(module).values() if isinstance(each, func.FunctionRegister)]
    if len(apps) != 1:
        raise ValueError(f"{len(apps)} function apps have a name in the module; it takes one")
    return apps[0]


def _function(found: Any) -> Function:
    call = found.get_user_function()
    hints = typing.get_type_hints(call)
    bindings = {each.name: each for each in found.get_bindings()}
    answer = bindings.pop("$return", None)
    if answer is not None and answer.direction != BindingInfo.out:
        raise TypeError("its binding $return does not go out")
    parameters = set(inspect.signature(call).parameters)
    wants_context = "context" in parameters - bindings.keys()
    if wants_context:
        parameters.remove("context")
        _check_context(hints)
    _check_names(parameters, bindings.keys())
    for name in parameters & hints.keys():
        _check_annotation(bindings[name], hints[name])
    if answer is not None and "return" in hints:
        _check_returned(answer.type, hints["return"])
    implicit = next((each.type for each in bindings.values() if _implicit_output(each.type)), None)
    raw = [json.loads(each) for each in found.get_raw_bindings()]
    policy = found.get_settings_dict("retry_policy")
    retry = Retry.of(_retry_options(policy)) if policy else None
    return Function(
        indexed=Indexed(found.get_function_name(), raw, retry),
        call=call,
        wants_context=wants_context,
        returns=answer.type if answer is not None else implicit,
    )


def _check_context(hints: Mapping[str, Any]) -> None:
    annotation = hints.get("context", func.Context)
    if not isinstance(annotation, type) or annotation.__name__ != "Context":
        raise TypeError(f"its context is annotated {annotation!r}, not azure.functions.Context")


def _check_names(parameters: set[str], bound: typing.AbstractSet[str]) -> None:
    if unbound := sorted(parameters - bound):
        raise TypeError(f"its parameters {', '.join(unbound)} belong to no binding")
    if absent := sorted(bound - parameters):
        raise TypeError(f"it has no parameters {', '.join(absent)}, which its bindings fill")


def _check_annotation(binding: Any, annotation: Any) -> None:
    """A parameter is annotated with what its converter gives, or with `Out` of what it takes."""
    origin = typing.get_origin(annotation) or annotation
    is_out = isinstance(origin, type) and origin.__name__ == "Out"
    if is_out != (binding.direction == BindingInfo.out):
        raise TypeError(f"its parameter {binding.name} is annotated {annotation!r}, against the binding's direction")
    if is_out:
        (annotation,) = typing.get_args(annotation)
    generic = annotation in (str, bytes) and not _implicit_output(binding.type)
    known = None if generic else converter(binding.type)
    if not (_takes if is_out else _gives)(known, annotation):
        raise TypeError(f"its parameter {binding.name} is annotated {annotation!r}, which {binding.type} does not know")


def _check_returned(kind: str, annotation: Any) -> None:
    if not isinstance(annotation, type):
        raise TypeError(f"it returns {annotation!r}, which is no type")
    if not _takes(converter(kind), annotation):
        raise TypeError(f"it returns {annotation!r}, which {kind} does not know")


def _gives(known: Any, annotation: Any) -> bool:
    return bool(issubclass(annotation, str | bytes) if known is None else known.check_input_type_annotation(annotation))


def _takes(known: Any, annotation: Any) -> bool:
    if known is None:
        return issubclass(annotation, str | bytes | bytearray)
    return bool(known.check_output_type_annotation(annotation))


def _implicit_output(kind: str) -> bool:
    """Whether a return value goes to a binding that is not called $return: those unknown to the library do that."""
    known = converter(kind)
    return kind != "durableClient" if known is None else bool(getattr(known, "has_implicit_output", bool)())


def _retry_options(policy: Mapping[str, str | None]) -> RpcRetryOptions:
    strategy, limit = str(policy["strategy"]), int(policy["max_retry_count"] or "")
    options = functools.partial(RpcRetryOptions, max_retry_count=limit, retry_strategy=strategy)
    if strategy == "fixed_delay":
        return options(delay_interval=_interval(policy.get("delay_interval")))
    least, most = policy.get("minimum_interval"), policy.get("maximum_interval")
    return options(
        minimum_interval=_interval(least) if least else timedelta(),
        maximum_interval=_interval(most) if most else timedelta(seconds=LONGEST_S),
    )


def _interval(text: str | None) -> timedelta:
    """Hours to 23, minutes and seconds; no fraction, no days."""
    found = time.strptime(text or "", "%H:%M:%S")
    return timedelta(hours=found.tm_hour, minutes=found.tm_min, seconds=found.tm_sec)


def script_dir(call: Callable[..., Any]) -> str:
    """Folder of the file that a function stands in."""
    return str(Path(inspect.getfile(call)).parent)
