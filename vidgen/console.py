"""What both command lines share: one place that turns exceptions into one line and an exit code.

0    done
1    failed: one line on stderr, `--debug` for the traceback
2    bad usage or config
130  interrupted, after saving what there was to save
"""

from __future__ import annotations

import importlib.util
import os
import sys
import traceback
from collections.abc import Sequence
from typing import NoReturn

import click

from vidgen.errors import Interrupted, VidgenError

# Top-level modules that come with the extra; a laptop install lacks them.
ENGINE_MODULES = {
    "torch", "ray", "av", "numpy", "pyarrow", "torchmetrics",
    "prometheus_client", "safetensors", "jinja2", "markupsafe", "PIL", "cv2", "psutil", "pynvml",
    "optuna",
}  # fmt: skip


def run(command: click.Command, argv: Sequence[str] | None = None) -> NoReturn:
    """Run a command line and exit; every exit of the process goes through here."""
    argv = sys.argv[1:] if argv is None else list(argv)
    debug = "--debug" in argv
    accept_debug(command)
    try:
        code = command.main(args=argv, standalone_mode=False)
        sys.stdout.flush()  # here, so that a reader who left is noticed inside the try
    except BrokenPipeError:
        # `vidgen ... | head`: nobody reads on; the interpreter's last flush must not complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    except click.Abort:
        code = Interrupted.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        code = error.exit_code
    except click.ClickException as error:
        message = error.format_message()
        if isinstance(error, click.UsageError) and error.ctx is not None:
            message = f"{message} `{error.ctx.command_path} --help` shows what fits."
        code = _fail(message, error.exit_code, debug=debug)
    except VidgenError as error:
        code = _fail(
            str(error),
            error.exit_code,
            debug=debug,
            word="interrupted" if isinstance(error, Interrupted) else "error",
        )
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing == "torchvision":
            # torchmetrics imports torch-fidelity where it finds it, and that torchvision.
            code = _fail(
                "package 'torch-fidelity' is installed without torchvision, so torchmetrics cannot "
                "be imported. vidgen needs neither: pip uninstall torch-fidelity",
                1,
                debug=debug,
            )
            sys.exit(code)
        if missing not in ENGINE_MODULES or importlib.util.find_spec(missing) is not None:
            raise
        code = _fail(
            f"this command needs the engine, and package '{missing}' is not installed. "
            "Install it with: pip install 'vidgen[train]'",
            1,
            debug=debug,
        )
    sys.exit(code if isinstance(code, int) else 0)


def _fail(message: str, code: int, *, debug: bool, word: str = "error") -> int:
    if debug:
        traceback.print_exc()
    line = " ".join(message.split())  # one line, whatever a library put into the text
    print(f"{word}: {line}", file=sys.stderr)
    return code


def accept_debug(command: click.Command) -> None:
    """Let `--debug` stand behind any command, and show it in each one's help."""
    if not any(parameter.name == "debug" for parameter in command.params):
        option = click.Option(
            ["--debug"], is_flag=True, expose_value=False, help="Show the traceback of an error."
        )
        command.params.append(option)
    for inner in command.commands.values() if isinstance(command, click.Group) else ():
        accept_debug(inner)
