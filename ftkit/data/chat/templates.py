"""Chat templates of our own, for bases that were never taught to chat."""

from __future__ import annotations

# Only ordinary words and the end token, so that no base model needs a new embedding. The begin token is that of the
# bases that have one apart from the end (Llama, Gemma), whose tokenizers set it before every text. What is learnt
# begins with the space, since most tokenizers join a space to the word behind it.
_PLAIN = (
    "{% if bos_token is defined and bos_token != eos_token %}{{ bos_token }}{% endif %}"
    "{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}"
    "Assistant:{% generation %} {{ message['content'] }}{{ eos_token }}{% endgeneration %}"
    "{% else %}"
    "{{ message['role'] | capitalize }}: {{ message['content'] }}"
    "{% endif %}"
    "{{ '\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}Assistant:{% endif %}"
)

_CHATML = (
    "{% for message in messages %}"
    "<|im_start|>{{ message['role'] }}{{ '\\n' }}"
    "{% if message['role'] == 'assistant' %}"
    "{% generation %}{{ message['content'] }}<|im_end|>{% endgeneration %}"
    "{% else %}"
    "{{ message['content'] }}<|im_end|>"
    "{% endif %}"
    "{{ '\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant{{ '\\n' }}{% endif %}"
)

CHAT_TEMPLATES = {"plain": _PLAIN, "chatml": _CHATML}
"""Name in a recipe -> template."""

CHATML_MARKS = ("<|im_start|>", "<|im_end|>")
"""Single tokens in a vocabulary that is fit for `chatml`."""
