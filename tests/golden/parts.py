"""The parts of a golden record: for each, the commands that are typed and the files that are kept."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from tests.golden.cases import BROKEN, RECIPES, UNFIT, nested
from tests.golden.data import write_data
from tests.golden.tape import Recorder


def record_case(tape: Recorder, case: str) -> None:
    """All that is done with one recipe: check, train, eval, predict or generate, export."""
    task, _, short = case.partition("/")
    labels = task == "classification"
    with _folder(tape.work / task):
        recipe, run = Path(f"{short}.yaml"), Path("runs") / short
        recipe.write_text(RECIPES[case], encoding="utf-8")
        tape.type(f"{case}/check", "check", recipe)
        tape.type(f"{case}/check-json", "check", recipe, "--json", "--no-data")
        tape.type(f"{case}/train", "train", recipe)
        tape.type(f"{case}/eval", "eval", run, "--quick", "--fail-on", "no_gain,overfit,underfit")
        tape.files(f"{case}/run", run)
        if labels:
            _predict(tape, case, run)
        else:
            _generate(tape, case, run)
        tape.type(f"{case}/export", "export", run, f"exported-{short}")
        tape.files(f"{case}/exported", Path(f"exported-{short}"))
        tape.type(f"{case}/export-merged", "export", run, f"merged-{short}", "--merge")
        tape.files(f"{case}/merged", Path(f"merged-{short}"))


def _predict(tape: Recorder, case: str, run: Path) -> None:
    pairs = ["--text-pair", "a lamp", "--text-pair", "a planet"] if case.endswith("cls") else []
    texts = ["--text", "the lamp opens the river", "--text", "a planet"]
    tape.type(f"{case}/predict", "predict", run, *texts, *pairs, "--use-cpu")
    tape.type(f"{case}/predict-file", "predict", run / "model", "--file", "labelled-test.csv", "--use-cpu")
    tape.type(f"{case}/generate", "generate", run, "--prompt", "the lamp")


def _generate(tape: Recorder, case: str, run: Path) -> None:
    short, options = case.partition("/")[2], ["--max-new-tokens", 6, "--dtype", "float32", "--use-cpu"]
    prompt = {"causal_lm/prompt": ["--field", "question=What does the lamp do?", "--field", "place=river"]}
    asked = prompt.get(case, ["--prompt", "the lamp opens the river"])
    system = ["--system", "Be brief."] if case == "causal_lm/lora" else []
    file = "answers-test.jsonl" if case in prompt else "prompts.txt"
    drawn = ["--sample", "--seed", 3, "--temperature", 0.8, "--top-k", 20, "--num-samples", 2, "--json"]
    tape.type(f"{case}/generate", "generate", run, *asked, *system, *options)
    tape.type(f"{case}/generate-drawn", "generate", run, *asked, *drawn, *options)
    tape.type(f"{case}/generate-file", "generate", run / "model", "--file", file, "--json", *options)
    if short == "lora":
        tape.type(f"{case}/generate-base", "generate", run, *asked, "--no-adapter", "--num-beams", 3, *options)
    if short in ("full", "labels"):
        tape.type(f"{case}/predict", "predict", run, "--text", "the lamp opens the river", "--use-cpu")


def record_comparisons(tape: Recorder, task: str) -> None:
    """The runs of a task side by side, once all of them are there; and with the whole of `ftkit eval`."""
    with _folder(tape.work / task):
        if not Path("runs").is_dir():
            return
        runs = sorted(Path("runs").iterdir())
        for day, run in enumerate(runs, start=1):
            _edit(
                run / "manifest.json",
                started=f"2026-01-0{day}T10:00:00+00:00",
                finished=f"2026-01-0{day}T10:00:09+00:00",
            )
        tape.type(f"{task}/runs", "runs")
        tape.type(f"{task}/runs-json", "runs", "--json")
        tape.type(f"{task}/compare", "compare", *runs[:4])
        tape.type(f"{task}/compare-json", "compare", *runs[-2:], "--against", runs[-1], "--json")
        chosen = Path("runs") / ("mean" if task == "classification" else "lora")
        tape.type(f"{task}/eval", "eval", chosen, "--out", "whole", "--apply", "better.yaml", "--fail-on", "no_gain")
        tape.files(f"{task}/whole", Path("whole"))
        alone = ["--recipe", f"{chosen.name}.yaml", "--out", "alone", "--quick"]
        tape.type(f"{task}/eval-model", "eval", chosen / "model", *alone)
        tape.files(f"{task}/alone", Path("alone"))
        if Path("better.yaml").exists():
            tape.keep(f"{task}/better.yaml", Path("better.yaml").read_text(encoding="utf-8"))


def record_resumes(tape: Recorder, case: str) -> None:
    """A run that was cut short goes on: with more steps, after a failure, from a checkpoint that is named."""
    task, _, short = case.partition("/")
    name, run = f"resume/{task}", Path("runs") / short
    with _folder(tape.work / "resume" / task):
        Path(f"{short}.yaml").write_text(RECIPES[case], encoding="utf-8")
        words = ["train", f"{short}.yaml"]
        tape.type(f"{name}/short", *words, "training.max_steps=3", "--json")
        tape.type(f"{name}/again", *words)
        tape.type(f"{name}/finished", *words, "training.max_steps=3", "--resume")
        tape.type(f"{name}/changed", *words, "--resume")
        tape.type(f"{name}/longer", *words, "--resume", "--allow-changed", "training.max_steps")
        tape.files(f"{name}/longer-run", run)
        _edit(run / "manifest.json", state="failed")
        (run / "metrics.json").unlink()
        checkpoints = sorted((run / "checkpoints").iterdir())
        tape.type(f"{name}/from-checkpoint", *words, "--resume", checkpoints[0])
        tape.files(f"{name}/from-checkpoint-run", run)
        _edit(run / "manifest.json", state="failed")
        shutil.rmtree(run / "model")
        for command, line in UNFINISHED.items():
            tape.type(f"{name}/unfinished-{command}", command, run, *line)
        (checkpoints[-1] / "optimizer.pt").write_bytes(b"torn")
        tape.type(f"{name}/torn-checkpoint", *words, "--resume", checkpoints[-1])
        tape.type(f"{name}/torn", *words, "--resume")
        tape.files(f"{name}/torn-run", run)
        tape.type(f"{name}/no-checkpoint", *words, "--resume", "nowhere")


UNFINISHED = {
    "predict": ["--text", "a"],
    "generate": ["--prompt", "a"],
    "eval": ["--quick"],
    "export": [],
    "compare": ["."],
}
"""What is asked of a run without a model."""


def _edit(path: Path, **values: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | values, indent=2), encoding="utf-8")


def record_broken(tape: Recorder) -> None:
    """Recipes and commands that are wrong, and what is said about them."""
    with _folder(tape.work / "broken"):
        for cases, words in ((BROKEN, ["--no-data"]), (UNFIT, ["--offline"])):
            for name, (base, wrong) in cases.items():
                keys = {key: value for key, value in (dict(base) | dict(wrong)).items() if value is not None}
                Path(f"{name}.yaml").write_text(json.dumps(nested(keys), indent=2), encoding="utf-8")
                tape.type(f"broken/{name}", "check", f"{name}.yaml", *words)
                if words == ["--offline"]:
                    tape.type(f"broken/{name}-train", "train", f"{name}.yaml", "training.max_steps=2", "--offline")
        Path("torn.yaml").write_text("task: [classification\nmodel: {", encoding="utf-8")
        Path("twice.yaml").write_text("task: seq2seq\ntask: seq2seq\n", encoding="utf-8")
        for number, line in enumerate(NONSENSE):
            tape.type(f"broken/line-{number:02}", *line.split())


NONSENSE = (
    "check torn.yaml", "check twice.yaml", "check nowhere.yaml", "check .", "train", "train labelled.csv",
    "train typo.yaml --resume --overwrite", "train knobs.yaml nonsense", "train knobs.yaml --allow-changed x",
    "eval nowhere", "eval .", "predict nowhere --text a", "generate nowhere --prompt a", "export nowhere",
    "runs nowhere", "compare nowhere", "compare a b", "new", "new typo.yaml --data labelled.csv",
    "new x.yaml --task nothing", "new x.yaml --from nothing", "nonsense", "predict . --nonsense",
    "--version", "new x.yaml --data nowhere.csv",
)  # fmt: skip


def record_new(tape: Recorder) -> None:
    """`ftkit new` for each task, and the recipe that it writes."""
    data = {"classification": "labelled.csv", "causal_lm": "texts.jsonl", "seq2seq": "pairs.jsonl"}
    models = {"classification": "builtin:tiny-bert", "causal_lm": "builtin:tiny-gpt2", "seq2seq": "builtin:tiny-t5"}
    lines = {task: ["--data", data[task], "--model", models[task]] for task in data}
    lines |= {f"{task}-named": [*line, "--task", task] for task, line in lines.items()}
    lines["chats"] = ["--data", "chats.jsonl", "--task", "causal_lm", "--model", "builtin:tiny-qwen3"]
    lines["labels"] = ["--data", "labelled.csv", "--task", "seq2seq", "--model", "builtin:tiny-t5"]
    lines["pairs"] = ["--data", "labelled.csv", "--text-column", "text", "--text-pair-column", "other"]
    lines["answers"] = ["--data", "answers.jsonl", "--prompt-column", "question", "--completion-column", "answer"]
    with _folder(tape.work / "new"):
        listed = tape.type("new/list", "new", "--list")
        starts = re.findall(r"^\s*([a-z0-9]+(?:-[a-z0-9]+)+)\b", listed, flags=re.MULTILINE)
        lines |= {f"from-{start}": ["--from", start] for start in starts}
        for name, line in lines.items():
            tape.type(f"new/{name}", "new", f"{name}.yaml", *line)
            if Path(f"{name}.yaml").exists():
                tape.keep(f"new/{name}.yaml", Path(f"{name}.yaml").read_text(encoding="utf-8"))
                tape.type(f"new/{name}-check", "check", f"{name}.yaml", "--no-data", "--offline")


def record_help(tape: Recorder) -> None:
    """What the commands say of themselves, and the lists and recipes that come with ftkit."""
    with _folder(tape.work / "help"):
        commands = re.findall(r"^  ([a-z]+)  ", tape.type("help/app", "--help").partition("Commands:")[2], re.MULTILINE)
        for command in commands:
            tape.type(f"help/{command}", command, "--help")
        for name, line in {
            "none": "",
            "schema": "schema",
            "builtin": "builtin",
            "builtin-json": "builtin --json",
        }.items():
            tape.type(f"help/say-{name}", *line.split())
        doctor = tape.type("help/say-doctor", "doctor", "--no-self-test", "--offline")
        tape.keep("help/say-doctor.txt", re.sub(r"\d[\w.+-]*", "<n>", tape.normal(doctor)))
        for recipe in sorted((tape.work / "recipes").rglob("*.yaml")):
            tape.type(f"recipes/{recipe.stem}", "check", recipe, "--no-data", "--offline")


def record_smoke(tape: Recorder, case: str) -> None:
    """The smoke test of a recipe of ours, or of one that comes with ftkit."""
    with _folder(tape.work / "smoke"):
        recipe = tape.work / "recipes" / f"{case}.yaml"
        if case in RECIPES:
            recipe = Path(f"{case.partition('/')[2]}.yaml")
            recipe.write_text(RECIPES[case], encoding="utf-8")
        tape.type(f"smoke/{case.replace('/', '-')}", "train", recipe, "--smoke")


@contextlib.contextmanager
def _folder(folder: Path) -> Iterator[None]:
    if not folder.exists():
        folder.mkdir(parents=True)
        write_data(folder)
    with contextlib.chdir(folder):
        yield


def parts() -> dict[str, Callable[[Recorder], None]]:
    """What there is to record, by name, in the order of a recording."""
    found: dict[str, Callable[[Recorder], None]] = {"help": record_help, "new": record_new, "broken": record_broken}
    for case in RECIPES:
        found[case] = partial(record_case, case=case)
    for task in ("classification", "causal_lm", "seq2seq"):
        found[f"{task}/compare"] = partial(record_comparisons, task=task)
    for case in ("classification/lora", "causal_lm/lora", "seq2seq/prompt"):
        found[f"resume/{case}"] = partial(record_resumes, case=case)
    shipped = ("quickstart", "text-pairs", "instruct", "commands-t5")
    for case in ("classification/mean", "causal_lm/full", "seq2seq/full", *shipped):
        found[f"smoke/{case}"] = partial(record_smoke, case=case)
    return found
