"""The contract of `vidgen`: exit codes, one clear line on stderr, help, and a light start."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import click
import jsonschema
import pytest

from vidgen import __version__
from vidgen.cli import cli
from vidgen.config.load import load_run, recipe_names
from vidgen.config.run import RunConfig
from vidgen.console import run
from vidgen.errors import DataError, Interrupted

ENGINE = ["torch", "ray", "numpy", "av", "pyarrow", "torchmetrics", "boto3", "jinja2", "PIL"]


@pytest.fixture
def vidgen(capfd: pytest.CaptureFixture[str]) -> Any:
    """Run a command line in this process: vidgen(...) gives (exit code, stdout, stderr)."""

    def call(*argv: str, command: click.Command = cli) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stop:
            run(command, list(argv))
        assert isinstance(stop.value.code, int)
        return stop.value.code, *capfd.readouterr()

    return call


def paths(command: click.Command, at: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Every command and group, as words on the command line."""
    inner = command.commands.items() if isinstance(command, click.Group) else ()
    return [at, *(found for name, each in inner for found in paths(each, (*at, name)))]


@pytest.mark.parametrize("words", paths(cli), ids=" ".join)
def test_every_command_explains_itself(vidgen: Any, words: tuple[str, ...]) -> None:
    code, out, err = vidgen(*words, "--help")
    assert (code, err) == (0, "")
    assert " ".join(words) in out.splitlines()[0].removeprefix("Usage: ")
    assert "--debug" in out


def test_only_commands_that_work_are_listed() -> None:
    assert sorted(cli.commands) == [
        "bench", "config", "data", "evaluate", "explain", "generate", "recipes", "report", "study",
        "top", "train", "tune",
    ]  # fmt: skip


USAGE = [
    (["trian"], "No such command 'trian'. Did you mean 'train'?"),
    (["train", "--stes"], "No such option '--stes'. Did you mean '--set'?"),
    (["data", "preprae"], "No such command 'preprae'. Did you mean 'prepare'?"),
    (["train"], "Give a recipe or a config file, or --resume RUN."),
    (["train", "shapes-flow", "--workers", "-1"], "-1 is not in the range x>=0"),
    (["config", "show"], "Missing argument 'RECIPE|FILE'"),
    (
        ["config", "show", "shape-flow"],
        "no recipe or file 'shape-flow' (did you mean 'shapes-flow'?)",
    ),
    (["config", "show", "missing.yaml"], "no such config file: missing.yaml"),
    (["config", "show", "shapes-flow", "--set", "train.stepz=3"], "did you mean 'steps'"),
    (["config", "show", "shapes-flow", "--set", "train.steps=many"], "--set: train.steps"),
    (["config", "show", "shapes-flow", "--set", "train.steps"], "is not an assignment"),
    (["generate", "runs/x", "--n", "0"], "0 is not in the range x>=1"),
    (["generate", "runs/x", "--image", "missing.png"], "'missing.png' does not exist"),
]


@pytest.mark.parametrize(("argv", "message"), USAGE, ids=[" ".join(argv) for argv, _ in USAGE])
def test_bad_usage_is_one_line_and_exit_2(vidgen: Any, argv: list[str], message: str) -> None:
    code, out, err = vidgen(*argv)
    assert (code, out) == (2, "")
    assert message in err
    assert err.startswith("error: ")
    assert err.count("\n") == 1


