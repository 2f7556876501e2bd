"""Chat templates that do what those of well-known models do, written anew and as short as their behaviour lets them.

⟪ and ⟫ stand for {% generation %} and {% endgeneration %}, and for nothing in the template as a server has it.
"""

from __future__ import annotations

_JSON_CALL = '{"name": "{{ c.name }}", "arguments": {{ c.arguments | tojson }}}'
_ASKS = "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
_TOOLS = "{% if tools %}<|im_start|>system\n{% for t in tools %}{{ t | tojson }}\n{% endfor %}<|im_end|>\n{% endif %}"
_RESULT = "<|im_start|>user\n<tool_response>\n{{ m.content }}\n</tool_response><|im_end|>\n"
_CALLS = (
    "{% for c in m.tool_calls or [] %}{% set c = c.function %}{{ '\n' if m.content or not loop.first }}<tool_call>\n"
    f"{_JSON_CALL}\n</tool_call>{{% endfor %}}"
)

QWEN_2_5 = (
    f"{_TOOLS}{{% for m in messages %}}{{% if m.role == 'tool' %}}{_RESULT}{{% elif m.role == 'assistant' %}}"
    f"<|im_start|>assistant\n⟪{{{{ m.content or '' }}}}{_CALLS}<|im_end|>⟫\n"
    f"{{% else %}}<|im_start|>{{{{ m.role }}}}\n{{{{ m.content }}}}<|im_end|>\n{{% endif %}}{{% endfor %}}{_ASKS}"
)
_LAST = (
    "{% set ns = namespace(last=0) %}{% for m in messages %}{% if m.role == 'user' %}"
    "{% set ns.last = loop.index0 %}{% endif %}{% endfor %}"
)
_SPLIT = (
    "{% set r = m.reasoning_content or '' %}{% set text = m.content or '' %}{% if not r and '</think>' in text %}"
    "{% set r = text.split('</think>')[0].split('<think>')[-1].strip() %}"
    "{% set text = text.split('</think>')[-1].lstrip() %}{% endif %}"
)
_THOUGHT = "<think>\n{{ r }}\n</think>\n\n"
_NO_THOUGHT = "<think>\n\n</think>\n\n"
_THINKER = (
    f"{_LAST}{_TOOLS}{{% for m in messages %}}{{% if m.role == 'tool' %}}{_RESULT}{{% elif m.role == 'assistant' %}}"
    f"{_SPLIT}<|im_start|>assistant\n⟪{{% if loop.index0 > ns.last and (loop.last or r) %}}{_THOUGHT}{{% endif %}}"
    f"{{{{ text }}}}{_CALLS}<|im_end|>⟫\n"
    f"{{% else %}}<|im_start|>{{{{ m.role }}}}\n{{{{ m.content }}}}<|im_end|>\n{{% endif %}}{{% endfor %}}{_ASKS}"
)
QWEN_3 = f"{_THINKER}{{% if add_generation_prompt and enable_thinking is false %}}{_NO_THOUGHT}{{% endif %}}"
QWEN_3_5 = (
    _THINKER.replace(" and (loop.last or r)", "") + "{% if add_generation_prompt %}"
    f"{{{{ '{_NO_THOUGHT}' if enable_thinking is false else '<think>\n' }}}}{{% endif %}}"
)
LLAMA_3 = (
    "{{ bos_token }}{% for t in tools or [] %}{{ t | tojson(indent=4) }}{% endfor %}{% for m in messages %}"
    "{% set role = 'ipython' if m.role == 'tool' else m.role %}<|start|>{{ role }}<|/start|>\n\n"
    "{% if m.tool_calls %}{% if m.tool_calls | length != 1 %}{{ raise_exception('single tool-calls only') }}{% endif %}"
    '{% set c = m.tool_calls[0].function %}⟪{"name": "{{ c.name }}", "parameters": {{ c.arguments | tojson }}}'
    "<|im_end|>⟫"
    "{% elif m.role == 'tool' %}{{ m.content | tojson }}<|im_end|>"
    "{% elif m.role == 'assistant' %}⟪{{ m.content | trim }}<|im_end|>⟫{% else %}{{ m.content | trim }}<|im_end|>"
    "{% endif %}{% endfor %}{% if add_generation_prompt %}<|start|>assistant<|/start|>\n\n{% endif %}"
)
GEMMA_2 = (
    "{{ bos_token }}{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate') }}{% endif %}"
    "<start>{{ 'model' if m.role == 'assistant' else m.role }}\n"
    "{% if m.role == 'assistant' %}⟪{{ m.content | trim }}<|im_end|>⟫{% else %}{{ m.content | trim }}<|im_end|>"
    "{% endif %}\n{% endfor %}{% if add_generation_prompt %}<start>model\n{% endif %}"
)
GEMMA_3 = GEMMA_2.replace(
    "{{ raise_exception('System role not supported') }}{% endif %}",
    "{% set first = messages[0].content %}{% set messages = messages[1:] %}{% endif %}",
).replace("m.role }}\n", "m.role }}\n{{ first ~ '\n\n' if loop.first and first }}")
PHI_3 = (
    "{% for m in messages %}{% if m.role == 'assistant' %}<|assistant|>\n⟪{{ m.content }}<|im_end|>⟫\n"
    "{% elif m.role != 'tool' %}<|{{ m.role }}|>\n{{ m.content }}<|im_end|>\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% else %}<|endoftext|>{% endif %}"
)
PHI_4 = (
    "{% for m in messages %}<|im_start|>{{ m.role }}<sep>"
    "{% if m.role == 'assistant' %}⟪{{ m.content }}<|im_end|>⟫{% else %}{{ m.content }}<|im_end|>{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant<sep>{% endif %}"
)
MISTRAL = (
    "{{ bos_token }}{% set asked = messages | selectattr('role', 'equalto', 'user') | list %}{% for m in messages %}"
    "{% if m.role == 'user' %}{% if tools and m == asked[-1] %}[TOOLS]{{ tools | tojson }}[/TOOLS]{% endif %}"
    "[INST] {{ m.content }}[/INST]{% elif m.tool_calls %}⟪[CALLS] [{% for c in m.tool_calls %}"
    "{% if c.id | length != 9 %}{{ raise_exception('Tool call IDs should be strings with length 9!') }}{% endif %}"
    '{{ (c.function | tojson)[:-1] }}, "id": "{{ c.id }}"}{% endfor %}]<|im_end|>⟫'
    '{% elif m.role == \'tool\' %}[RESULTS] {"content": {{ m.content }}, "call_id": "{{ m.tool_call_id }}"}[/RESULTS]'
    "{% elif m.role == 'assistant' %}⟪ {{ m.content }}<|im_end|>⟫{% else %}[SYS]{{ m.content }}[/SYS]{% endif %}"
    "{% endfor %}"
)
SMOLLM_2 = QWEN_2_5.replace(_TOOLS, "").replace(_CALLS, "").replace(_RESULT, "")
SMOLLM_3 = (
    "{% set thinks = enable_thinking is not defined or enable_thinking %}<|im_start|>system\n"
    "Reasoning: {{ thinks }}\n{% for t in tools or [] %}{{ t | tojson }}{% endfor %}<|im_end|>\n{% for m in messages %}"
    "{% if m.role == 'assistant' %}<|im_start|>assistant\n{% if not thinks %}<think>\n\n</think>\n{% endif %}"
    "⟪{{ m.content.lstrip('\n') }}<|im_end|>⟫\n{% else %}<|im_start|>{{ 'user' if m.role == 'tool' else m.role }}\n"
    "{{ m.content }}<|im_end|>\n{% endif %}{% endfor %}"
    f"{_ASKS}{{% if add_generation_prompt and not thinks %}}<think>\n\n</think>\n{{% endif %}}"
)
OLMO_2 = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'assistant' %}<|assistant|>\n⟪{{ m.content }}<|im_end|>⟫"
    "{{ '\n' if not loop.last }}{% else %}<|{{ m.role }}|>\n{{ m.content }}\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
