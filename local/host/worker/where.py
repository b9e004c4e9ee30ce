"""An error in one line."""

from pathlib import Path

MOST = 2_000  # characters of a message: what is wrong with a scenario ends with the way out


def where(error: BaseException) -> str:
    """An exception in one line: type, message (shortened) and the place it came from."""
    trace, frame = error.__traceback__, None
    while trace is not None:
        frame, trace = trace, trace.tb_next
    said = " ".join(str(error).split())[:MOST]
    text = f"{type(error).__name__}: {said}" if said else type(error).__name__
    if frame is None:
        return text
    return f"{text} ({Path(frame.tb_frame.f_code.co_filename).name}:{frame.tb_lineno})"
