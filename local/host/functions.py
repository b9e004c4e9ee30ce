"""What a function app declares: indexed as the Python worker does it, checked, ready to be driven."""

import importlib
import inspect
import json
import re
import sys
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from azure.functions import meta

from local.host.retry import Retry

SUPPORTED = ("eventHubTrigger", "blobTrigger", "timerTrigger", "eventGridTrigger", "httpTrigger")
PLACES = ("ConnectionStrings:", "")


class HostError(Exception):
    """The app or its settings cannot be run; the message is for the person who started the host."""


@dataclass(frozen=True, kw_only=True)
class Declared:
    """One function of the app.

    Args:
        name: Function name.
        kind: Type of its trigger, one of `SUPPORTED`.
        binding: The trigger as it stands in function.json (camel case keys).
        call: The user's callable.
        argument: Name of the parameter that takes the trigger's value.
        is_async: Whether `call` is a coroutine function.
        wants_context: Whether it takes a `context` parameter.
        returns: Whether a return value is bound to something (HTTP only).
        retry: Its retry policy, if it has one.
    """

    name: str
    kind: str
    binding: Mapping[str, Any]
    call: Callable[..., Any]
    argument: str
    is_async: bool
    wants_context: bool
    returns: bool
    retry: Retry | None


def load_app(app_dir: Path) -> list[Declared]:
    """Import `function_app` from a directory and index it.

    Raises:
        HostError: The import failed, or a function cannot be driven; every such function is named at once.
    """
    if not (app_dir / "function_app.py").is_file():
        raise HostError(f"{app_dir}/function_app.py does not exist")
    sys.path.insert(0, str(app_dir))
    try:
        module = importlib.import_module("function_app")
        functions = module.app.get_functions()
    except Exception as error:
        raise HostError(f"function_app cannot be loaded, so the app has no functions: {where(error)}") from error
    return declare(functions)


def declare(functions: list[Any]) -> list[Declared]:
    """Index the functions of an app (`app.get_functions()`).

    Raises:
        HostError: Listing every function that this stand-in, or Azure itself, could not run.
    """
    declared: list[Declared] = []
    problems: list[str] = []
    for function in functions:
        name = function.get_function_name()
        try:
            declared.append(_declare(name, function))
        except HostError as error:
            problems.append(f"{name}: {error}")
    names = [each.name.lower() for each in declared]
    problems += [f"{name}: two functions have this name" for name in sorted({n for n in names if names.count(n) > 1})]
    if problems:
        raise HostError("these functions cannot run:\n  " + "\n  ".join(problems))
    return declared


def _declare(name: str, function: Any) -> Declared:
    bindings = [json.loads(binding) for binding in function.get_raw_bindings()]
    trigger = next(binding for binding in bindings if str(binding["type"]).lower().endswith("trigger"))
    kind = trigger["type"]
    if kind not in SUPPORTED:
        raise HostError(f"trigger {kind} is not supported; supported are {', '.join(SUPPORTED)}")
    others = [b for b in bindings if b is not trigger and not (kind == "httpTrigger" and b["name"] == "$return")]
    if others:
        raise HostError(f"binding {others[0]['type']} is not supported; use the SDK inside the function")
    call = function.get_user_function()
    _check_parameter(call, trigger)
    if kind == "eventHubTrigger":
        _check_event_hub(trigger)
    policy = function.get_settings_dict("retry_policy")
    return Declared(
        name=name,
        kind=kind,
        binding=trigger,
        call=call,
        argument=trigger["name"],
        is_async=inspect.iscoroutinefunction(call),
        wants_context="context" in inspect.signature(call).parameters,
        returns=len(bindings) > 1,
        retry=Retry.from_settings(policy) if policy else None,
    )


def _check_parameter(call: Callable[..., Any], trigger: Mapping[str, Any]) -> None:
    """The worker refuses to index a parameter whose annotation the converter does not know; so do we."""
    name = trigger["name"]
    if name not in inspect.signature(call).parameters:
        raise HostError(f"has no parameter {name}, which its trigger fills")
    annotation = typing.get_type_hints(call).get(name)
    converter = meta.get_binding_registry().get(  # type: ignore[no-untyped-call]
        trigger["type"]
    )
    try:
        known = annotation is None or converter.check_input_type_annotation(annotation)
    except TypeError:  # an annotation that is no class
        known = False
    if not known:
        raise HostError(f"parameter {name} is annotated {annotation}, which fails indexing in Azure")


def _check_event_hub(trigger: Mapping[str, Any]) -> None:
    if str(trigger.get("cardinality", "")).lower() != "many":
        raise HostError('only cardinality="many" is supported')
    if str(trigger.get("dataType", "")).lower() != "binary":
        raise HostError('needs data_type="binary": otherwise one body that is not JSON fails the whole batch in Azure')


def resolve(value: str, settings: Mapping[str, str]) -> str:
    """Replace each `%NAME%` by the setting of that name.

    Raises:
        HostError: A setting is missing.
    """

    def setting(match: re.Match[str]) -> str:
        found = settings.get(match[1])
        if not found:
            raise HostError(f"setting {match[1]}, which {value} refers to, is missing")
        return found

    return re.sub(r"%([^%]+)%", setting, value)


def connection(name: str, settings: Mapping[str, str]) -> str:
    """The connection string that a trigger's `connection` names, looked up as the Functions host does it.

    The host looks behind its own prefix first, and its settings have no case: a connection named STORAGE would be the
    host's own AzureWebJobsStorage.

    Raises:
        HostError: There is none, or an identity stands in its place.
    """
    known = {key.casefold().replace("__", ":"): value for key, value in settings.items() if value}
    for section in (f"{place}{prefix}{name}".casefold() for prefix in ("AzureWebJobs", "") for place in PLACES):
        if section in known:
            return known[section]
        if any(key.startswith(f"{section}:") for key in known):
            raise HostError(
                f"connection setting {name} names an identity; the local host takes connection strings only"
            )
    raise HostError(f"connection setting {name} is missing; the local host takes connection strings only")


def where(error: BaseException) -> str:
    """An exception in one line: type, message (shortened) and the place it came from."""
    trace, frame = error.__traceback__, None
    while trace is not None:
        frame, trace = trace, trace.tb_next
    text = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
    if frame is None:
        return text
    return f"{text} ({Path(frame.tb_frame.f_code.co_filename).name}:{frame.tb_lineno})"