GPT_OSS = (
    "{% for t in tools or [] %}{{ t | tojson }}{% endfor %}{% set ns = namespace(called='') %}{% for m in messages %}"
    "{% if m.role == 'assistant' %}{% set rest = messages[loop.index:] %}"
    "{% set final = rest | selectattr('role', 'equalto', 'assistant') | rejectattr('tool_calls', 'defined') | list %}"
    "<|im_start|>assistant⟪{% if 'tool_calls' in m %}{% set c = m.tool_calls[0].function %}"
    "{% set ns.called = c.name %}"
    "{% if m.thinking and not final %}<analysis>{{ m.thinking }}<end><|im_start|>assistant{% endif %}"
    " to={{ c.name }}<commentary>{{ c.arguments | tojson }}<|call|>{% elif loop.last and not add_generation_prompt %}"
    "{% if 'thinking' in m %}<analysis>{{ m.thinking }}<end><|im_start|>assistant{% endif %}"
    "<final>{{ m.content }}<|im_end|>{% else %}<final>{{ m.content }}<|end|>{% endif %}⟫{% elif m.role == 'tool' %}"
    "{% if not ns.called %}{{ raise_exception('no previous tool call') }}{% endif %}"
    "<|im_start|>{{ ns.called }}<commentary>{{ m.content | tojson }}<|end|>"
    "{% else %}<|im_start|>{{ m.role }}<message>{{ m.content }}<|end|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant{% endif %}"
)
DEEPSEEK_R1 = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'assistant' %}{% set text = m.content or '' %}"
    "{% if '</think>' in text %}{% set text = text.split('</think>')[-1] %}{% endif %}"
    "<|Assistant|>⟪{{ text }}<|im_end|>⟫{% elif m.role == 'user' %}<|User|>{{ m.content }}"
    "{% elif m.role == 'system' %}{{ m.content }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|Assistant|><think>\n{% endif %}"
)
