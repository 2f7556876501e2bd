"""A chat template from a stranger: it takes neither all time nor all memory, and ordinary ones are rendered as ever."""

from __future__ import annotations

import threading
import time

import pytest
from jinja2.exceptions import SecurityError
from transformers.utils.chat_template_utils import render_jinja_template

from ftkit.data.sandbox import limited

CHAT = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yo"}]
BOMBS = {
    "loops": "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}",
    "skipped": "{% for b in range(9999) %}{% for a in range(9999) if false %}{% endfor %}{% endfor %}",
    "macro": "{% macro m(n) %}{% if n > 0 %}{{ m(n-1) }}{{ m(n-1) }}{% endif %}{% endmacro %}{{ m(60) }}",
    "~": "{% set n = namespace(s='ab') %}{% for i in range(99) %}{% set n.s = n.s ~ n.s %}{% endfor %}",
    "+": "{% set n = namespace(s='ab') %}{% for i in range(99) %}{% set n.s = n.s + n.s %}{% endfor %}",
    "replace": "{% set n = namespace(s='a') %}"
    "{% for i in range(99) %}{% set n.s = n.s.replace('a', 'aa') %}{% endfor %}",
    "nested": "{% set n = namespace(a=[1]) %}"
    "{% for i in range(60) %}{% set n.a = [n.a, n.a] %}{% endfor %}{{ n.a|tojson }}",
    "block": "{% set n = namespace(x='a') %}{% for i in range(60) %}{% set t %}{{ n.x }}{{ n.x }}{% endset %}"
    "{% set n.x = t %}{% endfor %}",
    "*": "{{ 'a' * 10**9 }}",
    "center": "{{ 'a'|center(1000000000) }}",
    "ljust": "{{ 'a'.ljust(1000000000) }}",
    "%": "{{ '%999999999d' % 1 }}",
    "format": "{{ '{:>999999999}'.format('a') }}",
}


def rendered(template: str, **options: bool) -> object:
    with limited(100):
        return render_jinja_template([CHAT], chat_template=template, **options)


@pytest.mark.parametrize("name", BOMBS)
def test_a_template_without_end_or_measure_is_stopped_in_any_thread(name: str):
    errors: list[BaseException] = []

    def run() -> None:
        try:
            rendered(BOMBS[name])
        except SecurityError as error:
            errors.append(error)

    began = time.process_time()
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert errors
    assert time.process_time() - began < 5.0


def test_an_ordinary_template_is_rendered_as_it_is_outside():
    template = (
        "{% for m in messages if m.role %}{{ '<' ~ m['role'] ~ '>' }}{% generation %}{{ m.content|trim }}"
        "{% endgeneration %}{% if not loop.last %}|{% endif %}{% endfor %}{{ {'a': messages[0]}|tojson }}"
    )
    texts, spans = rendered(template, return_assistant_tokens_mask=True)  # type: ignore[misc]
    assert texts == ['<user>hi|<assistant>yo{"a": {"role": "user", "content": "hi"}}']
    assert spans == [[(6, 8), (20, 22)]]
    assert render_jinja_template([CHAT], chat_template=template)[0] == texts
