"""45 small apps and what azure-functions-runtime 1.3.0 says to each: it takes the app, or refuses all of it.

Each is the body of a function_app.py, below `HEAD`.
"""

from dataclasses import dataclass

HEAD = """
import typing
from typing import Iterable, List, Optional, Sequence
import azure.functions as func
app = func.FunctionApp()
hub = dict(arg_name="events", connection="HUBS", event_hub_name="work", cardinality="many", data_type="binary")
every_hour = app.timer_trigger(arg_name="timer", schedule="0 0 * * * *")
"""


@dataclass(frozen=True)
class SmallApp:
    """One app.

    Args:
        taken: The vendor's verdict.
        source: What stands below `HEAD`.
        missing: What the local host lacks to drive its function, though the vendor takes it.
    """

    taken: bool
    source: str
    missing: str | None = None


def on_hub(annotation: str, changes: str = "") -> str:
    return f"""
@app.event_hub_message_trigger(**hub | dict({changes}))
def work(events{annotation}): ...
"""


def on_timer(parameters: str, returns: str = "", decorators: str = "", kind: str = "def") -> str:
    return f"""
@every_hour
{decorators}
{kind} work({parameters}){returns}: ...
"""


def on_http(returns: str) -> str:
    return f"""
@app.route(route="x")
def work(req: func.HttpRequest){returns}: ...
"""


def on_blob(annotation: str) -> str:
    return f"""
@app.blob_trigger(arg_name="blob", path="incoming/x", connection="BLOBS")
def work(blob{annotation}): ...
"""


def retried(**policy: str) -> str:
    return on_timer("timer: func.TimerRequest", decorators=f"@app.retry(**{policy!r})")


TIMER = "timer: func.TimerRequest"
RETURN = '@app.event_hub_output(arg_name="$return", event_hub_name="a", connection="HUBS")'
INPUT = '@app.blob_input(arg_name="$return", path="a/b", connection="BLOBS")'
OUTPUT = '@app.blob_output(arg_name="out", path="a/b", connection="BLOBS")'
GROWING = {"strategy": "exponential_backoff", "max_retry_count": "-1"}
FIXED = {"strategy": "fixed_delay", "max_retry_count": "3"}

APPS = {
    # what hubs send
    "a batch as typing.List": SmallApp(True, on_hub(": List[func.EventHubEvent]")),
    "a batch as typing.Sequence": SmallApp(True, on_hub(": Sequence[func.EventHubEvent]")),
    "a batch as typing.Iterable": SmallApp(True, on_hub(": Iterable[func.EventHubEvent]")),
    "a batch without annotation": SmallApp(True, on_hub("")),
    "a batch annotated as one event": SmallApp(True, on_hub(": func.EventHubEvent")),
    "a batch as builtin list": SmallApp(False, on_hub(": list[func.EventHubEvent]")),
    "one event as text": SmallApp(True, on_hub(": str", 'cardinality="one"'), "cardinality"),
    "one event at a time": SmallApp(True, on_hub(": func.EventHubEvent", 'cardinality="one"'), "cardinality"),
    "a batch of no data type": SmallApp(True, on_hub(": List[func.EventHubEvent]", "data_type=None"), "data_type"),
    "a batch of strings": SmallApp(True, on_hub(": List[func.EventHubEvent]", 'data_type="string"'), "data_type"),
    # parameters
    "a timer": SmallApp(True, on_timer(TIMER)),
    "a coroutine": SmallApp(True, on_timer(TIMER, kind="async def")),
    "a parameter that no binding fills": SmallApp(False, on_timer(f"{TIMER}, extra: str")),
    "such a parameter with a default": SmallApp(False, on_timer(f"{TIMER}, extra: int = 1")),
    "any keywords": SmallApp(False, on_timer(f"{TIMER}, **kwargs")),
    "a parameter of another name": SmallApp(False, on_timer("clock: func.TimerRequest")),
    "no parameter": SmallApp(False, on_timer("")),
    "another trigger's type": SmallApp(False, on_timer("timer: func.HttpRequest")),
    "an annotation that names nothing": SmallApp(False, on_timer("timer: 'func.Nothing'")),
    # the context
    "a context": SmallApp(True, on_timer(f"{TIMER}, context: func.Context")),
    "a context without annotation": SmallApp(True, on_timer(f"{TIMER}, context")),
    "a context of another type": SmallApp(False, on_timer(f"{TIMER}, context: dict")),
    "a context that may be missing": SmallApp(False, on_timer(f"{TIMER}, context: Optional[func.Context]")),
    # the answer
    "an HTTP response": SmallApp(True, on_http(" -> func.HttpResponse")),
    "a text as HTTP response": SmallApp(True, on_http(" -> str")),
    "an HTTP function that does not say": SmallApp(True, on_http("")),
    "an HTTP response or none": SmallApp(False, on_http(" -> Optional[func.HttpResponse]")),
    "a dict as HTTP response": SmallApp(False, on_http(" -> dict")),
    "bytes as HTTP response": SmallApp(False, on_http(" -> bytes")),
    "an HTTP function that returns nothing": SmallApp(False, on_http(" -> None")),
    # other bindings
    "a blob as text": SmallApp(True, on_blob(": str")),
    "texts returned to an output": SmallApp(False, on_timer(TIMER, " -> List[str]", RETURN)),
    "an input called $return": SmallApp(False, on_timer(TIMER, decorators=INPUT)),
    "an output": SmallApp(True, on_timer(f"{TIMER}, out: func.Out[str]", decorators=OUTPUT), "binding blob"),
    "an output that is not annotated as one": SmallApp(False, on_timer(f"{TIMER}, out: str", decorators=OUTPUT)),
    "a queue": SmallApp(
        True,
        """
@app.queue_trigger(arg_name="message", queue_name="q", connection="BLOBS")
def work(message: func.QueueMessage) -> None: ...
""",
        "queueTrigger",
    ),
    # retries
    "a fixed delay": SmallApp(True, retried(**FIXED, delay_interval="00:00:10")),
    "a growing delay of no stated limits": SmallApp(True, retried(**GROWING)),
    "a delay with a fraction": SmallApp(False, retried(**FIXED, delay_interval="00:00:00.5")),
    "a delay with days": SmallApp(False, retried(**GROWING, maximum_interval="1.00:00:00")),
    "a fixed delay without its length": SmallApp(False, retried(**FIXED)),
    "the strategy fixedDelay": SmallApp(
        False, retried(**FIXED | {"strategy": "fixedDelay"}, delay_interval="00:00:10")
    ),
    # apps
    "two apps": SmallApp(False, on_timer(TIMER) + "\nother = func.FunctionApp()"),
    "an app under two names": SmallApp(False, on_timer(TIMER) + "\nother = app"),
    "two functions of one name": SmallApp(False, on_timer(TIMER) + on_timer(TIMER)),
}