def test_a_config_file_may_be_called_anything(
    vidgen: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("mine", "shapes-flow"):
        Path(name).write_text("name: mine\ndata: {synthetic: {}}\nmodel: {family: vae}\n")
    assert "family: vae" in vidgen("config", "show", "mine")[1]
    assert "family: flow" in vidgen("config", "show", "shapes-flow")[1]  # a recipe stays one


def test_a_config_error_names_file_and_line(vidgen: Any, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("name: mine\ndata:\n  urll: x\nmodel: {family: flow}\n")
    code, _, err = vidgen("config", "show", str(file))
    assert code == 2
    assert f"{file}:3: unknown key 'data.urll' (did you mean 'url'?)" in err


@pytest.mark.parametrize(
    "argv", [["generate"], ["evaluate"], ["report"], ["train", "--resume"]], ids=" ".join
)
def test_a_folder_that_is_no_run_is_exit_1(vidgen: Any, tmp_path: Path, argv: list[str]) -> None:
    code, out, err = vidgen(*argv, str(tmp_path))
    assert (code, out) == (1, "")
    assert re.fullmatch(r"error: .* is not a run folder: it has no config.yaml\. Give .*\n", err)


def test_debug_shows_the_traceback_wherever_it_stands(vidgen: Any) -> None:
    for argv in (["--debug", "config", "show", "x"], ["config", "show", "x", "--debug"]):
        code, _, err = vidgen(*argv)
        assert code == 2
        assert "Traceback (most recent call last)" in err
        assert err.splitlines()[-1].startswith("error: no recipe or file 'x'")


def failing(error: BaseException) -> click.Command:
    @click.command()
    def fail() -> None:
        raise error

    return fail


def test_an_error_with_line_breaks_is_still_one_line(vidgen: Any) -> None:
    code, _, err = vidgen(command=failing(DataError("first\nsecond", fix="Do\n  this.")))
    assert (code, err) == (1, "error: first second. Do this.\n")


def test_an_interrupted_run_exits_130_and_says_how_to_go_on(vidgen: Any) -> None:
    code, _, err = vidgen(command=failing(Interrupted("stopped after step 5", fix="Go on so.")))
    assert (code, err) == (130, "interrupted: stopped after step 5. Go on so.\n")


def test_ctrl_c_outside_training_is_quiet(vidgen: Any) -> None:
    code, out, err = vidgen(command=failing(KeyboardInterrupt()))
    assert (code, out, err.strip()) == (130, "", "")


def test_a_bug_shows_itself() -> None:
    with pytest.raises(ZeroDivisionError):
        run(failing(ZeroDivisionError()), [])


def test_without_the_engine_one_line_says_how_to_install_it() -> None:
    script = (
        "import sys; sys.modules['torch'] = None; from vidgen.cli import main;"
        "sys.argv = ['vidgen', 'evaluate', 'runs/x']; main()"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == (
        "error: this command needs the engine, and package 'torch' is not installed. "
        "Install it with: pip install 'vidgen[train]'\n"
    )


def test_a_reader_who_leaves_early_hears_no_complaint() -> None:
    script = "from vidgen.cli import main; import sys; sys.argv = ['vidgen', *sys.argv[1:]]; main()"
    for argv in (["config", "schema"], ["recipes"]):
        done = subprocess.run(
            f"{sys.executable} -c \"{script}\" {' '.join(argv)} | true",
            shell=True, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert done.stderr == ""


@pytest.mark.parametrize(
    "argv",
    [["config", "schema"], ["train", "--help"], ["config", "show", "nope"], ["--version"]],
    ids=" ".join,
)
def test_reading_loads_no_engine(argv: list[str]) -> None:
    script = (
        "import sys, vidgen.cli\n"
        f"sys.argv = ['vidgen', *{argv!r}]\n"
        "try: vidgen.cli.main()\n"
        "except SystemExit: pass\n"
        f"print(*({{*{ENGINE!r}}} & sys.modules.keys()), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stderr.splitlines()[-1] == ""


def test_version(vidgen: Any) -> None:
    assert vidgen("--version") == (0, f"vidgen, version {__version__}\n", "")


def test_recipes(vidgen: Any, tmp_path: Path) -> None:
    code, listed, _ = vidgen("recipes")
    assert code == 0
    assert all(name in listed for name in recipe_names())
    rows = json.loads(vidgen("recipes", "--json")[1])
    assert [row["name"] for row in rows] == recipe_names()
    file = tmp_path / "copy.yaml"
    file.write_text(vidgen("recipes", "shapes-flow")[1])
    assert load_run(str(file)) == load_run("shapes-flow")


def test_config_show_gives_back_what_was_asked(vidgen: Any, tmp_path: Path) -> None:
    changes = ["--set", "train.steps=7", "--set", "optimizer.lr=1e-5"]
    expected = load_run("shapes-flow", ["train.steps=7", "optimizer.lr=1e-5"])
    file = tmp_path / "shown.yaml"
    file.write_text(vidgen("config", "show", "shapes-flow", *changes)[1])
    assert load_run(str(file)) == expected
    as_json = json.loads(vidgen("config", "show", "shapes-flow", *changes, "--json")[1])
    assert RunConfig.model_validate(as_json) == expected


def test_the_schema_accepts_recipes_and_refuses_typos(vidgen: Any) -> None:
    schema = json.loads(vidgen("config", "schema")[1])
    checker = jsonschema.Draft202012Validator(schema)
    checker.check_schema(schema)
    for name in recipe_names():
        config = load_run(name).model_dump(mode="json")
        checker.validate(config)
        for group in ("model", "train"):
            wrong = {**config, group: {**config[group], "stepz": 1}}
            assert not checker.is_valid(wrong), f"a typo in {group} passes"


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[tuple[RunConfig, str | None]]:
    """What `vidgen train` hands to the engine."""
    calls: list[tuple[RunConfig, str | None]] = []
    module: Any = types.ModuleType("vidgen.engine.train")
    module.train = lambda config, *, resume=None: calls.append((config, resume))
    monkeypatch.setitem(sys.modules, "vidgen.engine.train", module)
    return calls


def test_train_hands_on_recipe_overrides_and_workers(vidgen: Any, trained: Any) -> None:
    code, _, _ = vidgen("train", "shapes-flow", "--set", "train.steps=3", "--workers", "2")
    assert code == 0
    assert trained == [(load_run("shapes-flow", ["train.steps=3", "scale.workers=2"]), None)]


def test_resume_alone_keeps_the_runs_config(vidgen: Any, trained: Any, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(vidgen("config", "show", "shapes-flow")[1])
    run = str(tmp_path)
    vidgen("train", "--resume", run)
    vidgen("train", "--resume", run, "--set", "train.steps=9")
    vidgen("train", "shapes-flow", "--resume", run)
    plain, longer = load_run("shapes-flow"), load_run("shapes-flow", ["train.steps=9"])
    assert trained == [(plain, run), (longer, run), (plain, run)]
