"""Small data and runs shared by the tests of this folder."""

from __future__ import annotations

import csv
import gc
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ftkit.commands import train as workflows

SUBJECTS = {
    "kitchen": ["the pan", "a spoon", "fresh bread", "the oven", "some soup", "the knife"],
    "garden": ["the rose", "a spade", "wet soil", "the hedge", "some seeds", "the lawn"],
    "harbour": ["the ship", "an anchor", "salt water", "the pier", "some rope", "the sail"],
}
VERBS = ["lies near", "waits beside", "was found with", "looks better than", "costs more than", "came before"]


def write_rows(path: Path, *, num_rows: int, seed: int) -> Path:
    """A CSV of texts that two or more words give away the label of."""
    generator = random.Random(seed)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        for number in range(num_rows):
            label = generator.choice(sorted(SUBJECTS))
            one, two = generator.sample(SUBJECTS[label], 2)
            extra = " and so on" * generator.randrange(4)
            writer.writerow([f"{one} {generator.choice(VERBS)} {two}{extra} ({number})", label])
    return path


@pytest.fixture(scope="session")
def rows(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Files of 96 training and 32 validation rows."""
    folder = tmp_path_factory.mktemp("rows")
    train = write_rows(folder / "train.csv", num_rows=96, seed=0)
    return train, write_rows(folder / "validation.csv", num_rows=32, seed=1)


@pytest.fixture
def train(rows: tuple[Path, Path], tmp_path: Path) -> Callable[..., workflows.TrainResult]:
    """Train a recipe given as dotted keys, in a folder of its own."""

    def run(name: str = "run", *, overwrite: bool = False, resume: bool = False, **settings: Any) -> Any:
        recipe = tmp_path / f"{name}.yaml"
        recipe.write_text(
            "task: classification\n"
            "model: {name_or_path: 'builtin:tiny-bert', dtype: float32}\n"
            "method: {type: frozen}\n"
            f"data: {{train_file: {rows[0]}, validation_file: {rows[1]}}}\n"
            f"training: {{output_dir: {tmp_path / name}}}\n"
            "evaluation: {num_resamples: 100}\n"
        )
        overrides = [f"{key.replace('__', '.')}={value}" for key, value in settings.items()]
        return workflows.train(recipe, overrides, overwrite=overwrite, resume=resume)

    return run


@pytest.fixture(scope="session")
def texts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Data of language models in each of its forms: texts, pairs, chats (48 rows each) and a plain text file."""
    folder = tmp_path_factory.mktemp("texts")
    generator = random.Random(0)
    sentences = []
    for _ in range(48):
        place = generator.choice(sorted(SUBJECTS))
        one, two = generator.sample(SUBJECTS[place], 2)
        tail = " and so on" * generator.randrange(5)
        sentences.append((one, f"{generator.choice(VERBS)} {two}{tail} in the {place}."))
    rows: dict[str, list[dict[str, Any]]] = {
        "texts": [{"text": f"{one} {rest}"} for one, rest in sentences],
        "pairs": [{"prompt": f"What of {one}?", "completion": f"It {rest}"} for one, rest in sentences],
        "chats": [
            {
                "messages": [
                    {"role": "user", "content": f"What of {one}?"},
                    {"role": "assistant", "content": f"It {rest}"},
                ]
            }
            for one, rest in sentences
        ],
    }
    files = {}
    for name, lines in rows.items():
        files[name] = folder / f"{name}.jsonl"
        files[name].write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    files["plain"] = folder / "plain.txt"
    files["plain"].write_text("\n".join(f"{one} {rest}" for one, rest in sentences) + "\n", encoding="utf-8")
    return files


@pytest.fixture
def train_lm(texts: dict[str, Path], tmp_path: Path) -> Callable[..., workflows.TrainResult]:
    """Train a language model by a recipe given as dotted keys, in a folder of its own."""

    def run(
        name: str = "run",
        *,
        data: str = "pairs",
        overwrite: bool = False,
        resume: bool = False,
        reporter: Any = None,
        **settings: Any,
    ) -> Any:
        recipe = tmp_path / f"{name}.yaml"
        recipe.write_text(
            "task: causal_lm\n"
            "model: {name_or_path: 'builtin:tiny-llama', dtype: float32}\n"
            "method: {type: lora}\n"
            f"data: {{train_file: {texts[data]}}}\n"
            f"training: {{output_dir: {tmp_path / name}, bf16: false}}\n"
            "evaluation: {num_resamples: 100}\n"
        )
        if "data__validation_file" not in settings:
            settings["data__validation_size"] = 0.25
        overrides = [f"{key.replace('__', '.')}={value}" for key, value in settings.items()]
        return workflows.train(recipe, overrides, overwrite=overwrite, resume=resume, reporter=reporter)

    return run


@pytest.fixture(scope="session")
def questions(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Sources and targets: files `train` of 32 rows and `validation` of 6, no source twice."""
    folder = tmp_path_factory.mktemp("questions")
    generator = random.Random(3)
    files = {}
    for name, numbers in (("train", range(32)), ("validation", range(32, 38))):
        lines = []
        for number in numbers:
            place = generator.choice(sorted(SUBJECTS))
            one, two = generator.sample(SUBJECTS[place], 2)
            tail = " and so on" * generator.randrange(4)
            answer = f"{generator.choice(VERBS)} {two}{' again' * generator.randrange(3)}"
            lines.append({"source": f"What of {one}{tail}? ({number})", "target": answer})
        files[name] = folder / f"{name}.jsonl"
        files[name].write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return files


@pytest.fixture(scope="session")
def libraries() -> None:
    """All that training imports, put where the garbage collector does not look: a run collects twice, and would spend
    half of its second on looking at torch."""
    import peft
    import transformers

    assert peft, transformers.Trainer
    gc.freeze()


@pytest.fixture(scope="session")
def pair_recipe(libraries: None, questions: dict[str, Path]) -> Callable[..., workflows.TrainResult]:
    """Train an encoder-decoder by a recipe given as dotted keys, in the folder given."""

    def run(
        folder: Path,
        name: str,
        *,
        family: str = "t5",
        overwrite: bool = False,
        resume: bool = False,
        reporter: Any = None,
        **settings: Any,
    ) -> Any:
        recipe = folder / f"{name}.yaml"
        recipe.write_text(
            "task: seq2seq\n"
            f"model: {{name_or_path: 'builtin:tiny-{family}', dtype: float32}}\n"
            f"data: {{train_file: {questions['train']}}}\n"
            f"training: {{output_dir: {folder / name}, bf16: false}}\n"
            "evaluation: {num_resamples: 100}\n"
        )
        settings = {
            "method__type": "full",
            "data__validation_file": questions["validation"],
            "generation__max_new_tokens": 6,
            "training__max_steps": 4,
            "training__eval_strategy": "steps",
            "training__eval_steps": 2,
            "training__warmup_steps": 0,
            "training__load_best_model_at_end": "false",
        } | settings
        overrides = [f"{key.replace('__', '.')}={value}" for key, value in settings.items() if value is not None]
        return workflows.train(recipe, overrides, overwrite=overwrite, resume=resume, reporter=reporter)

    return run


@pytest.fixture
def train_pairs(
    pair_recipe: Callable[..., workflows.TrainResult], tmp_path: Path
) -> Callable[..., workflows.TrainResult]:
    """As `pair_recipe`, in a folder of the test's own."""

    def run(name: str = "run", **settings: Any) -> Any:
        return pair_recipe(tmp_path, name, **settings)

    return run


TUNED = {
    "full": {"training__learning_rate": 1e-2},
    "lora": {"training__learning_rate": 3e-2},
    "prompt_tuning": {"training__learning_rate": 0.3, "method__num_virtual_tokens": 4},
    "prefix_tuning": {"training__learning_rate": 1.0, "method__num_virtual_tokens": 4},
}
"""Rates at which four steps are enough to change what a tiny model writes."""


@pytest.fixture(scope="session")
def pair_runs(
    pair_recipe: Callable[..., workflows.TrainResult], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., workflows.TrainResult]:
    """A run for each family and method, trained when it is first asked for, only looked at."""
    folder = tmp_path_factory.mktemp("pairs")
    made: dict[str, Any] = {}

    def run(family: str, method: str) -> Any:
        name = f"{family}-{method}"
        if name not in made:
            made[name] = pair_recipe(folder, name, family=family, method__type=method, **TUNED[method])
        return made[name]

    return run
