from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftkit.data.prompting import Prompting, fill, parse_template, short_template
from ftkit.errors import UserError


def refusal(template: str) -> UserError:
    with pytest.raises(UserError) as caught:
        parse_template(template)
    return caught.value


def test_a_template_is_cut_at_its_mark():
    template = parse_template("Q: {question}\n{{{context}}}\nA:<learn> {answer}")
    fields = {"question": "why?", "context": "sky", "answer": "because"}
    assert fill(template.prompt, fields) == "Q: why?\n{sky}\nA:"
    assert fill(template.completion, fields) == " because"
    assert template.fields == ("question", "context", "answer")


def test_without_the_mark_there_is_no_prompt():
    template = parse_template("{title}\n\n{body}\n")
    assert template.prompt == ()
    assert fill(template.completion, {"title": "T", "body": "B"}) == "T\n\nB\n"
    assert Prompting("text", "{title}\n\n{body}").prompt_fields == ()


def test_what_stands_in_a_column_is_never_read_as_a_template():
    prompting = Prompting("completion", "{q}:<learn>{a}")
    assert prompting.render_prompt({"q": "{a}<learn>{{"}) == "{a}<learn>{{:"


@given(st.text())
def test_any_text_can_stand_in_a_template_when_its_braces_are_doubled(text):
    if "<learn>" not in text:
        escaped = text.replace("{", "{{").replace("}", "}}")
        assert fill(parse_template(escaped + "{x}").completion, {"x": "!"}) == text + "!"


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{a}<learn>{b}<learn>{c}", "2 times"),
        ("{a}<learn>", "nothing follows"),
        ("{a}<learn> \n", "nothing follows"),
        ("<learn>{a}", "nothing stands before"),
        ("{a}<learn>yes", "no column is named"),
        ("no column", "no column is named"),
        ("{a} } <learn>{b}", "a single }"),
        ("{a<learn>{b}", "a single {"),
        ("{}<learn>{b}", "{} names no column"),
    ],
)
def test_a_template_that_cannot_be_meant_is_refused(template, said):
    assert said in refusal(template).problem


def test_the_prompt_of_later_is_what_training_put_before_the_completion():
    prompting = Prompting("completion", "Q: {q}\nA:<learn> {a}")
    assert prompting.prompt_fields == ("q",)
    assert prompting.render_prompt({"q": "2 + 2"}) + " 4" == fill(
        (*prompting.parsed.prompt, *prompting.parsed.completion), {"q": "2 + 2", "a": "4"}
    )


def test_a_prompt_without_its_column_is_refused_with_the_template():
    with pytest.raises(UserError, match="the prompt needs context") as caught:
        Prompting("completion", "{context}{q}<learn>{a}").render_prompt({"q": "x"})
    assert "{context}{q}<learn>{a}" in str(caught.value.fix)


def test_a_prompting_is_the_same_after_json():
    for prompting in (
        Prompting("text"),
        Prompting("completion", "{q}\n<learn>{a}"),
        Prompting("chat", None, "x", False),
    ):
        assert Prompting(**json.loads(json.dumps(prompting.to_dict()))) == prompting


@pytest.mark.parametrize(
    ("rows", "between"),
    [
        ([("why?", "so"), ("how?", "thus")], "\n"),
        ([("why? ", "so"), ("how?\n", "thus"), ("who?", "me")], ""),
        ([("why?", " so"), ("how?", "\nthus"), ("who?", "me")], ""),
        ([("why? ", "so"), ("how?", "thus")], "\n"),
        ([], "\n"),
    ],
)
def test_prompt_and_completion_are_parted_by_a_line_break_unless_most_are_parted_already(rows, between):
    found = short_template("q", "a", [{"q": prompt, "a": completion} for prompt, completion in rows])
    assert found == f"{{q}}{between}<learn>{{a}}"
