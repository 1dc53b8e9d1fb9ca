"""The command ``pipeline``, also as ``python -m pipeline``."""

# Before anything else is looked for or loaded, Ctrl-C is held: in here it would be a traceback.
import _signal  # type: ignore[import-not-found]

held = _signal.pthread_sigmask(_signal.SIG_BLOCK, {_signal.SIGINT})

from pipeline.interrupts import end_at_once  # noqa: E402

end_at_once()
_signal.pthread_sigmask(_signal.SIG_SETMASK, held)

from pipeline.cli import run  # noqa: E402

if __name__ == "__main__":
    run()
