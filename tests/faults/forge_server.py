"""A process that has imported everything and forks one `ftkit` after the other: real processes, without the seconds
that each import of torch takes.

Reads one JSON object a line from stdin, {"argv", "cwd", "env", "log"} or {"wait": pid}, and answers with one.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import pkgutil
import signal
import sys
from typing import Any

LIBRARIES = (
    "accelerate",
    "peft",
    "sacrebleu",
    "rouge_score.rouge_scorer",
    "transformers.conversion_mapping",
    "transformers.models.auto.modeling_auto",
    "transformers.models.bert.modeling_bert",
    "transformers.models.gpt2.modeling_gpt2",
    "transformers.models.llama.modeling_llama",
    "transformers.models.t5.modeling_t5",
    "transformers.generation.utils",
    "transformers.trainer",
)


def import_everything() -> None:
    """All that a training imports; nothing is computed, so that no thread lives when a child is forked."""
    import ftkit

    own = [found.name for found in pkgutil.walk_packages(ftkit.__path__, "ftkit.") if "__main__" not in found.name]
    for name in (*LIBRARIES, *own):
        importlib.import_module(name)
    # what is there now is nobody's garbage: a child need not look through it
    gc.collect()
    gc.freeze()


def run_child(order: dict[str, Any]) -> None:
    """Become `ftkit ARGV`, in a session of its own; never returns."""
    os.setsid()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # a shell's background job, as whatever runs the tests may be, hands down signals that are ignored
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.chdir(order["cwd"])
    os.environ.update(order["env"])
    sys.argv = ["ftkit", *order["argv"]]
    sys.stdout = os.fdopen(1, "w", buffering=1)
    sys.stderr = os.fdopen(2, "w", buffering=1)
    if limit := order["env"].get("FORGE_ADDRESS_SPACE"):
        import resource

        import psutil

        used = psutil.Process().memory_info().vms
        resource.setrlimit(resource.RLIMIT_AS, (used + int(limit), used + int(limit)))
    from ftkit.cli.app import main

    code: Any = 1
    try:
        main()
        code = 0
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 1
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code or 0)


def serve() -> None:
    """Answer orders until stdin ends."""
    import_everything()
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        if "wait" in order:
            pid, status = os.waitpid(order["wait"], os.WNOHANG if order.get("poll") else 0)
            print(json.dumps({"ended": pid != 0, "status": os.waitstatus_to_exitcode(status)}), flush=True)
            continue
        child = os.fork()
        if child == 0:
            run_child(order)
        print(json.dumps({"pid": child}), flush=True)


if __name__ == "__main__":
    serve()
